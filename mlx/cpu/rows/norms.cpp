#include "mlx/cpu/isa/norms.h"

#include <algorithm>
#include <memory>

#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/reduce.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
constexpr int64_t kItem = 1 << 17;

const NormKernel& kernel(bool centre, int dtype) {
  return centre ? norm_kernels().layer[dtype] : norm_kernels().rms[dtype];
}

}  // namespace

void norm(bool centre, int dtype, const void* x, const void* w, const void* b, double eps, int64_t rows,
          int64_t n, void* y) {
  if (rows * n == 0) return;
  const NormKernel& k = kernel(centre, dtype);
  const int size = kSizes[dtype];
  parallel_ranges(rows, std::max<int64_t>(1, kItem / n), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * n * size;
    k.forward(static_cast<const char*>(x) + at, w, b, eps, end - begin, n, static_cast<char*>(y) + at);
  });
}

void norm_vjp(bool centre, int dtype, const void* x, const void* w, const void* g, double eps, int64_t rows,
              int64_t n, void* dx, void* dw, void* db) {
  const int compute =
      dtype == static_cast<int>(Dtype::Val::float64) ? dtype : static_cast<int>(Dtype::Val::float32);
  const int size = kSizes[dtype], compute_size = kSizes[compute];
  if (rows * n == 0) {
    for (void* sum : {dw, db})
      if (sum) std::fill_n(static_cast<char*>(sum), n * compute_size, 0);
    return;
  }
  const NormKernel& k = kernel(centre, dtype);
  // Rows to an item: enough work, few enough that sums in float stay accurate, and partial sums small beside
  // the rows.
  const int64_t grain = std::clamp<int64_t>(kItem / n, 32, 256);
  const int64_t pieces = (rows + grain - 1) / grain;
  const int64_t part = n * compute_size;
  std::unique_ptr<char[]> dw_parts, db_parts;
  if (dw) dw_parts = std::make_unique_for_overwrite<char[]>(pieces * part);
  if (db) db_parts = std::make_unique_for_overwrite<char[]>(pieces * part);
  parallel_for(pieces, [&](int64_t p) {
    const int64_t begin = p * grain, at = begin * n * size;
    k.backward(static_cast<const char*>(x) + at, w, static_cast<const char*>(g) + at, eps,
               std::min(grain, rows - begin), n, static_cast<char*>(dx) + at,
               dw ? dw_parts.get() + p * part : nullptr, db ? db_parts.get() + p * part : nullptr);
  });
  const auto add_up = [&](const char* parts, void* sum) {
    reduce(ReduceOp::sum, compute, parts, {{{n, 1}}, {{pieces, n}}}, sum);
  };
  if (dw) add_up(dw_parts.get(), dw);
  if (db) add_up(db_parts.get(), db);
}

}  // namespace mlx::core::cpu
