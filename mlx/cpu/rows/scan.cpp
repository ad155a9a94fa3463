#include <algorithm>
#include <vector>

#include "mlx/cpu/isa/argreduce.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t kItem = 1 << 17;  // elements of a parallel item, about
constexpr int64_t kPart = 1 << 16;  // a longer row is scanned in parts
constexpr int64_t kColumns = 512;

// Two rounds over a long row: the total of every part, then every part with what comes before it.
void scan_long(const ScanKernel& k, const char* in, int size, int64_t n, ScanMode mode, char* out) {
  const int64_t parts = (n + kPart - 1) / kPart;
  std::vector<ScanCarry> carry(parts);
  const auto begin_of = [&](int64_t p) {
    return mode.reverse ? std::max<int64_t>(0, n - (p + 1) * kPart) : p * kPart;
  };
  const auto count_of = [&](int64_t p) { return std::min(kPart, n - p * kPart); };
  parallel_for(parts, [&](int64_t p) {
    k.init(&carry[p]);
    if (p + 1 < parts) k.total(in + begin_of(p) * size, count_of(p), mode, &carry[p]);
  });
  ScanCarry before;
  k.init(&before);
  for (int64_t p = 0; p < parts; ++p) {
    const ScanCarry own = carry[p];
    carry[p] = before;
    k.merge(&before, &own);
  }
  parallel_for(parts, [&](int64_t p) {
    k.row(in + begin_of(p) * size, count_of(p), mode, &carry[p], out + begin_of(p) * size);
  });
}

}  // namespace

void scan(ScanOp op, int dtype, const void* in, int64_t outer, int64_t n, int64_t inner, ScanMode mode,
          void* out) {
  if (outer * n * inner == 0) return;
  const ScanKernel& k = scan_kernels().at[static_cast<int>(op)][dtype];
  const int size = kSizes[dtype];
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  if (inner == 1) {
    if (n > 2 * kPart) {
      for (int64_t r = 0; r < outer; ++r) scan_long(k, from + r * n * size, size, n, mode, to + r * n * size);
      return;
    }
    parallel_ranges(outer, std::max<int64_t>(1, kItem / n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        ScanCarry carry;
        k.init(&carry);
        k.row(from + r * n * size, n, mode, &carry, to + r * n * size);
      }
    });
    return;
  }
  const int64_t tiles = (inner + kColumns - 1) / kColumns;
  const int64_t work = n * std::min(inner, kColumns);
  parallel_ranges(outer * tiles, std::max<int64_t>(1, kItem / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % tiles * kColumns;
      const int64_t at = (i / tiles * n * inner + first) * size;
      k.cols(from + at, n, inner, std::min(kColumns, inner - first), mode, inner, to + at);
    }
  });
}

void argreduce(bool max, int dtype, const void* in, int64_t outer, int64_t n, int64_t inner, uint32_t* out) {
  if (outer * inner == 0) return;
  const ArgReduceKernel& k = argreduce_kernels().at[max][dtype];
  const int size = kSizes[dtype];
  const char* from = static_cast<const char*>(in);
  if (inner == 1) {
    constexpr int64_t long_row = 1 << 19;
    if (n <= long_row) {
      parallel_ranges(outer, std::max<int64_t>(1, 2 * kItem / n), [&](int64_t begin, int64_t end) {
        k.rows(from + begin * n * size, end - begin, n, n, out + begin);
      });
      return;
    }
    // The winners of the parts of a row, and then the winner among them: the earlier part wins a tie, a nan
    // everything.
    const int64_t parts = (n + kItem - 1) / kItem;
    for (int64_t r = 0; r < outer; ++r) {
      const char* row = from + r * n * size;
      std::vector<uint32_t> winners(parts);
      parallel_for(parts, [&](int64_t p) {
        const int64_t first = p * kItem;
        k.rows(row + first * size, 1, n, std::min(kItem, n - first), &winners[p]);
        winners[p] += static_cast<uint32_t>(first);
      });
      std::vector<char> values(parts * size);
      for (int64_t p = 0; p < parts; ++p)
        std::copy_n(row + int64_t{winners[p]} * size, size, &values[p * size]);
      uint32_t best = 0;
      k.rows(values.data(), 1, parts, parts, &best);
      out[r] = winners[best];
    }
    return;
  }
  const int64_t tiles = (inner + kColumns - 1) / kColumns;
  const int64_t work = n * std::min(inner, kColumns);
  parallel_ranges(outer * tiles, std::max<int64_t>(1, 2 * kItem / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % tiles * kColumns, o = i / tiles;
      k.cols(from + (o * n * inner + first) * size, n, inner, std::min(kColumns, inner - first),
             out + o * inner + first);
    }
  });
}

}  // namespace mlx::core::cpu
