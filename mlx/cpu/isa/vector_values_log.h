// float32 rows in AVX-512 instructions: exponentials and logarithms besides those of vector_values.h. An
// exponent and a mantissa are one instruction each there, also of denormal numbers. Products go into sums by
// `fma` only: a compiler that contracts finds nothing to change.
#pragma once

#include "mlx/cpu/isa/vector_values.h"

#if MLX_ISA_LEVEL >= 4

namespace mlx::core::cpu::MLX_ISA::wide512 {

inline V add(V a, V b) { return _mm512_add_ps(a, b); }
inline V subtract(V a, V b) { return _mm512_sub_ps(a, b); }
inline V multiply(V a, V b) { return _mm512_mul_ps(a, b); }
// c - a b
inline V fnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
// a where the mask is set, else b
inline V choose(__mmask16 mask, V a, V b) { return _mm512_mask_mov_ps(b, mask, a); }
inline __mmask16 is_less(V a, float b) { return _mm512_cmp_ps_mask(a, constant(b), _CMP_LT_OQ); }

inline V poly(V, V c0) { return c0; }
template <class... Rest>
inline V poly(V x, V c0, Rest... rest) {
  return fma(x, poly(x, rest...), c0);
}
// c0 + c1 x + c2 x^2 + c3 x^3
inline V pair(V x, V x2, float c0, float c1, float c2, float c3) {
  return fma(x2, poly(x, c2, c3), poly(x, c0, c1));
}

// 1 / x: 2^-27.
inline V reciprocal(V x) {
  const V y = _mm512_rcp14_ps(x);
  return fma(y, fnma(x, y, constant(1.0f)), y);
}

// --- logarithms ---

// x = 2^k (1 + f), 0.75 <= 1 + f < 1.5. k is -inf for 0 and inf for inf; f is nan for negative numbers.
struct LogReduced {
  V f, k;
};
inline LogReduced reduce_log(V x) {
  const V m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  return {subtract(m, constant(1.0f)), subtract(_mm512_getexp_ps(x), _mm512_getexp_ps(m))};
}
// log(1 + f) - f: 2^-27.6 of log(1 + f)
inline V log_rest(V f) {
  const V z = multiply(f, f);
  const V p = poly(f, 0.333334506f, -0.250001043f, 0.199908197f, -0.166469991f, 0.144783214f, -0.131638736f,
                   0.104688786f, -0.0451120548f);
  return fma(multiply(f, z), p, multiply(z, constant(-0.5f)));
}
// Both parts of ln2 are positive: infinite k.
inline V log_of(V f, V k) {
  const V low = fma(k, constant(3.19461833e-5f), log_rest(f));
  return fma(k, constant(0.693115234f), add(f, low));
}
inline V log(V x) {
  const auto [f, k] = reduce_log(x);
  return log_of(f, k);
}
inline V log2(V x) {
  const auto [f, k] = reduce_log(x);
  // f as it is, and the rest of f log2(e): what is rounded is smaller than the result
  const V rest = fma(f, constant(0.442695041f), multiply(log_rest(f), constant(1.44269504f)));
  return add(add(k, f), rest);
}
inline V log10(V x) {
  const auto [f, k] = reduce_log(x);
  const V low = fma(f, constant(-1.01032142e-8f), multiply(log_rest(f), constant(0.434294492f)));
  const V v = fma(f, constant(0.434294492f), fma(k, constant(4.60503907e-6f), low));
  return fma(k, constant(0.301025391f), v);
}
inline V log1p(V x) {
  const V one = constant(1.0f);
  const V u = add(x, one);
  const V larger = _mm512_max_ps(x, one), smaller = _mm512_min_ps(x, one);
  const V lost = subtract(smaller, subtract(u, larger));  // what 1 + x lost in rounding
  const V m = _mm512_getmant_ps(u, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const V k = subtract(_mm512_getexp_ps(u), _mm512_getexp_ps(m));
  // 2^-k, by the exponents of m and u
  const __m512i bits = _mm512_sub_epi32(_mm512_castps_si512(m), _mm512_castps_si512(u));
  const V scale = _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_castps_si512(one)));
  const V f = subtract(m, one);
  const __mmask16 counts = is_less(u, 0x1p30f);
  const V y = log_of(_mm512_mask3_fmadd_ps(lost, scale, f, counts), k);
  return with_sign(y, x);  // -0
}

// --- exponentials ---

inline V expm1(V x) {
  const V c = at_most(at_least(x, -18.0f), 89.0f);
  const V rounder = constant(rounder_f);
  const V shifted = fma(c, constant(0x1.715476p0f), rounder);
  const V n = subtract(shifted, rounder);
  const V r = fma(n, constant(2.12194440e-4f), fma(n, constant(-0.693359375f), c));
  // expm1(r): 2^-31
  const V q = poly(r, 0.5f, 0.166666657f, 0.0416664928f, 0.00833354797f, 0.0013932318f, 0.000197599264f);
  const V p = fma(multiply(r, r), q, r);
  // half of 2^n: 2^128 is no float
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  const V s = _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(126 << 23)));
  const V y = fma(s, p, subtract(s, constant(0.5f)));
  return with_sign(add(y, y), x);  // -0
}

// exp(a) / 2 for a >= 0, and a quarter of its reciprocal, exp(-a) / 2.
struct Halves {
  V grown, shrunk;
};
inline Halves halves_of_exp(V a) {
  const ExpReduced e = reduce_exp(at_most(a, 90.0f));
  const V grown = exp_of({e.r, subtract(e.n, constant(1.0f))});
  return {grown, multiply(reciprocal(at_most(grown, 0x1p60f)), constant(0.25f))};
}
inline V cosh(V x) {
  const auto [grown, shrunk] = halves_of_exp(magnitude(x));
  return add(grown, shrunk);
}
inline V sinh(V x) {
  const V a = magnitude(x);
  const auto [grown, shrunk] = halves_of_exp(a);
  // x + x^3 p(x^2) for |x| < 1: 2^-31.6
  const V z = multiply(a, a);
  const V p = poly(z, 0.166666672f, 0.00833331048f, 0.000198428956f, 2.78221319e-06f);
  const V small = fma(multiply(a, z), p, a);
  return with_sign(choose(is_less(a, 1.0f), small, subtract(grown, shrunk)), x);
}

// --- log(exp(a) + exp(b)) ---

struct LogAddExp {
  V y;
  __mmask16 cancels;  // where the larger operand and the logarithm nearly do: y has lost too many digits
};
inline LogAddExp logaddexp(V a, V b) {
  const __mmask16 differ = _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);       // equal infinities have no difference
  const V larger = _mm512_max_ps(a, b), smaller = _mm512_min_ps(b, a);  // a nan is in one of them
  const V d = _mm512_maskz_sub_ps(differ, smaller, larger);
  const __mmask16 kept = _mm512_cmp_ps_mask(d, constant(-104.0f), _CMP_NLT_UQ);
  const V rounder = constant(rounder_f);
  const V n = subtract(fma(at_least(d, -104.0f), constant(0x1.715476p0f), rounder), rounder);
  // The difference is taken once more, less a multiple of ln2: where its own rounding counts, next to a small
  // `larger`, it is rounded once.
  const V back = _mm512_fmsub_ps(n, constant(2.12194440e-4f), larger);
  const V r = _mm512_maskz_add_ps(differ, fma(n, constant(-0.693359375f), smaller), back);
  const V z = exp_of({r, n}, kept);
  // z + z^2 p(z) for 0 <= z <= 1: 2^-26.3. Not one after the other: so many steps would wait for each other.
  const V z2 = multiply(z, z), z4 = multiply(z2, z2);
  const V p = poly(z4, pair(z, z2, -0.49999985f, 0.33332616f, -0.24987608f, 0.19891626f),
                   pair(z, z2, -0.16105947f, 0.12414407f, -0.082338922f, 0.041361649f),
                   poly(z, -0.013342115f, 0.0020154917f));
  // What the sum of the larger terms loses goes to the smallest.
  const V sum = add(z, larger);
  const V lost = _mm512_maskz_sub_ps(static_cast<__mmask16>(kept & differ), larger, subtract(sum, z));
  const V y = add(sum, fma(z2, p, lost));
  const __mmask16 negative = _mm512_cmp_ps_mask(larger, _mm512_setzero_ps(), _CMP_LT_OQ);
  return {y, _mm512_mask_cmp_ps_mask(negative, magnitude(y), z, _CMP_LT_OQ)};
}

}  // namespace mlx::core::cpu::MLX_ISA::wide512

namespace mlx::core::cpu::MLX_ISA {

inline __m512 vector_value(row::Log, __m512 x) { return wide512::log(x); }
inline __m512 vector_value(row::Log2, __m512 x) { return wide512::log2(x); }
inline __m512 vector_value(row::Log10, __m512 x) { return wide512::log10(x); }
inline __m512 vector_value(row::Log1p, __m512 x) { return wide512::log1p(x); }
inline __m512 vector_value(row::Expm1, __m512 x) { return wide512::expm1(x); }
inline __m512 vector_value(row::Sinh, __m512 x) { return wide512::sinh(x); }
inline __m512 vector_value(row::Cosh, __m512 x) { return wide512::cosh(x); }

}  // namespace mlx::core::cpu::MLX_ISA

#endif
