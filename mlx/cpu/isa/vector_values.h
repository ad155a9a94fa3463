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

// Scaling to less than 2^-126 takes a thousand cycles: lanes that are 0 anyway can be left out.
inline V exp_of(const ExpReduced& e, __mmask16 kept = 0xffff) {
  const V q = poly(e.r, 4.9999994e-01f, 1.666652e-01f, 4.1668393e-02f, 8.368781e-03f, 1.3814467e-03f);
  const V p = _mm512_add_ps(fma(_mm512_mul_ps(e.r, e.r), q, e.r), constant(1.0f));
  return _mm512_maskz_scalef_ps(kept, p, e.n);
}
inline V exp(V x) {
  const __mmask16 kept = _mm512_cmp_ps_mask(x, constant(-104.0f), _CMP_NLT_UQ);
  return exp_of(reduce_exp(at_most(at_least(x, -104.0f), 89.0f)), kept);
}

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

inline V look_up(const float (&table)[16], __m512i place) {
  return _mm512_permutexvar_ps(place, _mm512_load_ps(table));
}
// low + t q(t), of the table's pieces.
template <class Table>
inline V around_centre(const Table& table, __m512i piece, V t) {
  constexpr int terms = static_cast<int>(sizeof table.q / sizeof table.q[0]);
  V q = look_up(table.q[terms - 1], piece);
  for (int i = terms - 1; i-- > 0;) q = fma(q, t, look_up(table.q[i], piece));
  return fma(t, q, look_up(table.low, piece));
}

// Pieces of |x|, two an octave from 0.09375 to 9.5 and one below, each with a polynomial around its centre:
// tanh = high + (low + t q(t)). A piece's place is in the exponent and the first bit of the mantissa. Fitted
// at Chebyshev nodes: 2^-26.4.
struct TanhTable {
  alignas(64) float centre[16] = {2.5f,     3.5f,     5.f,     7.f,     10.f,   0.f,    0.f,   0.109375f,
                                  0.15625f, 0.21875f, 0.3125f, 0.4375f, 0.625f, 0.875f, 1.25f, 1.75f};
  alignas(64) float high[16] = {0.986614287f, 0.998177886f, 0.999909222f, 0.999998331f,
                                1.f,          0.f,          0.f,          0.108940929f,
                                0.154990733f, 0.215326339f, 0.302709728f, 0.411570042f,
                                0.554599702f, 0.703905582f, 0.848283648f, 0.941375554f};
  alignas(64) float low[16] = {1.12518634e-08f,
                               1.16019825e-08f,
                               -1.78634121e-08f,
                               5.87399818e-09f,
                               -4.12230738e-09f,
                               0.f,
                               0.f,
                               7.46431361e-10f,
                               -2.29820674e-09f,
                               6.59359289e-10f,
                               8.52723114e-10f,
                               1.33022722e-08f,
                               1.99911359e-08f,
                               2.1508642e-08f,
                               -8.53339266e-09f,
                               -1.51106541e-08f};
  alignas(64) float q[7][16] = {
      {0.0265922286f, 0.00364088477f, 0.000181582174f, 3.32608943e-06f, 8.72105232e-09f, 0.f, 1.f,
       0.988131881f, 0.975977898f, 0.95363456f, 0.908366799f, 0.830610096f, 0.692419171f, 0.5045169f,
       0.280414879f, 0.113812096f},
      {-0.0262361951f, -0.00363426586f, -0.000181634401f, -3.32736158e-06f, -5.0097384e-09f, 0.f,
       -4.27336118e-11f, -0.107648008f, -0.151267529f, -0.205342636f, -0.274971485f, -0.341854244f,
       -0.384015471f, -0.355132282f, -0.237871364f, -0.1071399f},
      {0.0170208756f, 0.00241400581f, 0.000121056088f, 2.21802816e-06f, 1.4415428e-08f, 0.f, -0.333333313f,
       -0.31765002f, -0.301880896f, -0.273662508f, -0.219552398f, -0.136173055f, -0.0178315192f,
       0.0818073004f, 0.108310848f, 0.062921524f},
      {-0.00805015117f, -0.00119769503f, -5.99528066e-05f, -1.09872155e-06f, 1.01307398e-08f, 0.f,
       -5.60767489e-07f, 0.0704877526f, 0.0972112268f, 0.127374262f, 0.158117428f, 0.169995964f, 0.13789548f,
       0.0607949533f, -0.0125844963f, -0.0235224459f},
      {0.00285986369f, 0.000472135725f, 2.40115605e-05f, 4.40331547e-07f, 1.15099237e-08f, 0.f, 0.13334997f,
       0.120162822f, 0.107248507f, 0.0849856734f, 0.0455063954f, -0.00611604936f, -0.0551427752f,
       -0.0588506199f, -0.019202495f, 0.00369692105f},
      {-0.000700867502f, -0.000156666749f, -9.10145536e-06f, -1.67386375e-07f, 4.21862412e-09f, 0.f,
       -0.000236790569f, -0.0389703363f, -0.0523440763f, -0.0652699322f, -0.072398521f, -0.061637219f,
       -0.0240397118f, 0.0129941758f, 0.0150890779f, 0.00207436248f},
      {6.31515504e-05f, 4.1689349e-05f, 2.55506097e-06f, 4.7170019e-08f, 1.03053566e-09f, 0.f, -0.0525668748f,
       -0.0449500643f, -0.0363816582f, -0.0223556869f, -4.96553184e-05f, 0.0225602537f, 0.0295218695f,
       0.0110896965f, -0.00446169032f, -0.00196241075f}};
};
inline constexpr TanhTable tanh_table;

inline V tanh(V x) {
  const V a = at_most(magnitude(x), 9.5f);  // from 9.02 on it rounds to 1
  const __m512i piece = _mm512_srli_epi32(_mm512_castps_si512(at_least(a, 0.0625f)), 22);
  const V rest = around_centre(tanh_table, piece, _mm512_sub_ps(a, look_up(tanh_table.centre, piece)));
  return with_sign(_mm512_add_ps(look_up(tanh_table.high, piece), rest), x);
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
  const __mmask16 first = _mm512_cmp_ps_mask(n, _mm512_setzero_ps(), _CMP_EQ_OQ);
  const V high = _mm512_mask_mov_ps(look_up(erf_table.high, piece), first, t);
  return with_sign(_mm512_add_ps(high, around_centre(erf_table, piece, t)), x);
}

}  // namespace mlx::core::cpu::MLX_ISA::wide512

namespace mlx::core::cpu::MLX_ISA {

inline __m512 vector_value(row::Exp, __m512 x) { return wide512::exp(x); }
inline __m512 vector_value(row::Sigmoid, __m512 x) { return wide512::sigmoid(x); }
inline __m512 vector_value(row::Tanh, __m512 x) { return wide512::tanh(x); }
inline __m512 vector_value(row::Erf, __m512 x) { return wide512::erf(x); }
inline __m512 vector_value(row::Gelu, __m512 x) {
  const __m512 half = _mm512_mul_ps(x, wide512::constant(0.5f));
  return wide512::fma(half, wide512::erf(_mm512_mul_ps(x, wide512::constant(0.707106781f))), half);
}

}  // namespace mlx::core::cpu::MLX_ISA

#endif
