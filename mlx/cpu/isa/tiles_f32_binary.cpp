#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class R>
struct IsNotUnary {
  static constexpr bool value = R::arity != 1;
};
// (a F b) G c, or c G (a F b).
template <class F, class G, bool exchanged>
struct PairRow : row::Row<3> {};
template <class F, class G, bool exchanged>
float value(PairRow<F, G, exchanged>, float a, float b, float c) {
  const float x = value(F{}, a, b);
  return exchanged ? value(G{}, c, x) : value(G{}, x, c);
}
template <class F>
void enter_pairs(Tiles::Fn (&to)[4]) {
  to[0] = tile<PairRow<F, row::Add, false>, float>;
  to[1] = tile<PairRow<F, row::Subtract, false>, float>;
  to[2] = tile<PairRow<F, row::Multiply, false>, float>;
  to[3] = tile<PairRow<F, row::Subtract, true>, float>;
}

void enter_float32_binary(Tiles& tiles) {
  enter<float, IsNotUnary>(tiles, row::Table{});
  enter_pairs<row::Add>(tiles.pair[0]);
  enter_pairs<row::Subtract>(tiles.pair[1]);
  enter_pairs<row::Multiply>(tiles.pair[2]);
}

}  // namespace mlx::core::cpu::MLX_ISA
