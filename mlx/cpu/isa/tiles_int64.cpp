#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_integers64(Tiles& tiles) {
  enter_all<uint64_t>(tiles);
  enter_all<int64_t>(tiles);
}

}  // namespace mlx::core::cpu::MLX_ISA
