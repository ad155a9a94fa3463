// An input of an element-wise program, as it lies against the output.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/array.h"
#include "mlx/small_vector.h"

namespace mlx::core::cpu {

struct Operand {
  const char* data;
  int itemsize;
  bool constant;          // one element for the whole program
  bool contiguous;        // row-major, as large as the output
  Strides strides;        // against the output's collapsed shape, where it is neither
  bool repeated = false;  // a constant that some call wants a tile of
};

Operand operand_of(const array& in, const array& out);

// Merges neighbouring axes that every operand steps through as if they were one. Gives the shape, of two axes
// or more, and the operands their strides against it.
SmallVector<int64_t> collapse(const Shape& out, std::vector<Operand>& operands);

}  // namespace mlx::core::cpu
