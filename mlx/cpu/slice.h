// Boxes inside arrays, for slice, pad and concatenate.
#pragma once

#include "mlx/array.h"

namespace mlx::core::cpu {

// Calls f(start, shape) for boxes without holes that together cover what lies outside the box [start, stop).
template <class F>
void for_each_border(const Shape& shape, const Shape& start, const Shape& stop, F&& f) {
  Shape from(shape.size(), 0), size = shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (start[i] > 0) {
      from[i] = 0;
      size[i] = start[i];
      f(from, size);
    }
    if (stop[i] < shape[i]) {
      from[i] = stop[i];
      size[i] = shape[i] - stop[i];
      f(from, size);
    }
    from[i] = start[i];
    size[i] = stop[i] - start[i];
  }
}

inline int64_t offset_of(const Shape& index, const Strides& strides) {
  int64_t offset = 0;
  for (size_t i = 0; i < index.size(); ++i) offset += index[i] * strides[i];
  return offset;
}

}  // namespace mlx::core::cpu
