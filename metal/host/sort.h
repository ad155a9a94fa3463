// Sorting for other kernels.
#pragma once

#include "metal/host/kernels.h"

namespace mlx::core::metal {

// The numbers of a row-contiguous vector in ascending order, and where each was: equal ones in the order they
// had.
struct Sorted {
  array values, places;
};
Sorted sorted_with_places(const array& numbers, const Stream& s);

}  // namespace mlx::core::metal
