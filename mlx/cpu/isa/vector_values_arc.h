// float32 rows in AVX-512 instructions: inverse trigonometric functions, hypot and erfc. Products go into
// sums by `fma` only, as in vector_values_log.h.
#pragma once

#include "mlx/cpu/isa/vector_values_log.h"

#if MLX_ISA_LEVEL >= 4

namespace mlx::core::cpu::MLX_ISA::wide512 {

// a / b: 2^-28 before rounding.
inline V quotient(V a, V b) {
  const V y = _mm512_rcp14_ps(b);
  const V q = multiply(a, y);
  return fma(fnma(q, b, a), y, q);
}

// Tangents near n / 7, their angles, and from 8 on what is left of a right angle, in two floats each: high +
// low and high - low.
struct AngleTable {
  alignas(64) float tangent[16] = {0.f, 0.109375f, 0.28125f, 0.421875f, 0.578125f, 0.71875f, 0.859375f, 1.0f,
                                   0.f, 0.109375f, 0.28125f, 0.421875f, 0.578125f, 0.71875f, 0.859375f, 1.0f};
  alignas(64) float high[16] = {0.f,          0.108941957f, 0.274167448f, 0.399220765f,
                                0.524179637f, 0.623199344f, 0.709911644f, 0.785398185f,
                                1.57079637f,  1.46185434f,  1.29662883f,  1.17157555f,
                                1.04661667f,  0.947596967f, 0.860884726f, 0.785398185f};
  alignas(64) float low[16] = {0.f,
                               -3.64679786e-10f,
                               2.83741697e-09f,
                               4.93825913e-09f,
                               -8.64918537e-09f,
                               -1.37472691e-08f,
                               -2.59952451e-08f,
                               -2.18556941e-08f,
                               4.37113883e-08f,
                               -3.11590966e-08f,
                               -4.28581615e-08f,
                               -1.0954996e-08f,
                               -2.45424392e-08f,
                               -2.96405247e-08f,
                               1.7716145e-08f,
                               2.18556941e-08f};
};
inline constexpr AngleTable angle_table;

// The angle whose tangent is smaller / larger, or, where `steep`, larger / smaller; 0 <= smaller <= larger,
// larger not 0.
inline V angle(V smaller, V larger, __mmask16 steep) {
  // A tangent c near the ratio q; the rest is the angle whose tangent is t = (q - c) / (1 + q c). All t are
  // small next to the result.
  const V ratio = multiply(smaller, _mm512_rcp14_ps(larger));
  const __m512i piece = _mm512_castps_si512(fma(ratio, constant(7.0f), constant(rounder_f)));
  const __m512i place = _mm512_mask_or_epi32(piece, steep, piece, _mm512_set1_epi32(8));
  const V c = look_up(angle_table.tangent, place);
  const V t = quotient(fnma(c, larger, smaller), fma(c, smaller, larger));
  const V z = multiply(t, t);
  const V p = poly(z, -0.333333313f, 0.199987173f, -0.140662506f);  // 2^-35.84
  const V high = look_up(angle_table.high, place);
  const V rest = add(t, fma(multiply(t, z), p, look_up(angle_table.low, place)));
  return choose(steep, subtract(high, rest), add(high, rest));
}
inline V arctan(V x) {
  const V one = constant(1.0f);
  const V a = at_most(magnitude(x), 0x1p60f);
  const __mmask16 steep = _mm512_cmp_ps_mask(a, one, _CMP_GT_OQ);
  // A nan is the second operand.
  return with_sign(angle(_mm512_min_ps(one, a), _mm512_max_ps(one, a), steep), x);
}
inline V arctan2(V y, V x) {
  const V ay = magnitude(y), ax = magnitude(x), one = constant(1.0f);
  const __mmask16 steep = _mm512_cmp_ps_mask(ay, ax, _CMP_GT_OQ);
  const __mmask16 left = _mm512_movepi32_mask(_mm512_castps_si512(x));
  V larger = _mm512_max_ps(ay, ax), smaller = _mm512_min_ps(ay, ax);
  // Zeros and infinities: 0 / 1, or 1 / 1 of two infinities.
  const __mmask16 special = _mm512_fpclass_ps_mask(larger, 0x02 | 0x08);
  const __mmask16 infinite = _mm512_cmp_ps_mask(smaller, constant(inf_f), _CMP_EQ_OQ);
  smaller = choose(special, _mm512_maskz_mov_ps(infinite, one), smaller);
  larger = choose(special, one, larger);
  // To where neither reciprocals nor remainders of divisions leave the range.
  const V scale = choose(is_less(larger, 0x1p40f), constant(0x1p80f), constant(0x1p-40f));
  const V right = angle(multiply(smaller, scale), multiply(larger, scale), steep);
  const V pi = constant(0x1.921fb6p+1f), pi_low = constant(-8.74227766e-08f);
  const V angle = with_sign(choose(left, subtract(pi, subtract(right, pi_low)), right), y);
  return _mm512_mask_add_ps(angle, _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q), x, y);
}

// |x| <= 1/2 directly, else by the root s of (1 - |x|) / 2: asin(s) = s + cube p.
struct ArcsinReduced {
  V s, cube, p;
  __mmask16 reduced;
};
inline ArcsinReduced reduce_arcsin(V a) {
  const __mmask16 reduced = _mm512_cmp_ps_mask(a, constant(0.5f), _CMP_GT_OQ);
  const V half = fnma(a, constant(0.5f), constant(0.5f));
  const V z = choose(reduced, half, multiply(a, a));
  const V s = choose(reduced, _mm512_sqrt_ps(half), a);
  // 2^-31.7
  const V p =
      poly(z, 0.166666597f, 0.0750052109f, 0.0445136912f, 0.0318349376f, 0.0143362666f, 0.0376588628f);
  return {s, multiply(s, z), p, reduced};
}
inline V arcsin(V x) {
  const auto [s, cube, p, reduced] = reduce_arcsin(magnitude(x));
  const V two = constant(2.0f), right = constant(0x1.921fb6p+0f);
  // pi / 2 - 2 asin(s), with what `high` lost, and the float for pi.
  const V high = fnma(two, s, right);
  const V low = add(fnma(two, s, subtract(right, high)), constant(-4.37113883e-08f));
  const V large = add(high, fnma(two, multiply(cube, p), low));
  return with_sign(choose(reduced, large, fma(cube, p, s)), x);
}
inline V arccos(V x) {
  const auto [s, cube, p, reduced] = reduce_arcsin(magnitude(x));
  const V zero = _mm512_setzero_ps();
  const __mmask16 negative = is_less(x, 0.0f);
  // base - factor asin(s): pi / 2 - asin(x), and of the reduced ones 2 asin(s) and pi - 2 asin(s)
  const V outer = choose(negative, constant(0x1.921fb6p+1f), zero);
  const V outer_low = choose(negative, constant(-8.74227766e-08f), zero);
  const V base = choose(reduced, outer, constant(0x1.921fb6p+0f));
  const V base_low = choose(reduced, outer_low, constant(-4.37113883e-08f));
  const V one = with_sign(constant(1.0f), x);
  const V factor = choose(reduced, multiply(one, constant(-2.0f)), one);
  return add(fnma(factor, s, base), fnma(factor, multiply(cube, p), base_low));
}

inline V hypot(V a, V b) {
  const V x = magnitude(a), y = magnitude(b);
  const V larger = _mm512_max_ps(x, y), smaller = _mm512_min_ps(y, x);  // a nan is in one of them
  const __mmask16 large = _mm512_cmp_ps_mask(larger, constant(0x1p60f), _CMP_GT_OQ);
  const __mmask16 small = is_less(larger, 0x1p-60f);
  const V one = constant(1.0f), up = constant(0x1p100f), down = constant(0x1p-100f);
  const V scale = choose(large, down, choose(small, up, one)),
          back = choose(large, up, choose(small, down, one));
  const V p = multiply(larger, scale), q = multiply(smaller, scale);
  const V root = multiply(_mm512_sqrt_ps(fma(p, p, multiply(q, q))), back);
  const V inf = constant(inf_f);
  const __mmask16 infinite = _mm512_cmp_ps_mask(x, inf, _CMP_EQ_OQ) | _mm512_cmp_ps_mask(y, inf, _CMP_EQ_OQ);
  return choose(infinite, inf, root);
}

// exp(x^2) erfc(x) from 0 to 11, four pieces for each doubling of x + 1, as in TanhTable: high + (low + t
// q(t)), 2^-27.
struct ErfcTable {
  alignas(64) float centre[16] = {1.25f, 1.75f, 2.25f, 2.75f, 3.5f,   4.5f,   5.5f,   6.5f,
                                  8.f,   10.f,  0.f,   0.f,   0.125f, 0.375f, 0.625f, 0.875f};
  alignas(64) float high[16] = {0.367822915f,  0.284972221f,  0.231087252f, 0.193662092f,
                                0.155293658f,  0.122484803f,  0.100962222f, 0.0858056694f,
                                0.0699851662f, 0.0561409928f, 0.f,          0.f,
                                0.873221874f,  0.685857236f,  0.556813896f, 0.46431157f};
  alignas(64) float low[16] = {1.13673304e-09f,
                               1.40781804e-08f,
                               6.23271879e-09f,
                               4.18941548e-09f,
                               -2.76684586e-09f,
                               1.07407339e-09f,
                               -3.22296789e-09f,
                               6.77976564e-10f,
                               8.82617937e-12f,
                               -4.6637999e-11f,
                               0.f,
                               0.f,
                               -2.91549096e-08f,
                               -3.28405259e-09f,
                               -1.48289994e-08f,
                               1.32735458e-08f};
  alignas(64) float q[6][16] = {
      {-0.208821908f, -0.130976349f, -0.0884865075f, -0.0632376373f, -0.041323591f, -0.0260159317f,
       -0.0177947655f, -0.0129054561f, -0.00861651078f, -0.00555931265f, 0.f, 0.f, -0.910073757f,
       -0.613986254f, -0.432361811f, -0.315833896f},
      {0.106795572f, 0.0557636283f, 0.0319926292f, 0.0197585933f, 0.0106611345f, 0.0054131262f,
       0.00309101259f, 0.00192020787f, 0.00105310348f, 0.000547870586f, 0.f, 0.f, 0.759462655f, 0.455612391f,
       0.286587745f, 0.187956929f},
      {-0.0502139032f, -0.0222591013f, -0.0110015646f, -0.005934285f, -0.0026726299f, -0.00110448024f,
       -0.000529438781f, -0.00028272628f, -0.000127765321f, -5.37338929e-05f, 0.f, 0.f, -0.543407202f,
       -0.29541561f, -0.16882962f, -0.100913934f},
      {0.0220103916f, 0.00840418972f, 0.00361882197f, 0.00171955733f, 0.00065260753f, 0.000221245369f,
       8.94779077e-05f, 4.1209325e-05f, 1.53950732e-05f, 5.24596999e-06f, 0.f, 0.f, 0.345755875f, 0.17241329f,
       0.0905347839f, 0.0498275161f},
      {-0.00922554173f, -0.00305549102f, -0.00115690578f, -0.000485221681f, -0.000159086121f,
       -4.42876262e-05f, -1.51154663e-05f, -6.01342936e-06f, -1.88862612e-06f, -5.18017373e-07f, 0.f, 0.f,
       -0.202025771f, -0.0929479599f, -0.0450549796f, -0.0230172686f},
      {0.00359765906f, 0.0010483847f, 0.0003527808f, 0.000132035362f, 3.69310728e-05f, 8.57845043e-06f,
       2.48630886e-06f, 8.58382407e-07f, 2.24379917e-07f, 5.00894011e-08f, 0.f, 0.f, 0.107975699f,
       0.0461841673f, 0.020870924f, 0.00998164061f}};
};
inline constexpr ErfcTable erfc_table;

inline V erfc(V x) {
  const V a = at_most(magnitude(x), 10.125f);  // there it has rounded to 0
  const __m512i piece = _mm512_srli_epi32(_mm512_castps_si512(add(a, constant(1.0f))), 21);
  const V t = subtract(a, look_up(erfc_table.centre, piece));
  const V g = add(look_up(erfc_table.high, piece), around_centre(erfc_table, piece, t));
  // exp(-a^2) with what the square loses
  const V square = multiply(a, with_sign(a, constant(-0.0f)));
  const V lost = fma(a, a, square);
  const V rounder = constant(rounder_f);
  const V n = subtract(fma(square, constant(0x1.715476p0f), rounder), rounder);
  const V r =
      add(fma(n, constant(-0.693359375f), square), _mm512_fmsub_ps(n, constant(2.12194440e-4f), lost));
  const V e =
      fma(multiply(r, r),
          poly(r, 0.5f, 0.166666657f, 0.0416664928f, 0.00833354797f, 0.0013932318f, 0.000197599264f), r);
  const __mmask16 kept = _mm512_cmp_ps_mask(a, constant(10.125f), _CMP_NEQ_UQ);
  const V y = _mm512_maskz_scalef_ps(kept, fma(g, e, g), n);
  return choose(is_less(x, 0.0f), subtract(constant(2.0f), y), y);
}

}  // namespace mlx::core::cpu::MLX_ISA::wide512

namespace mlx::core::cpu::MLX_ISA {

inline __m512 vector_value(row::Arcsin, __m512 x) { return wide512::arcsin(x); }
inline __m512 vector_value(row::Arccos, __m512 x) { return wide512::arccos(x); }
inline __m512 vector_value(row::Arctan, __m512 x) { return wide512::arctan(x); }
inline __m512 vector_value(row::Erfc, __m512 x) { return wide512::erfc(x); }
inline __m512 vector_value(row::Arctan2, __m512 y, __m512 x) { return wide512::arctan2(y, x); }
inline __m512 vector_value(row::Hypot, __m512 a, __m512 b) { return wide512::hypot(a, b); }

}  // namespace mlx::core::cpu::MLX_ISA

#endif
