// float16 and bfloat16: widened piece by piece into float32 buffers that stay in L1, through the float32
// tile, narrowed.
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class R, class T>
void tile_by_float32(void* out, const void* a, const void* b, const void* c, int64_t n) {
  constexpr int64_t piece = 512;
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  const Tiles::Fn fn = tiles_table().op[row::op_of<R>][f32];
  alignas(64) float x[piece], y[piece], z[piece];
  for (int64_t i = 0; i < n; i += piece) {
    const int64_t m = n - i < piece ? n - i : piece;
    widen(static_cast<const T*>(a) + i, x, m);
    if constexpr (R::arity > 1) widen(static_cast<const T*>(b) + i, y, m);
    if constexpr (R::arity > 2) widen(static_cast<const T*>(c) + i, z, m);
    if constexpr (R::result == row::Out::boolean) {
      fn(static_cast<b8*>(out) + i, x, y, z, m);
    } else {
      fn(x, x, y, z, m);
      narrow(x, static_cast<T*>(out) + i, m);
    }
  }
}

template <class T, class... Rows>
void enter_by_float32(Tiles& tiles, row::RowList<Rows...>) {
  (
      [&] {
        if constexpr (row::contains(Rows::accepts, val_of<T>) && !__is_same(Rows, row::Select))
          tiles.op[row::op_of<Rows>][static_cast<int>(val_of<T>)] = tile_by_float32<Rows, T>;
      }(),
      ...);
}

void enter_half(Tiles& tiles) {
  enter_by_float32<f16>(tiles, row::Table{});
  enter_by_float32<bf16>(tiles, row::Table{});
  // Neighbours are a matter of the format itself.
  constexpr uint8_t nextafter = row::op_of<row::Nextafter>;
  tiles.op[nextafter][static_cast<int>(Dtype::Val::float16)] = tile<row::Nextafter, f16>;
  tiles.op[nextafter][static_cast<int>(Dtype::Val::bfloat16)] = tile<row::Nextafter, bf16>;
}

}  // namespace mlx::core::cpu::MLX_ISA
