// Products of vectors of three elements.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// out = a x b, n vectors each. Products are rounded before they are subtracted: of a vector with itself it is
// zero.
struct CrossTable {
  void (*of_float)(const float* a, const float* b, float* out, int64_t n);
  void (*of_double)(const double* a, const double* b, double* out, int64_t n);
};

MLX_DECLARE_ISA_TABLE(CrossTable, cross_kernels)

}  // namespace mlx::core::cpu
