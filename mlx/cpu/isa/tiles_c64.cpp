// Products and magnitudes have loops of their own in AVX2 and AVX-512 instructions: a compiler does not find
// the one that subtracts in even lanes and adds in odd ones.
#include "mlx/cpu/isa/intrinsics.h"
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 3
#if MLX_ISA_LEVEL >= 4
using Floats = __m512;  // re, im, re, im, ...
inline Floats load_floats(const c64* z) { return _mm512_loadu_ps(&z->re); }
inline void store_floats(c64* z, Floats x) { _mm512_storeu_ps(&z->re, x); }
inline Floats product(Floats a, Floats b) {
  const Floats im = _mm512_movehdup_ps(a), swapped = _mm512_permute_ps(b, 0xb1);
  const Floats cross = _mm512_mul_ps(im, swapped);
  const Floats lost = _mm512_fmsub_ps(im, swapped, cross);
  const Floats y = _mm512_fmaddsub_ps(_mm512_moveldup_ps(a), b, cross);
  return _mm512_fmaddsub_ps(_mm512_set1_ps(1.0f), y, lost);
}
inline bool all_finite(Floats x) { return _mm512_fpclass_ps_mask(x, 0x99) == 0; }
#else
using Floats = __m256;
inline Floats load_floats(const c64* z) { return _mm256_loadu_ps(&z->re); }
inline void store_floats(c64* z, Floats x) { _mm256_storeu_ps(&z->re, x); }
inline Floats product(Floats a, Floats b) {
  const Floats im = _mm256_movehdup_ps(a), swapped = _mm256_permute_ps(b, 0xb1);
  const Floats cross = _mm256_mul_ps(im, swapped);
  const Floats lost = _mm256_fmsub_ps(im, swapped, cross);
  const Floats y = _mm256_fmaddsub_ps(_mm256_moveldup_ps(a), b, cross);
  return _mm256_addsub_ps(y, lost);
}
inline bool all_finite(Floats x) {
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  return _mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(inf_f), _CMP_LT_OQ)) == 0xff;
}
#endif
constexpr int64_t kComplexLanes = sizeof(Floats) / sizeof(c64);

// What overflowed on the way: in doubles. The other numbers stay as they are, whatever lies beside them.
MLX_OUTLINED Floats careful_product(Floats a, Floats b, Floats product) {
  alignas(64) c64 x[kComplexLanes], y[kComplexLanes], z[kComplexLanes];
  store_floats(x, a);
  store_floats(y, b);
  store_floats(z, product);
  for (int64_t i = 0; i < kComplexLanes; ++i)
    if (!is_finite(z[i])) z[i] = value(row::Multiply{}, x[i], y[i]);
  return load_floats(z);
}

// a * b, or a * a, in floats: what a product lost is added to the sum of two (after W. Kahan), so that each
// part is within 1.5 units of its last place.
template <bool kSquare>
void tile_of_products(void* out, const void* a_, const void* b_, const void*, int64_t n) {
  const c64* a = static_cast<const c64*>(a_);
  const c64* b = static_cast<const c64*>(kSquare ? a_ : b_);
  c64* y = static_cast<c64*>(out);
  const auto vector = [](const c64* p, const c64* q, c64* to) {
    const Floats x = load_floats(p), z = kSquare ? x : load_floats(q);
    Floats xz = product(x, z);
    if (!all_finite(xz)) [[unlikely]]
      xz = careful_product(x, z, xz);
    store_floats(to, xz);
  };
  int64_t i = 0;
  for (; i + kComplexLanes <= n; i += kComplexLanes) vector(a + i, b + i, y + i);
  if (i == n) return;
  c64 rest[kComplexLanes];
  vector(Padded<c64, kComplexLanes>(a + i, n - i).item, Padded<c64, kComplexLanes>(b + i, n - i).item, rest);
  __builtin_memcpy(y + i, rest, static_cast<size_t>(n - i) * sizeof(c64));
}
#endif

#if MLX_ISA_LEVEL >= 4
// The root of a sum of squares in doubles, by an estimate of its reciprocal and two steps of Newton's method:
// 2^-42, and then rounded to a float.
void tile_of_magnitudes(void* out, const void* a_, const void*, const void*, int64_t n) {
  const c64* a = static_cast<const c64*>(a_);
  float* y = static_cast<float*>(out);
  const auto vector = [](const c64* p, float* to) {
    const __m512d x = _mm512_cvtps_pd(_mm256_loadu_ps(&p->re)),
                  z = _mm512_cvtps_pd(_mm256_loadu_ps(&p[4].re));
    const __m512d s = _mm512_mul_pd(x, x), t = _mm512_mul_pd(z, z);
    const __m512d sum = _mm512_add_pd(_mm512_unpacklo_pd(s, t), _mm512_unpackhi_pd(s, t));
    const __m512d inverse = _mm512_rsqrt14_pd(_mm512_max_pd(sum, _mm512_set1_pd(0x1p-1000)));
    const __m512d root = _mm512_mul_pd(sum, inverse), half = _mm512_mul_pd(inverse, _mm512_set1_pd(0.5));
    const __m512d near = _mm512_fmadd_pd(half, _mm512_fnmadd_pd(root, root, sum), root);
    const __m512d better = _mm512_fmadd_pd(half, _mm512_fnmadd_pd(near, near, sum), near);
    // of elements 0, 4, 1, 5, ...
    const __m256 size =
        _mm256_permutevar8x32_ps(_mm512_cvtpd_ps(better), _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    _mm256_storeu_ps(to, size);
    return _mm512_cmp_pd_mask(sum, _mm512_set1_pd(inf_d), _CMP_NLT_UQ) == 0;
  };
  const auto sizes_of = [&](const c64* p, float* to) {
    if (vector(p, to)) return;
    for (int64_t k = 0; k < 8; ++k)
      if (!is_finite(p[k])) to[k] = value(row::Abs{}, p[k]);
  };
  // Results may lie in the place of the elements: written when those have been read.
  float sizes[8];
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    sizes_of(a + i, sizes);
    __builtin_memcpy(y + i, sizes, sizeof sizes);
  }
  if (i == n) return;
  sizes_of(Padded<c64, 8>(a + i, n - i).item, sizes);
  __builtin_memcpy(y + i, sizes, static_cast<size_t>(n - i) * sizeof(float));
}
#endif

void enter_complex64(Tiles& tiles) {
  enter_all<c64>(tiles);
#if MLX_ISA_LEVEL >= 3
  constexpr int type = static_cast<int>(Dtype::Val::complex64);
  tiles.op[row::op_of<row::Multiply>][type] = tile_of_products<false>;
  tiles.op[row::op_of<row::Square>][type] = tile_of_products<true>;
#endif
#if MLX_ISA_LEVEL >= 4
  tiles.op[row::op_of<row::Abs>][type] = tile_of_magnitudes;
#endif
}

}  // namespace mlx::core::cpu::MLX_ISA
