// Copies between layouts, used by every kernel that wants its input dense or writes into a part of an array.
#pragma once

#include <span>
#include <vector>

#include "mlx/array.h"

namespace mlx::core::cpu {

// Dimensions that several arrays of one shape have in common, with as few as possible: dimensions of size 1
// are gone, neighbours that all arrays can walk as one are one. Sizes are 64 bits wide, products included. A
// single element has no dimensions left; an empty array has one of size 0.
struct Collapsed {
  Strides shape;
  std::vector<Strides> strides;  // as given
};
Collapsed collapse_dims(const Shape& shape, const std::vector<Strides>& strides);

// May `out` be written where `in` lies? `in` dies with this node, is row-contiguous and as large.
bool may_take(const array& in, const array& out);
// Gives `out` the buffer of the first input that it may take, else memory of its own.
void take_or_allocate(array& out, std::span<const array> inputs);

// `a` itself where it is row-contiguous, else a row-major copy.
array row_contiguous(const array& a);

// All elements of `in`, whatever its strides, in row-major order.
void copy_to(const array& in, void* out);

// Elements of `in` to out_data + sum of index * stride. The places are different from each other.
void copy_strided(const array& in, void* out_data, const Strides& out_strides);
void copy_strided(size_t itemsize, const Shape& shape, const void* in, const Strides& in_strides, void* out,
                  const Strides& out_strides);

// Is a result of so many bytes written past the caches?
bool is_streamed(int64_t bytes);

// `size` times the element at `value`.
void fill(void* out, const void* value, size_t itemsize, int64_t size);

}  // namespace mlx::core::cpu
