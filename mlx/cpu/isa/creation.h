// Numbers in steps.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct CreationTable {
  // out[i] = start + (begin + i) * step for i < n: in double, rounded once.
  void (*ramp)(double start, double step, int64_t begin, float* out, int64_t n);
  // The same, wrapping.
  void (*count)(uint32_t start, uint32_t step, int64_t begin, uint32_t* out, int64_t n);
};

MLX_DECLARE_ISA_TABLE(CreationTable, creation_kernels)

}  // namespace mlx::core::cpu
