#include "mlx/cpu/isa/softmax.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t kItem = 1 << 15;  // elements of a parallel item: about 20 us of exponentials
constexpr int64_t kLong = 1 << 18;  // rows longer than this are shared among threads
constexpr int64_t kPart = 1 << 16;

// The maximum and sum of a long row: parts in parallel, joined in order.
SoftmaxPart whole_row(const SoftmaxKernel& k, const char* row, int size, int64_t n) {
  const int64_t parts = (n + kPart - 1) / kPart;
  std::vector<SoftmaxPart> part(parts);
  parallel_for(parts,
               [&](int64_t p) { k.part(row + p * kPart * size, std::min(kPart, n - p * kPart), &part[p]); });
  for (int64_t p = 1; p < parts; ++p) k.join(&part[0], &part[p]);
  return part[0];
}

}  // namespace

void softmax(int dtype, const void* in, int64_t rows, int64_t n, void* out) {
  if (rows * n == 0) return;
  const SoftmaxKernel& k = softmax_kernels().at[dtype];
  const int size = kSizes[dtype];
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  if (n > kLong) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * n * size;
      const SoftmaxPart whole = whole_row(k, from + at, size, n);
      parallel_ranges(n, kPart, [&](int64_t begin, int64_t end) {
        k.apply(from + at + begin * size, end - begin, &whole, to + at + begin * size);
      });
    }
    return;
  }
  parallel_ranges(rows, std::max<int64_t>(1, kItem / n), [&](int64_t begin, int64_t end) {
    k.softmax(from + begin * n * size, end - begin, n, to + begin * n * size);
  });
}

void softmax_vjp(int dtype, const void* y, const void* g, int64_t rows, int64_t n, void* dx) {
  if (rows * n == 0) return;
  const SoftmaxKernel& k = softmax_kernels().at[dtype];
  const int size = kSizes[dtype];
  parallel_ranges(rows, std::max<int64_t>(1, 2 * kItem / n), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n * size;
    k.softmax_vjp(static_cast<const char*>(y) + at, static_cast<const char*>(g) + at, end - begin, n,
                  static_cast<char*>(dx) + at);
  });
}

void logsumexp(int dtype, const void* in, int64_t rows, int64_t n, void* out) {
  const SoftmaxKernel& k = softmax_kernels().at[dtype];
  const int size = kSizes[dtype];
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  if (n > kLong) {
    for (int64_t r = 0; r < rows; ++r) {
      const SoftmaxPart whole = whole_row(k, from + r * n * size, size, n);
      k.log(&whole, to + r * size);
    }
    return;
  }
  parallel_ranges(rows, std::max<int64_t>(1, kItem / std::max<int64_t>(n, 1)),
                  [&](int64_t begin, int64_t end) {
                    k.logsumexp(from + begin * n * size, end - begin, n, n, to + begin * size);
                  });
}

}  // namespace mlx::core::cpu
