// float32 functions in float32 arithmetic: those that matter for speed. The bounds are in the rows of
// mlx/graph/elementwise_unary.h; coefficients are minimax (Remez), their errors given in units of the
// function.
#pragma once

#include "mlx/cpu/isa/vmath.h"

namespace mlx::core::cpu::MLX_ISA {

// x = n ln2 + r with |r| <= ln2 / 2, for |x| < 2^15. The high part of ln2 has few bits: n times it is exact.
struct ExpReduced {
  float r;
  float n;
  int32_t n_int;
};
inline ExpReduced reduce_exp(float x) {
  const float t = fma(x, 0x1.715476p0f, rounder_f);
  const float n = t - rounder_f;
  const float r = fma(n, 2.12194440e-4f, fma(n, -0.693359375f, x));
  return {r, n, static_cast<int32_t>(bits_of(t) - bits_of(rounder_f))};
}
// exp(r): 2^-28.3
inline float exp_reduced(float r) {
  const float q = poly(r, 4.9999994e-01f, 1.666652e-01f, 4.1668393e-02f, 8.368781e-03f, 1.3814467e-03f);
  return fma(r * r, q, r) + 1.0f;
}
inline float power_of_two(int32_t n) { return of_bits(static_cast<uint32_t>(n + 127) << 23); }

inline float exp(float x) {
  const ExpReduced e = reduce_exp(at_most(at_least(x, -104.0f), 89.0f));
  // In two steps: n runs from -150 to 128, and a subnormal result must round once.
  const int32_t half = e.n_int >> 1;
  return exp_reduced(e.r) * power_of_two(half) * power_of_two(e.n_int - half);
}

// For -87 <= x <= 88.
inline float exp_normal(float x) {
  const ExpReduced e = reduce_exp(x);
  return of_bits(bits_of(exp_reduced(e.r)) + (static_cast<uint32_t>(e.n_int) << 23));
}

inline float expm1(float x) {
  const ExpReduced e = reduce_exp(at_most(at_least(x, -18.0f), 89.0f));
  const float q =
      poly(e.r, 5.e-01f, 1.6666666e-01f, 4.166636e-02f, 8.33339e-03f, 1.394072e-03f, 1.9845886e-04f);
  const float p = fma(e.r * e.r, q, e.r);
  const float s = power_of_two(e.n_int - 1);  // half of 2^n: 2^128 is no float
  const float y = 2.0f * fma(s, p, s - 0.5f);
  return abs(x) < 0x1p-25f ? x : y;
}

// x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), for x > 0.
struct LogReduced {
  float f, e;
};
inline LogReduced reduce_log(float x) {
  const bool subnormal = x < 0x1p-126f;
  const float scaled = x * 0x1p23f;
  const float normal = subnormal ? scaled : x;
  const float e0 = subnormal ? -23.0f : 0.0f;
  const int32_t i = static_cast<int32_t>(bits_of(normal) - 0x3f3504f3u);
  return {of_bits((static_cast<uint32_t>(i) & 0x7fffffu) + 0x3f3504f3u) - 1.0f,
          static_cast<float>(i >> 23) + e0};
}
// log(1 + f) = f - f^2 / 2 + f^3 p(f): 2^-27.4
inline float log_cubic(float f) {
  return poly(f, 3.333333e-01f, -2.500082e-01f, 2.0001227e-01f, -1.6623358e-01f, 1.4201754e-01f,
              -1.3160172e-01f, 1.2761606e-01f, -7.634556e-02f);
}
// y where x is positive and finite: -inf at 0, nan below.
inline float for_positive(float x, float y) {
  const float special = x == 0.0f ? -inf_f : nan_f;
  const float positive = x == inf_f ? x : y;
  return x > 0.0f ? positive : special;
}
inline float log_of(float f, float e) {
  const float z = f * f;
  const float low = fma(-0.5f, z, fma(e, -2.12194440e-4f, f * z * log_cubic(f)));
  return fma(e, 0.693359375f, f + low);
}
inline float log(float x) {
  const auto [f, e] = reduce_log(x);
  return for_positive(x, log_of(f, e));
}
// log(1 + f) - f
inline float log_rest(float f) {
  const float z = f * f;
  return fma(f * z, log_cubic(f), -0.5f * z);
}
inline float log2(float x) {
  const auto [f, e] = reduce_log(x);
  // f as it is, and the rest of f log2(e): what is rounded is smaller than the result
  return for_positive(x, (e + f) + fma(f, 0.442695041f, log_rest(f) * 1.44269504f));
}
inline float log10(float x) {
  const auto [f, e] = reduce_log(x);
#if MLX_ISA_LEVEL == 2
  // Without a fused multiply-add the largest product has to be of few digits: then it is exact.
  const float head = of_bits(bits_of(f) & 0xfffff000u);
  const float rest = fma(f - head, 0.434326172f, log_rest(f) * 0.434294492f);
  const float low = fma(e, 4.60503907e-6f, fma(f, -3.16899714e-05f, rest));
  return for_positive(x, fma(e, 0.301025391f, fma(head, 0.434326172f, low)));
#else
  const float low = fma(e, 4.60503907e-6f, fma(f, -1.01032142e-8f, log_rest(f) * 0.434294492f));
  return for_positive(x, fma(e, 0.301025391f, fma(f, 0.434294492f, low)));
#endif
}
inline float log1p(float x) {
  const float u = x + 1.0f;
  const float larger = x > 1.0f ? x : 1.0f, smaller = x > 1.0f ? 1.0f : x;
  const float lost = smaller - (u - larger);  // what 1 + x lost in rounding
  const auto [f, e] = reduce_log(u);
  // It counts 2^-e, by the exponents of 1 + f and u.
  const float scale = of_bits(bits_of(f + 1.0f) - bits_of(u) + bits_of(1.0f));
  const float exact = fma(lost, scale, f);
  const float y = for_positive(u, log_of(u < 0x1p30f ? exact : f, e));
  return x == 0.0f ? x : y;  // -0
}

// exp(a) / 2 for a >= 0.
inline float half_exp(float a) {
  const ExpReduced e = reduce_exp(at_most(a, 90.0f));
  const int32_t half = e.n_int >> 1;  // in two steps: 2^128 is no float
  return exp_reduced(e.r) * power_of_two(half) * power_of_two(e.n_int - 1 - half);
}
inline float cosh(float x) {
  const float y = half_exp(abs(x));
  return y + 0.25f / y;
}
inline float sinh(float x) {
  const float a = abs(x);
  const float y = half_exp(a);
  // x + x^3 p(x^2) for |x| < 1: 2^-31.6
  const float z = a * a;
  const float p = poly(z, 0.166666672f, 0.00833331048f, 0.000198428956f, 2.78221319e-06f);
  const float small = fma(a * z, p, a), large = y - 0.25f / y;
  return copysign(a < 1.0f ? small : large, x);
}

// 1 / (1 + exp(-x)), written with exp(-|x|), which cannot overflow. What 1 + z lost is divided out to first
// order.
inline float sigmoid(float x) {
  const float z = exp(of_bits(bits_of(x) | 0x80000000u));
  const float numerator = x < 0.0f ? z : 1.0f;
  const float sum = 1.0f + z;
  const float lost = z - (sum - 1.0f);
  const float y = numerator / sum;
  return fma(-y, lost * fma(-0.4859f, sum, 1.457f), y);  // 1 / sum, 1 <= sum <= 2, to 5 %
}

inline float tanh(float x) {
  const float a = at_most(abs(x), 9.5f);  // from 9.02 on it rounds to 1
  const float z = a * a;
  // x + x^3 p(x^2) for |x| < 0.55: 2^-28.4
  const float p = poly(z, -3.33333e-01f, 1.3331924e-01f, -5.378383e-02f, 2.0795971e-02f, -5.8951573e-03f);
  const float small = fma(a * z, p, a);
  const float u = exp_normal(-2.0f * a);
  const float large = 1.0f - (2.0f * u) / (1.0f + u);
  return copysign(a >= 0.55f ? large : small, x);  // this way round a nan stays one
}

inline float erf(float x) {
  const float a = at_most(abs(x), 3.95f);  // there it has rounded to 1
  const float z = a * a;
  // x + x p(x^2) for |x| < 0.93: 2^-31
  const float p = poly(z, 1.2837917e-01f, -3.7612632e-01f, 1.12836875e-01f, -2.685894e-02f, 5.199907e-03f,
                       -8.130013e-04f, 8.316777e-05f);
  const float small = fma(a, p, a);
  // 1 - exp(-q(|x|)) beyond: 2^-34
  const float q = poly(a, -1.7601605e-04f, 1.1295214e+00f, 6.33334e-01f, 1.082943e-01f, -2.5128612e-02f,
                       4.174549e-03f, -4.3518178e-04f, 2.115723e-05f);
  const float large = 1.0f - exp_normal(-q);
  return copysign(a >= 0.926f ? large : small, x);  // this way round a nan stays one
}

// log(exp(a) + exp(b)) = larger + log(1 + z), z = exp(-|a - b|).
inline float logaddexp(float a, float b) {
  const bool a_is_larger = a > b;
  const float larger = a_is_larger ? a : b, smaller = a_is_larger ? b : a;
  const float d = a == b ? 0.0f : larger - smaller;  // of infinities too
  // What d lost in rounding counts where the result is as small as z.
  const float back = d - larger;
  const float gained = (smaller + back) - (larger - (d - back));
  const float finite = d < 104.0f ? gained : 0.0f;
  const float z0 = exp(-d);
  const float z = fma(z0, a == b ? 0.0f : finite, z0);
  // z + z^2 p(z) for 0 <= z <= 1: 2^-26.3
  const float p = poly(z, -0.49999985f, 0.33332616f, -0.24987608f, 0.19891626f, -0.16105947f, 0.12414407f,
                       -0.082338922f, 0.041361649f, -0.013342115f, 0.0020154917f);
  return larger + fma(z * z, p, z);
}
// Where the two terms may cancel: the function of the same name in vmath_wide.h is asked there.
inline bool may_cancel(float a, float b) {
  const float larger = a > b ? a : b;
  return (larger > -1.4f) & (larger < 0.0f);
}

// --- arcsin, arccos, hypot ---

// |x| <= 1/2 directly, else by the root s of (1 - |x|) / 2: asin(s) = s + cube p.
struct ArcsinReduced {
  float s, cube, p;
  bool reduced;
};
inline ArcsinReduced reduce_arcsin(float a) {
  const bool reduced = a > 0.5f;
  const float half = fma(a, -0.5f, 0.5f);
  const float z = reduced ? half : a * a;
  const float root = sqrt(half);
  const float s = reduced ? root : a;
  // 2^-31.7
  const float p =
      poly(z, 0.166666597f, 0.0750052109f, 0.0445136912f, 0.0318349376f, 0.0143362666f, 0.0376588628f);
  return {s, s * z, p, reduced};
}
inline float arcsin(float x) {
  const auto [s, cube, p, reduced] = reduce_arcsin(abs(x));
  // pi / 2 - 2 asin(s), with what `high` lost, and the float for pi.
  constexpr float right = 0x1.921fb6p+0f;
  const float high = fma(-2.0f, s, right);
  const float low = fma(-2.0f, s, right - high) + -4.37113883e-08f;
  const float large = high + fma(-2.0f, cube * p, low);
  const float small = fma(cube, p, s);
  return copysign(reduced ? large : small, x);
}
inline float arccos(float x) {
  const auto [s, cube, p, reduced] = reduce_arcsin(abs(x));
  // base - factor asin(s): pi / 2 - asin(x), and of the reduced ones 2 asin(s) and pi - 2 asin(s)
  const float outer = x < 0.0f ? 0x1.921fb6p+1f : 0.0f, outer_low = x < 0.0f ? -8.74227766e-08f : 0.0f;
  const float base = reduced ? outer : 0x1.921fb6p+0f, base_low = reduced ? outer_low : -4.37113883e-08f;
  const float factor = copysign(reduced ? 2.0f : 1.0f, reduced ? -x : x);
  return fma(-factor, s, base) + fma(-factor, cube * p, base_low);
}

inline float hypot(float a, float b) {
  const float x = abs(a), y = abs(b);
  const float larger = x > y ? x : y, smaller = x > y ? y : x;
  const float small_scale = larger < 0x1p-60f ? 0x1p100f : 1.0f,
              small_back = larger < 0x1p-60f ? 0x1p-100f : 1.0f;
  const float scale = larger > 0x1p60f ? 0x1p-100f : small_scale,
              back = larger > 0x1p60f ? 0x1p100f : small_back;
  const float p = larger * scale, q = smaller * scale;
  const float root = sqrt(fma(p, p, q * q)) * back;
  const bool infinite = (x == inf_f) | (y == inf_f);
  return infinite ? inf_f : root;
}

// --- sin and cos. Arguments of magnitude above kTrigLimit are left to the slow functions of the same name
// ---

inline constexpr float kTrigLimit = 71476.0f;

// sin(x + offset pi/2)
inline float sin_quadrant(float x, uint32_t offset) {
#if MLX_ISA_LEVEL == 2
  // Without a fused multiply-add the reduction needs the bits of a double.
  const double wide = x;
  const double t = wide * 0x1.45f306dc9c883p-1 + rounder_d;
  const double n = t - rounder_d;
  const float r = static_cast<float>(wide - n * 0x1.921fb54400000p+0 - n * 0x1.0b4611a626331p-34);
  const uint32_t q = static_cast<uint32_t>(bits_of(t)) + offset;
#else
  const float t = fma(x, 0x1.45f306p-1f, rounder_f);
  const float n = t - rounder_f;
  const float r = fma(n, -0x1.84698ap-48f, fma(n, -0x1.4442d0p-24f, fma(n, -0x1.921fb4p+0f, x)));
  const uint32_t q = bits_of(t) + offset;
#endif
  const float z = r * r;
  const float s = fma(r * z, poly(z, -1.6666655e-01f, 8.332173e-03f, -1.9516656e-04f), r);        // 2^-28
  const float c = fma(z, poly(z, -0.5f, 4.1666623e-02f, -1.3886755e-03f, 2.4389634e-05f), 1.0f);  // 2^-34
  const float y = (q & 1) != 0 ? c : s;
  return of_bits(bits_of(y) ^ ((q & 2) << 30));
}
inline float sin(float x) {
  const float y = sin_quadrant(x, 0);
  return abs(x) < 0x1p-13f ? x : y;  // keeps -0
}
inline float cos(float x) { return sin_quadrant(x, 1); }

inline bool is_large_angle(float x) {
  const uint32_t magnitude = bits_of(x) & 0x7fffffffu;
  return magnitude - bits_of(kTrigLimit) < 0x7f800000u - bits_of(kTrigLimit);
}

}  // namespace mlx::core::cpu::MLX_ISA
