// Parts of group normalisation on raw memory: rows of `channels` elements that lie one behind the other.
// Numbers are computed in C: double for float64, float for every other dtype. mlx/cpu/rows/group_norm.cpp
// puts them together.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// What `sums` gives for each channel, as rows of doubles: a number near its mean, c, and over the rows the
// sums of x - c and (x - c)^2; with g, of g and g (x - c) too.
enum GroupNormSum { kCentre, kSumX, kSumXX, kSumG, kSumGX, kGroupNormSums };
// What multiplies, for each channel, as rows of C: y = (x - centre) by_x + rest (+ g by_g).
enum GroupNormFactor { kFactorCentre, kFactorX, kFactorRest, kFactorG, kGroupNormFactors };

struct GroupNormKernel {
  void (*sums)(const void* x, int64_t rows, int64_t channels, double* out) = nullptr;
  void (*sums_with)(const void* x, const void* g, int64_t rows, int64_t channels, double* out) = nullptr;
  // y may be x or g. stream: what is no 16-bit number goes past the caches; rows of y are aligned to 64
  // bytes.
  void (*apply)(const void* x, int64_t rows, int64_t channels, const void* factors, bool stream,
                void* y) = nullptr;
  void (*apply_with)(const void* x, const void* g, int64_t rows, int64_t channels, const void* factors,
                     bool stream, void* y) = nullptr;
};

struct GroupNormTable {
  GroupNormKernel at[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(GroupNormTable, group_norm_kernels)

}  // namespace mlx::core::cpu
