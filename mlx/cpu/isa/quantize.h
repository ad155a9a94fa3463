// Groups of floats to codes and scales (mlx/quantized_layout.h), compiled once per instruction set.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

enum QuantizedSource : int { kSourceF32, kSourceF16, kSourceBf16, kQuantizedSources };

// `groups` groups that lie one behind the other; their words do as well.
struct QuantizeGroups {
  const void* w;
  int64_t groups;
  int group_size, bits;
  uint32_t* words;
  void* scales;
  void* biases;  // affine only
  float global;  // nvfp4: what the groups are scaled by before
};

struct QuantizeTable {
  void (*affine[kQuantizedSources])(const QuantizeGroups&);
  void (*mx[kQuantizedSources])(const QuantizeGroups&);  // mxfp4 and mxfp8, by their bits
  void (*nvfp4[kQuantizedSources])(const QuantizeGroups&);
  void (*to_fp8[kQuantizedSources])(const void* x, int64_t n, uint8_t* out);
};
MLX_DECLARE_ISA_TABLE(QuantizeTable, quantize_kernels)

}  // namespace mlx::core::cpu
