#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class R>
struct IsUnary {
  static constexpr bool value = R::arity == 1;
};
void enter_float32_unary(Tiles& tiles) { enter<float, IsUnary>(tiles, row::Table{}); }

}  // namespace mlx::core::cpu::MLX_ISA
