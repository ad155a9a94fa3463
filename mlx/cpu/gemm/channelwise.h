// Convolution of a channel per group: what is compiled once per instruction set.
//
// Vectors hold channels. Pixels are named by pointers, so that those of the border are one pixel of zeros and
// nothing else: no copy of the input has to have one, and 16-bit numbers become floats as they are loaded.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

// Taps side by side: the pixels that they meet, the leftmost of the first position first, and their weights.
struct ChannelwiseRow {
  const void* const* pixels;
  const void* weights;
};

// out[q * out_step + c] = the sum over rows r and their taps k of pixels_r[(q + k) * step][c] * weights_r[k *
// turn + c], for positions q and channels c; summed in that order, rounded once. Steps count pointers and
// elements.
struct ChannelwiseLine {
  const ChannelwiseRow* rows;
  int64_t count, step, turn;
  void* out;
  int64_t out_step, positions, channels;
  const char* ahead;  // what the next line is the first to read, to be fetched meanwhile
  int64_t ahead_bytes;
};
using ChannelwiseFn = void (*)(const ChannelwiseLine&);

inline constexpr int kLongestRow = 7;  // of taps

struct ChannelwiseTable {
  // By the taps of a row: what several positions read is loaded once. For one tap any number of channels;
  // for more at least `channels`, or null.
  ChannelwiseFn row[kElems][kLongestRow + 1];
  int channels[kElems];
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using ChannelwiseTable = gemm_detail::ChannelwiseTable;
MLX_DECLARE_ISA_TABLE_WITH_BF16(ChannelwiseTable, channelwise_kernels)
}  // namespace mlx::core::cpu
