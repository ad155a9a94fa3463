#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_complex64(Tiles& tiles) { enter_all<c64>(tiles); }

}  // namespace mlx::core::cpu::MLX_ISA
