// float32 rows written in AVX2 instructions: as vector_values.h for AVX-512. What plain code cannot say to
// the compiler here are the minimum that lets a nan pass and the selection by a sign, one instruction each.
// Two registers go side by side: the chain of a polynomial is long, and while one waits the other computes.
// Everything is branch-free.
#pragma once

#include "mlx/cpu/isa/intrinsics.h"
#include "mlx/cpu/isa/values.h"

#if MLX_ISA_LEVEL == 3

namespace mlx::core::cpu::MLX_ISA {

// Sixteen elements.
struct Wide {
  __m256 a, b;
};
inline Wide load_wide(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store_wide(float* p, Wide x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}

namespace wide256 {

using V = Wide;

inline V constant(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline V fma(V x, V y, V z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline V fma(V x, float y, V z) { return fma(x, constant(y), z); }
inline V fma(V x, float y, float z) { return fma(x, constant(y), constant(z)); }
// z - x y
inline V fnma(V x, V y, V z) { return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)}; }
inline V operator+(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline V operator-(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline V operator*(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline V operator/(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline V operator+(V x, float y) { return x + constant(y); }
inline V operator*(V x, float y) { return x * constant(y); }
inline V operator-(V x, float y) { return x - constant(y); }
inline V operator&(V x, V y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
inline V operator|(V x, V y) { return {_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
inline V operator^(V x, V y) { return {_mm256_xor_ps(x.a, y.a), _mm256_xor_ps(x.b, y.b)}; }
inline V sign_bit() { return constant(-0.0f); }
// A nan passes: the instructions return their second operand then.
inline V at_most(V x, float hi) {
  const __m256 limit = _mm256_set1_ps(hi);
  return {_mm256_min_ps(limit, x.a), _mm256_min_ps(limit, x.b)};
}
inline V at_least(V x, float lo) {
  const __m256 limit = _mm256_set1_ps(lo);
  return {_mm256_max_ps(limit, x.a), _mm256_max_ps(limit, x.b)};
}
// y where the sign of s is set, else x
inline V by_sign(V s, V x, V y) { return {_mm256_blendv_ps(x.a, y.a, s.a), _mm256_blendv_ps(x.b, y.b, s.b)}; }

inline V poly(V, float c0) { return constant(c0); }
template <class... Rest>
inline V poly(V x, float c0, Rest... rest) {
  return fma(x, poly(x, rest...), constant(c0));
}

// Bits as integers.
struct I {
  __m256i a, b;
};
inline I bits(V x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline V of_bits(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I operator+(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I operator-(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline I half(I x) { return {_mm256_srli_epi32(x.a, 1), _mm256_srli_epi32(x.b, 1)}; }
// The low bits of n, where the exponent of a float is.
inline I as_exponent(I n) { return {_mm256_slli_epi32(n.a, 23), _mm256_slli_epi32(n.b, 23)}; }

// exp(x) as p 2^n; n is the low bits of `shifted`, which is n + rounder_f.
struct Scaled {
  V p;
  I shifted;
};
inline Scaled exp_parts(V x) {
  const V shifted = fma(x, 0x1.715476p0f, rounder_f);
  const V n = shifted - rounder_f;
  const V r = fma(n, 2.12194440e-4f, fma(n, -0.693359375f, x));
  const V q = poly(r, 4.9999994e-01f, 1.666652e-01f, 4.1668393e-02f, 8.368781e-03f, 1.3814467e-03f);
  return {fma(r * r, q, r) + 1.0f, bits(shifted)};
}
// Scaled in two steps, as vmath_float.h does. What lies above the low bits of n leaves in the shifts.
inline V exp(V x) {
  const auto [p, n] = exp_parts(at_most(at_least(x, -104.0f), 89.0f));
  const I first = half(n), one = bits(constant(1.0f));
  return p * of_bits(as_exponent(first) + one) * of_bits(as_exponent(n - first) + one);
}

// 1 / (1 + z) or z / (1 + z) with z = exp(-|x|), which cannot overflow. What 1 + z lost is divided out to
// first order; 1 / sum for 1 <= sum <= 2 to 5 %.
inline V sigmoid(V x) {
  const V z = exp(x | sign_bit());
  const V sum = z + 1.0f;
  const V lost = z - (sum - 1.0f);
  const V y = by_sign(x, constant(1.0f), z) / sum;
  return fnma(y, lost * fma(sum, -0.4859f, 1.457f), y);
}

// m / (m + 1), m = expm1(2 |x|) / 2: an error of m counts less and less as |x| grows. Near 0, where it does
// count, a polynomial.
inline V tanh(V x) {
  const V sign = x & sign_bit();
  const V a = at_most(x ^ sign, 9.5f);  // from 9.02 on it rounds to 1
  const V shifted = fma(a, 0x1.715476p1f, rounder_f);
  const V n = shifted - rounder_f;
  const V r = fma(n, -0x1.62e43p-2f, a);  // this float is ln2 / 2 to 2^-28
  // expm1(2 r) / 2 = r + r^2 p(r): 2^-26.2 of itself
  const V p = fma(r * r, poly(r, 0.99999994f, 0.666661739f, 0.333337605f, 0.13386476f, 0.0444240645f), r);
  const V power = of_bits(as_exponent(bits(shifted)) + bits(constant(1.0f)));
  const V m = fma(power, p, fma(power, 0.5f, -0.5f));
  // |x| + |x|^3 p(x^2) up to 0.26: 2^-27.9
  const V z = a * a;
  const V small = fma(a * z, poly(z, -0.333332151f, 0.133226499f, -0.0512202159f), a);
  return by_sign(a - 0.26f, m / (m + 1.0f), small) | sign;
}

// 1 - (1 - h)^8 with h = c |x| + |x| p(|x|), by 1 - (1 - h)^2 = 2 h - h^2 three times. h is a polynomial
// where erfc^(1/8) is one: 2^-26.4. Twice the sum is c |x|, exact but for its rounding, and something small,
// which keeps the relative error small down to 0.
inline V erf(V x) {
  constexpr float c = 0.141047388f;
  const V sign = x & sign_bit();
  const V a = at_most(x ^ sign, 3.95f);  // there it has rounded to 1
  const V d = a * poly(a, 6.56364163e-09f, 0.0696303695f, 0.00208904105f, -0.00658926135f, -0.000186501333f,
                       0.000512841449f, -8.88739305e-05f, 4.80056087e-06f);
  const V h = fma(a, c, d);
  const V d2 = fnma(h, h, d + d);
  const V h2 = fma(a, 2 * c, d2);
  const V d4 = fnma(h2, h2, d2 + d2);
  const V h8 = fma(a, 8 * c, d4 + d4);  // before its square is taken off: not halved, for denormal numbers
  return fnma(h8 * 0.25f, h8, h8) | sign;
}
inline V gelu(V x) {
  const V half = x * 0.5f;
  return fma(half, erf(x * 0.707106781f), half);
}

}  // namespace wide256

inline Wide vector_value(row::Exp, Wide x) { return wide256::exp(x); }
inline Wide vector_value(row::Sigmoid, Wide x) { return wide256::sigmoid(x); }
inline Wide vector_value(row::Tanh, Wide x) { return wide256::tanh(x); }
inline Wide vector_value(row::Erf, Wide x) { return wide256::erf(x); }
inline Wide vector_value(row::Gelu, Wide x) { return wide256::gelu(x); }

}  // namespace mlx::core::cpu::MLX_ISA

#endif
