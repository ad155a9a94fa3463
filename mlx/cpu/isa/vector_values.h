// float32 rows written in AVX-512 instructions, where those do what plain code cannot: scaling by powers of
// two with one rounding, tables in a register, estimates of reciprocals. `vector_value(Row, x)` computes 16
// elements and takes the place of `value(Row, x)` in tile loops (mlx/cpu/isa/tile_loops.h). The bounds are
// the rows' own.
#pragma once

#include "mlx/cpu/isa/intrinsics.h"
#include "mlx/cpu/isa/values.h"

#if MLX_ISA_LEVEL >= 4

namespace mlx::core::cpu::MLX_ISA::wide512 {

using V = __m512;

inline V constant(float x) { return _mm512_set1_ps(x); }
inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
inline V magnitude(V x) { return _mm512_abs_ps(x); }
// The bits of x with the sign of s.
inline V with_sign(V x, V s) {
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(sign, _mm512_castps_si512(s), _mm512_castps_si512(x), 0xCA));
}
// A nan passes: the instructions return their second operand then.
inline V at_most(V x, float hi) { return _mm512_min_ps(constant(hi), x); }
inline V at_least(V x, float lo) { return _mm512_max_ps(constant(lo), x); }

inline V poly(V, float c0) { return constant(c0); }
template <class... Rest>
inline V poly(V x, float c0, Rest... rest) {
  return fma(x, poly(x, rest...), constant(c0));
}

// x = n ln2 + r, |r| <= ln2 / 2, as reduce_exp (vmath_float.h).
struct ExpReduced {
  V r, n;
};
inline ExpReduced reduce_exp(V x) {
  const V rounder = constant(rounder_f);
  const V n = _mm512_sub_ps(fma(x, constant(0x1.715476p0f), rounder), rounder);
  return {fma(n, constant(2.12194440e-4f), fma(n, constant(-0.693359375f), x)), n};
}

inline V exp_of(const ExpReduced& e) {
  const V q = poly(e.r, 4.9999994e-01f, 1.666652e-01f, 4.1668393e-02f, 8.368781e-03f, 1.3814467e-03f);
  const V p = _mm512_add_ps(fma(_mm512_mul_ps(e.r, e.r), q, e.r), constant(1.0f));
  return _mm512_scalef_ps(p, e.n);
}
inline V exp(V x) { return exp_of(reduce_exp(at_most(at_least(x, -104.0f), 89.0f))); }

// a / b for 1 <= b <= 2, where b lost `lost` in rounding: divided out to first order, 1 / b being 0.75 +-
// 0.25.
inline V divide(V a, V b, V lost) {
  const V y = _mm512_div_ps(a, b);
  return fma(_mm512_mul_ps(y, lost), constant(-0.75f), y);
}

// 1 / (1 + z) or z / (1 + z) with z = exp(-|x|), which cannot overflow.
inline V sigmoid(V x) {
  const V one = constant(1.0f);
  const V z = exp(with_sign(x, constant(-0.0f)));
  const V numerator = _mm512_mask_mov_ps(one, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), z);
  const V sum = _mm512_add_ps(one, z);
  return divide(numerator, sum, _mm512_sub_ps(z, _mm512_sub_ps(sum, one)));
}

// As vmath_float.h has it.
inline V tanh(V x) {
  const V a = at_most(magnitude(x), 9.5f);
  const V z = _mm512_mul_ps(a, a);
  const V p = poly(z, -3.33333e-01f, 1.3331924e-01f, -5.378383e-02f, 2.0795971e-02f, -5.8951573e-03f);
  const V small = fma(_mm512_mul_ps(a, z), p, a);
  const V u = exp_of(reduce_exp(_mm512_mul_ps(a, constant(-2.0f))));
  const V one = constant(1.0f);
  const V large = _mm512_sub_ps(one, _mm512_div_ps(_mm512_add_ps(u, u), _mm512_add_ps(one, u)));
  const __mmask16 is_small = _mm512_cmp_ps_mask(a, constant(0.55f), _CMP_LT_OQ);  // false for a nan
  return with_sign(_mm512_mask_mov_ps(large, is_small, small), x);
}

// Sixteen pieces of |x|, each with a polynomial around its centre n / 3.9: erf = high + (low + t q(t)). The
// first piece has t in place of high, so that its relative error is small down to 0. Fitted at Chebyshev
// nodes: 2^-25.6.
struct ErfTable {
  alignas(64) float high[16] = {0.f,          0.28311041f,  0.531693816f, 0.723341584f,
                                0.853074014f, 0.930182755f, 0.970423281f, 0.988861799f,
                                0.996279657f, 0.998899817f, 0.999712348f, 0.9999336f,
                                0.99998647f,  0.999997556f, 0.999999642f, 0.99999994f};
  alignas(64) float low[16] = {0.f,
                               -1.26835085e-08f,
                               5.65878855e-09f,
                               1.88834726e-08f,
                               2.79171175e-08f,
                               -1.56799e-08f,
                               1.3439629e-08f,
                               -2.008621e-08f,
                               2.33588331e-08f,
                               2.29091524e-09f,
                               1.6958154e-08f,
                               -6.6484942e-09f,
                               4.79375029e-09f,
                               1.53261457e-08f,
                               -2.64906692e-08f,
                               6.1092944e-09f};
  alignas(64) float q[6][16] = {
      {0.128379166f, 1.05657864f, 0.867445409f, 0.624418914f, 0.394097328f, 0.218084335f, 0.105812997f,
       0.0450139455f, 0.0167899244f, 0.00549090514f, 0.00157446391f, 0.000395835814f, 8.72551536e-05f,
       1.68640036e-05f, 2.85774877e-06f, 4.24600358e-07f},
      {-3.2064591e-08f, -0.270917624f, -0.444843829f, -0.480322272f, -0.404202402f, -0.279595315f,
       -0.16278924f, -0.0807942674f, -0.0344408713f, -0.0126713198f, -0.00403708685f, -0.00111645984f,
       -0.000268477335f, -5.62133246e-05f, -1.02585782e-05f, -1.63310131e-06f},
      {-0.376123458f, -0.305879802f, -0.137066066f, 0.0381766558f, 0.145009816f, 0.166275248f, 0.13169314f,
       0.0816731304f, 0.0415024087f, 0.0176640786f, 0.0063760858f, 0.00196729228f, 0.000521590177f,
       0.000119278506f, 2.35920706e-05f, 4.04502225e-06f},
      {-9.74208888e-05f, 0.129519224f, 0.183423877f, 0.145422623f, 0.0603702404f, -0.0133872107f,
       -0.0470382944f, -0.0463644452f, -0.0310862176f, -0.0161580015f, -0.0068289293f, -0.00240232982f,
       -0.00071299827f, -0.000180075804f, -3.89299894e-05f, -7.22557706e-06f},
      {0.114307545f, 0.078095369f, 0.00365087949f, -0.0557392873f, -0.0679226667f, -0.0429620109f,
       -0.0106926505f, 0.00864433404f, 0.0129882395f, 0.00960927084f, 0.00510686683f, 0.00213455129f,
       0.0007287669f, 0.000207346675f, 4.97618021e-05f, 1.0091394e-05f},
      {-0.0102372672f, -0.0409648269f, -0.0492302738f, -0.0243226141f, 0.00709377276f, 0.0217983145f,
       0.0179081541f, 0.00713750813f, -0.000593298697f, -0.00306468271f, -0.00252655079f, -0.00135617156f,
       -0.000552926504f, -0.000180830815f, -4.87222242e-05f, -1.16726806e-05f}};
};
inline constexpr ErfTable erf_table;

inline V erf(V x) {
  const V a = at_most(magnitude(x), 3.95f);  // there it has rounded to 1
  const V rounder = constant(rounder_f);
  const V shifted = fma(a, constant(3.9f), rounder);
  const V n = _mm512_sub_ps(shifted, rounder);
  const V t = _mm512_fnmadd_ps(n, constant(0x1.06906ap-2f), a);  // 1 / 3.9 as the table was made with
  const __m512i piece = _mm512_castps_si512(shifted);            // the instruction looks at the low four bits
  const auto look_up = [&](const float* table) {
    return _mm512_permutexvar_ps(piece, _mm512_load_ps(table));
  };
  V q = look_up(erf_table.q[5]);
  for (int i = 5; i-- > 0;) q = fma(q, t, look_up(erf_table.q[i]));
  const V high =
      _mm512_mask_mov_ps(look_up(erf_table.high), _mm512_cmp_ps_mask(n, _mm512_setzero_ps(), _CMP_EQ_OQ), t);
  return with_sign(_mm512_add_ps(high, fma(t, q, look_up(erf_table.low))), x);
}

}  // namespace mlx::core::cpu::MLX_ISA::wide512

namespace mlx::core::cpu::MLX_ISA {

inline __m512 vector_value(row::Exp, __m512 x) { return wide512::exp(x); }
inline __m512 vector_value(row::Sigmoid, __m512 x) { return wide512::sigmoid(x); }
inline __m512 vector_value(row::Tanh, __m512 x) { return wide512::tanh(x); }
inline __m512 vector_value(row::Erf, __m512 x) { return wide512::erf(x); }

}  // namespace mlx::core::cpu::MLX_ISA

#endif
