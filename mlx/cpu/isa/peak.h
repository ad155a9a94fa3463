// What the multiply-adds of one thread can do at best.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct PeakKernel {
  // Runs `rounds` of `operations_per_round` float32 operations on registers; a multiply-add is two.
  float (*run)(int64_t rounds, float x, float y) = nullptr;
  int64_t operations_per_round = 0;
};

MLX_DECLARE_ISA_TABLE(PeakKernel, peak_kernel)

}  // namespace mlx::core::cpu
