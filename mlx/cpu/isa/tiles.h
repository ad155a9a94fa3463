// Tile functions: the simplest loops there are, one per (operation, dtype), compiled once per instruction
// set. Contiguous in, contiguous out. The evaluator runs tapes of them over tiles that stay in L1, or one of
// them straight on arrays.
//
// For every entry:
//   - n is any number, 0 included; pointers need the alignment of an element only.
//   - `out` may be exactly one of the operands if both have the same item size; otherwise it overlaps none of
//   them.
//   - float16 and bfloat16 compute in float32 and round once. An element's bits depend on its operands alone,
//   not on
//     where in a tile it lies.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"
#include "mlx/dtype.h"
#include "mlx/graph/elementwise.h"

namespace mlx::core::cpu {

struct Tiles {
  // Unary rows read a, binary rows a and b, ternary rows a, b and c.
  using Fn = void (*)(void* out, const void* a, const void* b, const void* c, int64_t n);
  using CastFn = void (*)(void* out, const void* in, int64_t n);
  // n items at in[0], in[stride], in[2 * stride] ... to consecutive places, or back. The stride counts items.
  using GatherFn = void (*)(void* out, const void* in, int64_t stride, int64_t n);
  using ScatterFn = void (*)(void* out, int64_t stride, const void* in, int64_t n);

  // By the dtype of the value operands (for select: the second and third). Null where the row does not accept
  // it.
  Fn op[elementwise::kOps][kDtypes];
  // cast[from][to]. To bool: is it nonzero. Real to integer: truncates; nan gives 0; 32- and 64-bit targets
  // saturate (uint32 and uint64 wrap negative values), narrower ones take the low bits of the conversion to
  // int32. From complex: the real part (to bool: either part). from == to copies.
  CastFn cast[kDtypes][kDtypes];

  // Two steps of float32 arithmetic in one pass: (a f b) g c, rounded twice. f: add, subtract, multiply; g:
  // the same, or c - (a f b).
  Fn pair[3][4];
  // Float32 arithmetic with operands that are one number, which is read once: by the sum of kNumber[k] over
  // the operands that are; null where there is no such function. a and b of one operation are never both.
  // What b alone may be, a may not where the two can change places.
  static constexpr int kNumber[3] = {1, 2, 4};
  Fn with_number[elementwise::kOps][8];
  Fn pair_with_number[3][4][8];

  // By the logarithm of the item size: 1, 2, 4, 8 bytes. fill: n times each of `rows` values.
  void (*fill[4])(void* out, const void* values, int64_t stride, int64_t rows, int64_t n);
  GatherFn gather[4];
  ScatterFn scatter[4];

  // Copies past the caches, where the set can. Before the fence other threads may miss what was written.
  void (*stream)(void* out, const void* in, int64_t bytes);
  void (*fence)();
};

MLX_DECLARE_ISA_TABLE(Tiles, tiles)

// The index of an item size in the tables by size.
constexpr int size_index(int itemsize) {
  return itemsize == 8 ? 3 : itemsize == 4 ? 2 : itemsize == 2 ? 1 : 0;
}

}  // namespace mlx::core::cpu
