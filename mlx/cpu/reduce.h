// Reductions of arrays as the kernels of mlx/cpu/rows/reduce.h take them.
#pragma once

#include "mlx/cpu/rows/reduce.h"
#include "mlx/ops/reduce.h"

namespace mlx::core::cpu {

ReduceLayout layout_of(const Shape& shape, const Strides& strides, const Axes& axes);
ReduceRule reduction_of(const Reduce& p, const array& in, const array& out);

}  // namespace mlx::core::cpu
