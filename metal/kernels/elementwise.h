// How the threads of an element-wise kernel find their elements. The kernels around it are made by
// metal/host/elementwise.cpp.
#pragma once
#include "metal/kernels/vmath.h"

constant bool strided [[function_constant(0)]];  // some operand is neither contiguous nor a single element
constant int scalars [[function_constant(1)]];   // bit i: operand i is a single element

// The output's last two axes (after merging axes) and the others together. Not strided: a line, cut into rows
// of 2^30 elements; `outer` is the length of the last one.
struct Lines {
  uint columns, rows, outer, dims;
};
constant constexpr uint per_thread = 4;
constant constexpr uint row_bits = 30;

struct Cursor {
  uint first, count, row, outer;  // `count` columns from `first` on
};
METAL_FUNC Cursor begin(constant Lines& lines, uint3 at) {
  const uint columns = !strided && at.y + 1 == lines.rows ? lines.outer : lines.columns;
  const uint first = at.x * per_thread;
  return {first, first < columns ? min(per_thread, columns - first) : 0, at.y, at.z};
}

struct Steps {
  long base, step;
  METAL_FUNC long at(uint j) const { return base + j * step; }
};
// Of operand `i` of `operands`. The strides of all of them come one after the other, then where each begins.
METAL_FUNC Steps steps(Cursor c, constant Lines& lines, constant uint* shape, constant long* strides, uint i,
                       uint operands, bool scalar) {
  if (scalar) return {0, 0};
  if (!strided) return {(static_cast<long>(c.row) << row_bits) + c.first, 1};
  const uint dims = lines.dims;
  constant long* s = strides + i * dims;
  long base = strides[operands * dims + i] + c.first * s[dims - 1];
  if (dims > 1) base += c.row * s[dims - 2];
  uint rest = c.outer;
  for (int d = static_cast<int>(dims) - 3; d >= 0; --d) {
    base += (rest % shape[d]) * s[d];
    rest /= shape[d];
  }
  return {base, s[dims - 1]};
}
