#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_integers16(Tiles& tiles) {
  enter_all<uint16_t>(tiles);
  enter_all<int16_t>(tiles);
}

}  // namespace mlx::core::cpu::MLX_ISA
