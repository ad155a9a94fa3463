#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_integers32(Tiles& tiles) {
  enter_all<uint32_t>(tiles);
  enter_all<int32_t>(tiles);
}

}  // namespace mlx::core::cpu::MLX_ISA
