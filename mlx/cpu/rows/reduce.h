// Reductions of strided memory, in parallel: chooses between the row and the column kernels of
// mlx/cpu/isa/reduce.h and cuts the work into pieces that depend on the shape alone.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/isa/reduce.h"

namespace mlx::core::cpu {

struct ReduceDim {
  int64_t n, stride;  // stride in elements; any sign, also 0
};

// The dims of an input, outermost first, told apart by what happens to them. The output is row-contiguous
// over `kept`.
struct ReduceLayout {
  std::vector<ReduceDim> kept, reduced;
};

// out = op(in) / divisor; dtype is a Dtype::Val. Result types as ReduceKernel::finish gives them. Not for
// moments.
void reduce(ReduceOp op, int dtype, const void* in, ReduceLayout layout, void* out, double divisor = 1);

// Mean and variance (sum of squared deviations / (n - ddof), nan where n <= ddof) in one pass, written as the
// input's type, which is a floating one; either output may be null.
void moments(int dtype, const void* in, ReduceLayout layout, double ddof, void* mean, void* variance);

}  // namespace mlx::core::cpu
