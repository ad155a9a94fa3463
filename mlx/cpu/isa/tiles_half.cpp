// float16 and bfloat16: widened piece by piece into float32 buffers that stay in L1, through the float32
// tile, narrowed.
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

// One function for all rows of an arity and kind of result: a hundred copies of these loops took longer to
// compile than every tile of float32.
template <class T, int Arity, bool Boolean>
MLX_OUTLINED void by_float32(Tiles::Fn fn, void* out, const void* a, const void* b, const void* c,
                             int64_t n) {
  constexpr int64_t piece = 512;
  alignas(64) float x[piece], y[piece], z[piece];
  for (int64_t i = 0; i < n; i += piece) {
    const int64_t m = n - i < piece ? n - i : piece;
    widen(static_cast<const T*>(a) + i, x, m);
    if constexpr (Arity > 1) widen(static_cast<const T*>(b) + i, y, m);
    if constexpr (Arity > 2) widen(static_cast<const T*>(c) + i, z, m);
    if constexpr (Boolean) {
      fn(static_cast<b8*>(out) + i, x, y, z, m);
    } else {
      fn(x, x, y, z, m);
      narrow(x, static_cast<T*>(out) + i, m);
    }
  }
}

template <class R, class T>
void tile_by_float32(void* out, const void* a, const void* b, const void* c, int64_t n) {
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  by_float32<T, R::arity, R::result == row::Out::boolean>(tiles_table().op[row::op_of<R>][f32], out, a, b, c,
                                                          n);
}

// Rows that only look at the sign: float16 and bfloat16 have it in the same place.
inline uint16_t of_signs(row::Abs, uint16_t x) { return x & 0x7fff; }
inline uint16_t of_signs(row::Negative, uint16_t x) { return x ^ 0x8000; }
inline uint16_t of_signs(row::Copysign, uint16_t x, uint16_t s) { return (x & 0x7fff) | (s & 0x8000); }

template <class R>
void tile_of_signs(void* out, const void* a, const void* b, const void*, int64_t n) {
  const uint16_t* x = static_cast<const uint16_t*>(a);
  const uint16_t* s = static_cast<const uint16_t*>(b);
  uint16_t* y = static_cast<uint16_t*>(out);
  MLX_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (R::arity == 1) {
      y[i] = of_signs(R{}, x[i]);
    } else {
      y[i] = of_signs(R{}, x[i], s[i]);
    }
  }
}
template <class... Rows>
void enter_signs(Tiles& tiles) {
  for (const Dtype::Val half : {Dtype::Val::float16, Dtype::Val::bfloat16})
    ((tiles.op[row::op_of<Rows>][static_cast<int>(half)] = tile_of_signs<Rows>), ...);
}

#if MLX_ISA_LEVEL == 3
// Arithmetic in one pass: widened, computed and narrowed in registers.
inline __m256 arithmetic(row::Add, __m256 a, __m256 b) { return _mm256_add_ps(a, b); }
inline __m256 arithmetic(row::Subtract, __m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
inline __m256 arithmetic(row::Multiply, __m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
inline __m256 arithmetic(row::Divide, __m256 a, __m256 b) { return _mm256_div_ps(a, b); }

template <class R, class T>
void tile_in_registers(void* out, const void* a, const void* b, const void*, int64_t n) {
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  T* z = static_cast<T*>(out);
  int64_t i = 0;
  for (; i + kHalfLanes <= n; i += kHalfLanes)
    store_float(z + i, arithmetic(R{}, load_float(x + i), load_float(y + i)));
  if (i < n) tile_by_float32<R, T>(z + i, x + i, y + i, nullptr, n - i);
}
template <class T, class... Rows>
void enter_in_registers(Tiles& tiles) {
  ((tiles.op[row::op_of<Rows>][static_cast<int>(val_of<T>)] = tile_in_registers<Rows, T>), ...);
}
#endif

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
#if MLX_ISA_LEVEL == 3
  enter_in_registers<f16, row::Add, row::Subtract, row::Multiply, row::Divide>(tiles);
  enter_in_registers<bf16, row::Add, row::Subtract, row::Multiply, row::Divide>(tiles);
#endif
  enter_signs<row::Abs, row::Negative, row::Copysign>(tiles);
  // Neighbours are a matter of the format itself.
  constexpr uint8_t nextafter = row::op_of<row::Nextafter>;
  tiles.op[nextafter][static_cast<int>(Dtype::Val::float16)] = tile<row::Nextafter, f16>;
  tiles.op[nextafter][static_cast<int>(Dtype::Val::bfloat16)] = tile<row::Nextafter, bf16>;
}

}  // namespace mlx::core::cpu::MLX_ISA
