// Threefry-2x32 over a range of counters.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct RandomTable {
  // first[i], second[i] = hash of the counter (begin + i, begin + i + distance), for i in [0, n).
  void (*threefry)(uint32_t key0, uint32_t key1, uint32_t begin, uint32_t distance, uint32_t* first,
                   uint32_t* second, int64_t n);
};

MLX_DECLARE_ISA_TABLE(RandomTable, random)

}  // namespace mlx::core::cpu
