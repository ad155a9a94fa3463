#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_integers8(Tiles& tiles) {
  enter_all<b8>(tiles);
  enter_all<uint8_t>(tiles);
  enter_all<int8_t>(tiles);
}

}  // namespace mlx::core::cpu::MLX_ISA
