// Reductions on raw memory: sum, prod, max, min, any, all, the mean of integers, and the moments (mean,
// variance) in one pass.
//
// A kernel folds elements into accumulators of its own type, so that any layout can be reduced by repeated
// calls: init, then rows or cols any number of times (and merge, for parts done in parallel), then finish.
// The order of additions inside a call depends on its arguments alone.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// A mean of floats is their sum divided; integers are summed in another type for it than for their sum.
// Squares and magnitudes are summed of float32 only.
enum class ReduceOp { sum, prod, max, min, any, all, integer_mean, moments, squares, magnitudes };
inline constexpr int kReduceOps = 10;
inline constexpr int kReduceDtypes = 14;

// The accumulator of ReduceOp::moments: n values with mean `mean` and sum of squared deviations `m2`.
struct Moments {
  double n, mean, m2;
};

// Elements of a row that are folded by themselves; then the result joins the others.
inline constexpr int64_t kRowBlock = 1 << 15;

struct ReduceKernel {
  // acc[0 .. count) = the value of the empty reduction.
  void (*init)(void* acc, int64_t count) = nullptr;
  // acc[r] takes in[r * stride .. r * stride + n) in, r < rows. Strides count elements.
  void (*rows)(const void* in, int64_t rows, int64_t stride, int64_t n, void* acc) = nullptr;
  // acc[c] takes in[c], in[stride + c], ..., in[(rows - 1) * stride + c] in, c < cols.
  void (*cols)(const void* in, int64_t rows, int64_t stride, int64_t cols, void* acc) = nullptr;
  // acc[i] takes part[i] in: the partial result of elements that come after acc's.
  void (*merge)(void* acc, const void* part, int64_t count) = nullptr;
  // out[i] = acc[i] / divisor as the result type: bool for any and all; int32, int64, uint32 or uint64 for
  // the sum or product of integers, float for their mean; else the element type. `divisor` (for means) is
  // heeded by the mean of integers and by sums of floating types. For the moments, use moments_finish.
  void (*finish)(const void* acc, int64_t count, double divisor, void* out) = nullptr;
  int acc_bytes = 0;
};

struct ReduceTable {
  // [ReduceOp][Dtype::Val]; integer_mean, moments, squares and magnitudes: where they apply.
  ReduceKernel at[kReduceOps][kReduceDtypes];
  const ReduceKernel& operator()(ReduceOp op, int dtype) const { return at[static_cast<int>(op)][dtype]; }
};

MLX_DECLARE_ISA_TABLE(ReduceTable, reduce_kernels)

}  // namespace mlx::core::cpu
