#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

void enter_float64(Tiles& tiles) { enter_all<double>(tiles); }

}  // namespace mlx::core::cpu::MLX_ISA
