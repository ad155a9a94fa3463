// Products that read one operand where it lies: what convolution multiplies with, compiled once per
// instruction set.
//
// A patch of an image is a few runs of contiguous memory (a row of taps with all its channels), and the patch
// of the next position is the same a step further. So neither patches nor their transposes need packing: the
// kernels broadcast elements of a padded copy of the image, run by run.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

// A stretch of k: its first elements in A and B (offsets in elements) and its length.
struct DirectRun {
  int64_t a, b, steps;
};

// c[i, j] = (or += where `accumulate`) the sum, over runs and their steps s, of A(i, s) * b[run.b + s *
// b_step
// + j]; i < rows, j < cols. Vectors 2 and 3 of B lie b_panel behind vectors 0 and 1 (two packed panels).
struct DirectTile {
  const DirectRun* runs;
  int64_t count;
  const float* a;
  int64_t a_stride;
  const float* b;
  int64_t b_step, b_panel;
  float* c;
  int64_t ldc;
  int rows, cols;
  bool accumulate;
  bool in_order = false;  // one chain of sums for any number of rows: the bits of the other kernels
  bool half_end = false;  // pairs: of the last step of a run, the second elements do not count
  // `patches` of pairs: where the sums go, rounded to bfloat16, those of `c` and what is added to them; null:
  // they stay in `c`.
  void* rounded = nullptr;
  int64_t ld_rounded = 0;
};
using DirectFn = void (*)(const DirectTile&);

struct DirectTable {
  int lanes;  // floats of a vector
  // Largest number of rows where C is 1, 2 or 4 vectors wide; 0: not offered.
  int rows[5];
  DirectFn patches;  // A(i, s) = a[run.a + i * a_stride + s]: positions a_stride apart, k contiguous
  // The same for few columns, at most lanes / 2 or lanes / 4 of them: vectors hold 2 or 4 elements of k for
  // each column, so b_step is the step from one such group to the next. Runs are completed by zeros in B; A
  // is read up to three elements behind them, and what it holds there does not matter.
  DirectFn patches_by_2, patches_by_4;
  DirectFn turned;  // A(i, s) = a[run.a + s * a_stride + i]: k strided, rows contiguous
};

// The same for pairs of bfloat16, whose products an instruction adds up: an element of B is a pair, two
// elements of k, in 32 bits (`b` of a tile points at such), C is float32. Tiles have as many rows as those of
// floats. Null where the set has no such instruction.
struct DirectPairTable {
  // Elements of A are bfloat16, as strides and steps count them. A run of an odd number ends with half a
  // pair: A is read one element behind it, and what it holds there does not matter.
  DirectFn patches;
  DirectFn turned;  // elements of A are pairs as well
  // to[k * to_stride + i] = the pair of first[k * from_stride + i] and second[k * from_stride + i], i < len;
  // a null pointer reads zeros. Strides in elements.
  void (*join)(const void* first, const void* second, int64_t from_stride, int64_t steps, int64_t len,
               void* to, int64_t to_stride);
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using DirectTable = gemm_detail::DirectTable;
using DirectPairTable = gemm_detail::DirectPairTable;
MLX_DECLARE_ISA_TABLE(DirectTable, direct_kernels)
MLX_DECLARE_ISA_TABLE_WITH_BF16(DirectPairTable, direct_pair_kernels)
}  // namespace mlx::core::cpu
