// A subscript taken apart: which basic slice of the array it selects, and which of the remaining dimensions
// are indexed by arrays.
#pragma once

#include <optional>
#include <vector>

#include "python/src/bind.h"

namespace mlx::python {

struct IndexPlan {
  // The basic part, for every dimension of the array.
  Shape start, stop, step, count;
  bool whole = true;  // it selects everything, in order
  bool lone = false;  // the array is to be given a first dimension of one, for booleans without dimensions
  std::vector<bool> dropped;  // dimensions selected by one int: they leave the result
  // Dimensions of the array that index arrays select from, in order, and those arrays.
  std::vector<int> gathered;
  Arrays indices;
  // The result's dimensions in order: a dimension of the array, kNew for None, kIndices for those of the
  // index arrays.
  static constexpr int kNew = -1, kIndices = -2;
  std::vector<int> layout;

  bool basic() const { return gathered.empty(); }
  // `count` is the shape of the basic selection, with no dimension dropped or added; this is what the whole
  // subscript selects, where the index arrays broadcast to `index_shape`.
  Shape result_shape(const Shape& index_shape) const;
};

// Raises IndexError for an int out of range, too many indices or two ellipses; TypeError for what cannot be
// an index; ValueError for a zero step or a mask that does not fit.
IndexPlan plan_index(const array& a, nb::handle key);
// A boolean mask as the only subscript; nothing where the subscript is something else.
std::optional<array> only_mask(const array& a, nb::handle key);
// The positions of a mask's true elements, counted in row-major order; evaluates it.
array mask_positions(const array& mask);
// Of a boolean array without dimensions; evaluates it.
bool value_of(array mask);

}  // namespace mlx::python
