// Convolution of groups of few channels: what is compiled once per instruction set.
//
// A vector of outputs spans several groups. The channels that it needs are loaded together, and a permutation
// gives each output the k-th channel of its group; else it is as a channel per group (channelwise.h).
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/channelwise.h"

namespace mlx::core::cpu::gemm_detail {

// Weights of a tap: for each step k, one element of 32 bits for each output: a float, or a pair of bfloat16.
struct GroupedLine {
  ChannelwiseLine line;  // `channels` are those of the output, `turn` counts taps
  int64_t ins, outs;     // of a group
  int64_t steps;         // elements of k: ins, or pairs of them
};
using GroupedFn = void (*)(const GroupedLine&);

struct GroupedKernels {
  int lanes;  // of outputs; groups have a divisor of it, and there are at least as many outputs
  // By the taps of a row, as ChannelwiseTable; null where there are none.
  GroupedFn row[kLongestRow + 1];
  // out[(tap * steps + k) * outputs + o] from w[(o * taps + tap) * ins + i].
  void (*pack)(const void* w, int64_t outputs, int64_t taps, int64_t ins, void* out);
};
// Groups have at most as many inputs as outputs, of pairs an even number and at most twice as many.
struct GroupedTable {
  GroupedKernels floats[kElems], pairs;
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using GroupedTable = gemm_detail::GroupedTable;
MLX_DECLARE_ISA_TABLE_WITH_BF16(GroupedTable, grouped_kernels)
}  // namespace mlx::core::cpu
