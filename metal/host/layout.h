// Strided operands of one shape as few loops.
#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlx::core::metal {

struct Layout {
  Strides shape;                 // without axes of size 1; neighbours that all operands walk as one are one
  std::vector<Strides> strides;  // per operand, in elements
};
// What `shape` looks like to operands with these strides on its axes.
Layout collapsed(const Shape& shape, const std::vector<Strides>& strides);
// The strides of `a` as broadcast to `shape`.
Strides broadcast_strides(const array& a, const Shape& shape);

}  // namespace mlx::core::metal
