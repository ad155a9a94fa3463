// argmax and argmin on raw memory. The first of equal elements wins; the first nan wins over everything. -0.0
// and 0.0 are equal; complex numbers are ordered by real, then imaginary part.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct ArgReduceKernel {
  // out[r] = index within in[r * stride .. r * stride + n); n > 0.
  void (*rows)(const void* in, int64_t rows, int64_t stride, int64_t n, uint32_t* out) = nullptr;
  // out[c] = index r of the winner among in[r * stride + c], r < rows, c < cols; rows > 0.
  void (*cols)(const void* in, int64_t rows, int64_t stride, int64_t cols, uint32_t* out) = nullptr;
};

struct ArgReduceTable {
  ArgReduceKernel at[2][14];  // [0: argmin, 1: argmax][Dtype::Val]
};

MLX_DECLARE_ISA_TABLE(ArgReduceTable, argreduce_kernels)

}  // namespace mlx::core::cpu
