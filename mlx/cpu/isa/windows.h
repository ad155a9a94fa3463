// Reductions of small windows of lines of channels, as pooling makes them: each vector of channels is read
// once per element of its window, with no accumulators in memory.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// Windows i < outputs begin at in + i * step; element r of a window is the `len` channels at offsets[r].
struct Windows {
  const int64_t* offsets;
  int64_t count, outputs, step, len;
};

struct WindowTable {
  static constexpr int kTypes = 14;  // Dtype::Val; null for what is not real floating
  // out[i * len + c] = the windows' sum / divisor, maximum or minimum.
  using Fold = void (*)(const Windows& w, const void* in, double divisor, void* out);
  Fold sum[kTypes], max[kTypes], min[kTypes];
  // At the elements equal to y[i * len + c], g of it divided by their number; 0 at the others.
  void (*share[kTypes])(const Windows& w, const void* in, const void* y, const void* g, void* out);
};

MLX_DECLARE_ISA_TABLE(WindowTable, window_kernels)

}  // namespace mlx::core::cpu
