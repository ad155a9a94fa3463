// Runs of elements read from, or written to, places given by a list of offsets.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct IndexTable {
  static constexpr int64_t kAll = INT64_MAX;
  // out[i * so0 + j * so1] = in[offsets[i] + j * si] for i < count, j < n. By log2 of the element's size.
  using Gather = void (*)(const void* in, const int64_t* offsets, int64_t si, void* out, int64_t so0,
                          int64_t so1, int64_t count, int64_t n);
  // out[offsets[i] + j * so] op= in[i * si0 + j * si1], in the order of i, for those i whose offset lies in
  // [first, first + range); range kAll: for all i. The operation is assignment, sum, product, maximum or
  // minimum; by Dtype::Val.
  using Scatter = void (*)(void* out, const int64_t* offsets, int64_t first, int64_t range, int64_t so,
                           const void* in, int64_t si0, int64_t si1, int64_t count, int64_t n);
  // offsets[i] = stride * position, or += without `first`, position being index[i * step] counted from the
  // end where negative. Is any position outside [0, limit)? By Dtype::Val, for integers.
  using Offsets = bool (*)(const void* index, int64_t step, int64_t n, int64_t limit, int64_t stride,
                           bool first, int64_t* offsets);
  Gather gather[4];
  Scatter scatter[5][14];
  Offsets offsets[9];
};

MLX_DECLARE_ISA_TABLE(IndexTable, index_kernels)

}  // namespace mlx::core::cpu
