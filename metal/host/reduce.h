// What other families take of reductions (metal/host/reduce.cpp).
#pragma once

#include "metal/host/kernels.h"
#include "metal/host/layout.h"
#include "mlx/ops/reduce.h"

namespace mlx::core::metal {

// As metal/kernels/reduce.h numbers them; a mean is a sum that is divided.
int kind_of(Reduction kind);
// Is it the mean of integers, which is added up as floats?
bool adds_floats(Dtype in, Dtype out);

// How the rows of a reduction are shared among threads: a lane for each, a SIMD-group or a threadgroup.
// `kept` and `reduced`: the strides of the nearest element along each kind of axis.
struct RowForm {
  const char* name;  // what names of kernels begin with
  Size groups, per_group;
};
RowForm row_form(uint32_t results, uint64_t n, int64_t kept, int64_t reduced);

// So few results from so many elements are found in two passes, so that every core of the device has a part.
constexpr size_t kTwoPasses = 1 << 16;
constexpr size_t kPart = 1 << 13;

// The one result of a row that the first pass left.
void reduce_parts(const array& parts, const array& out, Reduction kind, float divisor, const Stream& s);

}  // namespace mlx::core::metal
