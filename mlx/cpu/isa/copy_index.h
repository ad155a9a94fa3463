// Runs of elements read from, or written to, places given by a list of offsets.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct IndexTable {
  // out[i * so0 + j * so1] = in[offsets[i] + j * si] for i < count, j < n. By log2 of the element's size.
  using Gather = void (*)(const void* in, const int64_t* offsets, int64_t si, void* out, int64_t so0,
                          int64_t so1, int64_t count, int64_t n);
  // out[offsets[i] + j * so] op= in[i * si0 + j * si1], in the order of i, for those i whose offset lies in
  // [first, first + range). The operation is assignment, sum, product, maximum or minimum; by Dtype::Val.
  using Scatter = void (*)(void* out, const int64_t* offsets, int64_t first, int64_t range, int64_t so,
                           const void* in, int64_t si0, int64_t si1, int64_t count, int64_t n);
  Gather gather[4];
  Scatter scatter[5][14];
};

MLX_DECLARE_ISA_TABLE(IndexTable, index_kernels)

}  // namespace mlx::core::cpu
