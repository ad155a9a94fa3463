// Rotary position embedding (RoFormer, arXiv:2104.09864): rotates pairs of a row by given angles.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct RopeKernel {
  // For each of `rows` rows: pair p of 2 * half leading elements becomes (x0 c - x1 s, x0 s + x1 c) with
  // c = cosines[r * half + p], s = sines[r * half + p] (compute type: double for float64, else float). The
  // pairs are (2p, 2p + 1) where traditional, else (p, half + p). Elements from 2 * half to n are copied.
  // inverse: rotates back. Strides count elements; in and out may be the same memory.
  void (*rotate)(const void* in, int64_t rows, int64_t stride, int64_t n, int64_t half, bool traditional,
                 bool inverse, const void* cosines, const void* sines, int64_t out_stride,
                 void* out) = nullptr;
};

struct RopeTable {
  RopeKernel at[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(RopeTable, rope_kernels)

}  // namespace mlx::core::cpu
