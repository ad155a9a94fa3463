// Rows on whole registers of float32 lanes, for chains (chain.cpp): `lane_value(Row, ...)` gives the bits
// of `value(Row, ...)`, which takes single numbers. Truth is a lane of ones.
#pragma once

#include "mlx/cpu/isa/reduce_vec.h"
#include "mlx/cpu/isa/values_real.h"

namespace mlx::core::cpu::MLX_ISA {

constexpr int kWidth = rows::kF;

using V = rows::F;
using Bits = rows::FMask;

// clang-format off: a row is a line

inline V mask(Bits b) { return reinterpret_cast<V>(b); }
inline Bits bits(V v) { return reinterpret_cast<Bits>(v); }
inline V every_lane(float x) { return mask(Bits{} + __builtin_bit_cast(int32_t, x)); }  // its bits, be it -0 or true
inline V choose(V c, V a, V b) {
#if MLX_ISA_LEVEL >= 4
  return reinterpret_cast<V>(_mm512_mask_mov_ps(b, _mm512_movepi32_mask(reinterpret_cast<__m512i>(c)), a));
#elif MLX_ISA_LEVEL == 3
  return _mm256_blendv_ps(b, a, c);
#else
  return mask((bits(c) & bits(a)) | (~bits(c) & bits(b)));
#endif
}
inline V square_root(V x) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_sqrt_ps(x);
#elif MLX_ISA_LEVEL == 3
  return _mm256_sqrt_ps(x);
#elif MLX_ISA_LEVEL == 2
  return _mm_sqrt_ps(x);
#else
  for (int k = 0; k < kWidth; ++k) x[k] = sqrt(x[k]);
  return x;
#endif
}

inline V magnitude(V x) { return mask(bits(x) & 0x7fffffff); }
// To whole numbers, by the codes that the instructions have.
enum Rounding { kNearest = 0, kDown = 1, kUp = 2, kToZero = 3 };
template <Rounding how>
V rounded(V x) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_roundscale_ps(x, how);
#elif MLX_ISA_LEVEL == 3
  return _mm256_round_ps(x, how | _MM_FROUND_NO_EXC);
#elif MLX_ISA_LEVEL == 2
  return _mm_round_ps(x, how | _MM_FROUND_NO_EXC);
#else
  for (int k = 0; k < kWidth; ++k)
    x[k] = how == kNearest ? rint(x[k]) : how == kDown ? floor(x[k]) : how == kUp ? ceil(x[k]) : trunc(x[k]);
  return x;
#endif
}

inline V lane_value(row::Abs, V x) { return magnitude(x); }
inline V lane_value(row::Negative, V x) { return -x; }
inline V lane_value(row::Square, V x) { return x * x; }
inline V lane_value(row::Sqrt, V x) { return square_root(x); }
inline V lane_value(row::Rsqrt, V x) { return 1.0f / square_root(x); }
inline V lane_value(row::Reciprocal, V x) { return 1.0f / x; }
inline V lane_value(row::Sign, V x) { return mask(bits(rows::splat<V>(1.0f)) & (x > 0)) - mask(bits(rows::splat<V>(1.0f)) & (x < 0)); }
inline V lane_value(row::Floor, V x) { return rounded<kDown>(x); }
inline V lane_value(row::Ceil, V x) { return rounded<kUp>(x); }
inline V lane_value(row::Round, V x) { return rounded<kNearest>(x); }
inline V lane_value(row::Trunc, V x) { return rounded<kToZero>(x); }
inline V lane_value(row::IsNan, V x) { return mask(x != x); }
inline V lane_value(row::IsInf, V x) { return mask(magnitude(x) == inf_f); }
inline V lane_value(row::IsFinite, V x) { return mask(magnitude(x) < inf_f); }
inline V lane_value(row::IsPosInf, V x) { return mask(x == inf_f); }
inline V lane_value(row::IsNegInf, V x) { return mask(x == -inf_f); }
inline V lane_value(row::Add, V a, V b) { return a + b; }
inline V lane_value(row::Subtract, V a, V b) { return a - b; }
inline V lane_value(row::Multiply, V a, V b) { return a * b; }
inline V lane_value(row::Divide, V a, V b) { return a / b; }
inline V lane_value(row::FloorDivide, V a, V b) { return rounded<kDown>(a / b); }
inline V lane_value(row::Copysign, V a, V b) { return mask((bits(a) & 0x7fffffff) | (bits(b) & INT32_MIN)); }
inline V lane_value(row::NanEqual, V a, V b) { return mask((a == b) | ((a != a) & (b != b))); }
inline V lane_value(row::Equal, V a, V b) { return mask(a == b); }
inline V lane_value(row::NotEqual, V a, V b) { return mask(a != b); }
inline V lane_value(row::Less, V a, V b) { return mask(a < b); }
inline V lane_value(row::LessEqual, V a, V b) { return mask(a <= b); }
inline V lane_value(row::Greater, V a, V b) { return mask(a > b); }
inline V lane_value(row::GreaterEqual, V a, V b) { return mask(a >= b); }
inline V lane_value(row::Select, V c, V a, V b) { return choose(c, a, b); }
// Of bool: the planner takes no others to these.
inline V lane_value(row::LogicalNot, V x) { return mask(~bits(x)); }
inline V lane_value(row::LogicalAnd, V a, V b) { return mask(bits(a) & bits(b)); }
inline V lane_value(row::LogicalOr, V a, V b) { return mask(bits(a) | bits(b)); }
inline V lane_value(row::LogicalXor, V a, V b) { return mask(bits(a) ^ bits(b)); }

#if MLX_ISA_LEVEL >= 4
// The instructions give their second operand where one is a nan or both are zero, as (a > b ? a : b) does.
inline V larger(V a, V b) { return _mm512_max_ps(a, b); }
inline V smaller(V a, V b) { return _mm512_min_ps(a, b); }
#elif MLX_ISA_LEVEL == 3
inline V larger(V a, V b) { return _mm256_max_ps(a, b); }
inline V smaller(V a, V b) { return _mm256_min_ps(a, b); }
#elif MLX_ISA_LEVEL == 2
inline V larger(V a, V b) { return _mm_max_ps(a, b); }
inline V smaller(V a, V b) { return _mm_min_ps(a, b); }
#else
inline V larger(V a, V b) { return choose(mask(a > b), a, b); }
inline V smaller(V a, V b) { return choose(mask(a < b), a, b); }
#endif
inline V lane_value(row::LeakyRelu, V x, V slope) { return choose(mask(x < 0), x * slope, x); }
inline V lane_value(row::Huber, V x, V delta) {
  const V limited = smaller(larger(x, -delta), delta);
  return limited * (x - 0.5f * limited);
}
inline V lane_value(row::HardShrink, V x, V limit) { return choose(mask(magnitude(x) <= limit), V{}, x); }
inline V lane_value(row::SoftShrink, V x, V limit) { return x - smaller(larger(x, -limit), limit); }
inline V lane_value(row::NanToNum, V x, V other, V largest) {
  return choose(mask(x != x), other, smaller(larger(x, -largest), largest));
}
inline V lane_value(row::Hardswish, V x) {
  return x * (smaller(larger(x + 3.0f, V{}), rows::splat<V>(6.0f)) * static_cast<float>(1.0 / 6));
}
// x where it is no number, otherwise y.
inline V nan_or(V x, V y) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
#else
  return choose(mask(x != x), x, y);
#endif
}
#if MLX_ISA_LEVEL >= 4
inline __mmask16 numbers(V x) { return _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q); }
inline V lane_value(row::Maximum, V a, V b) { return _mm512_mask_max_ps(a, numbers(a), a, b); }
inline V lane_value(row::Minimum, V a, V b) { return _mm512_mask_min_ps(a, numbers(a), a, b); }
// What is asked of a bound that is one number is asked once.
inline V lane_value(row::Clip, V x, V lo, V hi) {
  const V end = nan_or(lo, hi);
  return _mm512_mask_min_ps(x, numbers(x), larger(x, lo), end);
}
#else
inline V lane_value(row::Maximum, V a, V b) { return nan_or(a, larger(a, b)); }
inline V lane_value(row::Minimum, V a, V b) { return nan_or(a, smaller(a, b)); }
inline V lane_value(row::Clip, V x, V lo, V hi) { return nan_or(x, nan_or(lo, smaller(larger(x, lo), hi))); }
#endif

// clang-format on

}  // namespace mlx::core::cpu::MLX_ISA
