// Reductions whose windows are small and whose last axis stays: pooling, and any like it. Reductions of other
// shapes are for rows/reduce.h.
#pragma once

#include "mlx/cpu/rows/reduce.h"

namespace mlx::core::cpu {

// As `reduce`, where the shape and type are of this kind; else false, and nothing is done.
bool reduce_windows(ReduceOp op, int dtype, const void* in, const ReduceLayout& layout, void* out,
                    double divisor);

// Are they of this kind, whatever the type?
bool are_windows(const ReduceLayout& layout);

// out = g / n where in == y, 0 elsewhere, n being the number of such elements of a window. `out` is laid out
// as `in`; y and g have one element for each window, row-contiguous. For windows of any size, real floating
// types.
void share_windows(int dtype, const void* in, const ReduceLayout& layout, const void* y, const void* g,
                   void* out);

}  // namespace mlx::core::cpu
