#include "mlx/cpu/isa/sort.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t kItem = 1 << 14;  // elements of a parallel item
constexpr int64_t kLong = 1 << 17;  // rows longer than this are sorted by all threads together
constexpr int64_t kChunk = 1 << 16;
constexpr int64_t kFewRows = 4;  // short rows, before vectors of them pay

// Memory for records that a thread keeps between its rows.
struct Records {
  Records(int64_t n, int bytes) : memory(std::make_unique_for_overwrite<char[]>(n * bytes)) {}
  std::unique_ptr<char[]> memory;
  char* data() { return memory.get(); }
};

// Radix passes over one row, each with the chunks' histograms, a prefix sum over digits and chunks, and a
// scatter into disjoint places: stable, hence the same result for any number of chunks.
void sort_long(const SortKernel& k, const char* in, int size, int64_t n, int64_t stride, char* out) {
  const int64_t chunks = std::min<int64_t>(4 * num_threads(), (n + kChunk - 1) / kChunk);
  const int64_t chunk = (n + chunks - 1) / chunks;
  Records a(n, k.record_bytes), b(n, k.record_bytes);
  char *from = a.data(), *to = b.data();
  const auto count_of = [&](int64_t c) { return std::max<int64_t>(0, std::min(chunk, n - c * chunk)); };
  const int base = k.record_bytes == 8 && k.bits == 32 ? 11 : k.bits == 32 ? 11 : 8;
  const int passes = (k.bits + base - 1) / base;
  const int width = (k.bits + passes - 1) / passes;
  const int64_t digits = int64_t{1} << width;
  const auto counts = std::make_unique_for_overwrite<int64_t[]>(chunks * digits);
  for (int shift = 0; shift < k.bits; shift += width) {
    const int bits = std::min(width, k.bits - shift);
    const int64_t used = int64_t{1} << bits;
    parallel_for(chunks, [&](int64_t c) {
      char* records = from + c * chunk * k.record_bytes;
      if (shift == 0) k.pack(in + c * chunk * stride * size, count_of(c), stride, c * chunk, records);
      k.count(records, count_of(c), shift, bits, counts.get() + c * digits);
    });
    int64_t sum = 0, largest = 0;
    for (int64_t d = 0; d < used; ++d) {
      const int64_t before = sum;
      for (int64_t c = 0; c < chunks; ++c) {
        const int64_t count = counts[c * digits + d];
        counts[c * digits + d] = sum;
        sum += count;
      }
      largest = std::max(largest, sum - before);
    }
    if (largest == n) continue;  // all records share this digit
    parallel_for(chunks, [&](int64_t c) {
      k.scatter(from + c * chunk * k.record_bytes, count_of(c), shift, bits, counts.get() + c * digits, to);
    });
    std::swap(from, to);
  }
  const int out_size = k.record_bytes > k.bits / 8 ? 4 : size;  // indices, or elements
  parallel_ranges(n, kChunk, [&](int64_t begin, int64_t end) {
    k.unpack(from + begin * k.record_bytes, end - begin, out + begin * out_size);
  });
}

void run(const SortKernel& k, int size, int out_size, const void* in, int64_t rows, int64_t row_stride,
         int64_t n, int64_t stride, int64_t kth, void* out) {
  if (rows * n == 0) return;
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  if (n > kLong && kth < 0) {
    for (int64_t r = 0; r < rows; ++r)
      sort_long(k, from + r * row_stride * size, size, n, stride, to + r * n * out_size);
    return;
  }
  if (n <= kShortRow && rows >= kFewRows && k.sort_short) {  // whole, whatever `kth`
    parallel_ranges(rows, kItem / n / 64 * 64, [&](int64_t begin, int64_t end) {
      k.sort_short(from + begin * row_stride * size, end - begin, row_stride, n, stride,
                   to + begin * n * out_size);
    });
    return;
  }
  parallel_ranges(rows, std::max<int64_t>(1, kItem / n), [&](int64_t begin, int64_t end) {
    Records records(2 * n, k.record_bytes);
    char* scratch = records.data() + n * k.record_bytes;
    for (int64_t r = begin; r < end; ++r) {
      k.pack(from + r * row_stride * size, n, stride, 0, records.data());
      if (kth < 0)
        k.sort(records.data(), scratch, n);
      else
        k.partition(records.data(), scratch, n, kth);
      k.unpack(records.data(), n, to + r * n * out_size);
    }
  });
}

}  // namespace

void argsort_rows(int dtype, const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride,
                  int64_t kth, uint32_t* out) {
  run(sort_kernels().indices[dtype], kSizes[dtype], 4, in, rows, row_stride, n, stride, kth, out);
}

void sort_rows(int dtype, const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride,
               int64_t kth, void* out) {
  if (dtype != static_cast<int>(Dtype::Val::complex64)) {
    const int size = kSizes[dtype];
    return run(sort_kernels().values[dtype], size, size, in, rows, row_stride, n, stride, kth, out);
  }
  // Complex keys merge zeros and nans: sort indices, then take the elements.
  const auto order = std::make_unique_for_overwrite<uint32_t[]>(rows * n);
  argsort_rows(dtype, in, rows, row_stride, n, stride, kth, order.get());
  const auto* from = static_cast<const uint64_t*>(in);
  auto* to = static_cast<uint64_t*>(out);
  parallel_ranges(rows * n, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = from[i / n * row_stride + int64_t{order[i]} * stride];
  });
}

}  // namespace mlx::core::cpu
