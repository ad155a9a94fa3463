#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class R>
struct IsNotUnary {
  static constexpr bool value = R::arity != 1;
};
void enter_float32_binary(Tiles& tiles) { enter<float, IsNotUnary>(tiles, row::Table{}); }

}  // namespace mlx::core::cpu::MLX_ISA
