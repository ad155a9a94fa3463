// Products have a loop of their own in AVX2 and AVX-512 instructions: a compiler does not find the one that
// subtracts in even lanes and adds in odd ones. In doubles, rounded once, as values_complex.h has them, and
// to the same bits.
#include "mlx/cpu/isa/intrinsics.h"
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 3
#if MLX_ISA_LEVEL >= 4
using Doubles = __m512d;  // re, im, re, im, ...
inline Doubles load_doubles(const c64* z) { return _mm512_cvtps_pd(_mm256_loadu_ps(&z->re)); }
inline void store_doubles(c64* z, Doubles w) { _mm256_storeu_ps(&z->re, _mm512_cvtpd_ps(w)); }
inline Doubles product(Doubles a, Doubles b) {
  const Doubles cross = _mm512_mul_pd(_mm512_permute_pd(a, 0xff), _mm512_permute_pd(b, 0x55));
  return _mm512_fmaddsub_pd(_mm512_movedup_pd(a), b, cross);
}
#else
using Doubles = __m256d;
inline Doubles load_doubles(const c64* z) { return _mm256_cvtps_pd(_mm_loadu_ps(&z->re)); }
inline void store_doubles(c64* z, Doubles w) { _mm_storeu_ps(&z->re, _mm256_cvtpd_ps(w)); }
inline Doubles product(Doubles a, Doubles b) {
  const Doubles cross = _mm256_mul_pd(_mm256_permute_pd(a, 0xf), _mm256_permute_pd(b, 0x5));
  return _mm256_fmaddsub_pd(_mm256_movedup_pd(a), b, cross);
}
#endif

// a * b, or a * a.
template <bool kSquare>
void tile_of_products(void* out, const void* a_, const void* b_, const void*, int64_t n) {
  constexpr int64_t lanes = sizeof(Doubles) / sizeof(double) / 2;
  const c64* a = static_cast<const c64*>(a_);
  const c64* b = static_cast<const c64*>(kSquare ? a_ : b_);
  c64* y = static_cast<c64*>(out);
  const auto vector = [](const c64* p, const c64* q, c64* to) {
    const Doubles x = load_doubles(p);
    store_doubles(to, product(x, kSquare ? x : load_doubles(q)));
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) vector(a + i, b + i, y + i);
  if (i == n) return;
  c64 rest[lanes];
  vector(Padded<c64, lanes>(a + i, n - i).item, Padded<c64, lanes>(b + i, n - i).item, rest);
  __builtin_memcpy(y + i, rest, static_cast<size_t>(n - i) * sizeof(c64));
}
#endif

void enter_complex64(Tiles& tiles) {
  enter_all<c64>(tiles);
#if MLX_ISA_LEVEL >= 3
  constexpr int type = static_cast<int>(Dtype::Val::complex64);
  tiles.op[row::op_of<row::Multiply>][type] = tile_of_products<false>;
  tiles.op[row::op_of<row::Square>][type] = tile_of_products<true>;
#endif
}

}  // namespace mlx::core::cpu::MLX_ISA
