// Sums of neighbouring rows with weights.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct ResampleTable {
  // out[i * inner + j] = the sum over k < taps of weights[i * taps + k] * in[(first[i] + k) * inner + j], i <
  // count.
  void (*single)(const float* in, int64_t inner, const int32_t* first, const float* weights, int taps,
                 int64_t count, float* out);
  void (*wide)(const double* in, int64_t inner, const int32_t* first, const double* weights, int taps,
               int64_t count, double* out);
};

MLX_DECLARE_ISA_TABLE(ResampleTable, resample_kernels)

}  // namespace mlx::core::cpu
