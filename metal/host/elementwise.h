// Element-wise work: programs of the evaluator (mlx/graph/program.h), casts and copies, all by one form of
// kernel, whose source is made from the table of mlx/graph/elementwise.h.
#pragma once

#include "metal/host/kernels.h"
#include "mlx/graph/program.h"

namespace mlx::core::metal {

// Elements of `in` (broadcast to out's shape, cast to its dtype) to the places of `out`, which has its data
// and any strides; the places are different from each other.
void copy_into(const array& in, const array& out, const Stream& s);
// All elements of `out` become the one of `value`.
void fill(const array& value, const array& out, const Stream& s);

}  // namespace mlx::core::metal
