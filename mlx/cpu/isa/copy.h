// Moving elements between layouts: what copies, transposes and slices come down to. Elements are bytes of a
// size of 1, 2, 4 or 8; tables are indexed by its logarithm. Strides count elements; nothing overlaps.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct CopyTable {
  // out[i * so0 + j * so1] = in[i * si0 + j * si1] for i < n0, j < n1.
  using Grid = void (*)(const void* in, int64_t si0, int64_t si1, void* out, int64_t so0, int64_t so1,
                        int64_t n0, int64_t n1);
  // out[i * so + j] = in[i + j * si] for i < n0, j < n1. With `stream`, whole cache lines are written past
  // the caches.
  using Transpose = void (*)(const void* in, int64_t si, void* out, int64_t so, int64_t n0, int64_t n1,
                             bool stream);
  Grid grid[4];
  Transpose transpose[4];
  // memcpy that writes past the caches.
  void (*stream)(const void* in, void* out, int64_t bytes);
};

MLX_DECLARE_ISA_TABLE(CopyTable, copy_kernels)

}  // namespace mlx::core::cpu
