// float64 functions as vector code: exp, expm1, log, sin, cos, tanh, sigmoid, each within 2 units in the last
// place. The others call the C library.
#pragma once

#include "mlx/cpu/isa/vmath.h"

namespace mlx::core::cpu::MLX_ISA {

struct ExpReduced64 {
  double r;
  double n;
};
// x = n ln2 + r, |r| <= ln2 / 2; n times the high part of ln2 is exact for |x| < 1100.
inline ExpReduced64 reduce_exp(double x) {
  const double n = fma(x, 0x1.71547652b82fep+0, rounder_d) - rounder_d;
  return {fma(n, -0x1.a39ef35793c76p-33, fma(n, -0x1.62e42feep-1, x)), n};
}
// exp(r) - 1 = r + r^2 q(r): 2^-61.7
inline double expm1_reduced(double r) {
  const double q =
      poly(r, 0.5, 0.16666666666666677, 0.041666666666666505, 0.008333333333321608, 0.0013888888888962912,
           0.00019841269886207403, 2.4801587171818368e-05, 2.755724410471418e-06, 2.755740296078105e-07,
           2.5109081223634565e-08, 2.087532242928297e-09);
  return fma(r * r, q, r);
}
// 2^n for a whole n between -1022 and 1023, without conversion to an integer, which AVX2 lacks.
inline double power_of_two(double n) { return of_bits((bits_of(n + rounder_d) + 1023) << 52); }

inline double exp(double x) {
  const ExpReduced64 e = reduce_exp(at_most(at_least(x, -746.0), 710.0));
  const double half = floor(0.5 * e.n);
  return (expm1_reduced(e.r) + 1.0) * power_of_two(half) * power_of_two(e.n - half);
}
inline double expm1(double x) {
  const ExpReduced64 e = reduce_exp(at_most(at_least(x, -40.0), 710.0));
  const double s = power_of_two(e.n - 1.0);  // half of 2^n: 2^1024 is no float
  const double y = 2.0 * fma(s, expm1_reduced(e.r), s - 0.5);
  return abs(x) < 0x1p-54 ? x : y;
}

inline double log(double x) {
  const uint64_t root_half = 0x3fe6a09e667f3bcd;
  const bool subnormal = x < 0x1p-1022;
  const double scaled = x * 0x1p54;
  const uint64_t i = bits_of(subnormal ? scaled : x) + (uint64_t{0x3ff0000000000000} - root_half);
  const double e =
      of_bits((i >> 52) | uint64_t{0x4330000000000000}) - (0x1p52 + 1023) - (subnormal ? 54.0 : 0.0);
  const double f = of_bits((i & uint64_t{0xfffffffffffff}) + root_half) - 1.0;
  // log(1 + f) = f - h + s (h + z p(z)) with s = f / (2 + f), z = s^2, h = f^2 / 2: 2^-66.7
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double h = 0.5 * f * f;
  const double p = poly(z, 0.6666666666666666, 0.4000000000000624, 0.28571428569087337, 0.2222222264657343,
                        0.18181775683658824, 0.15387089953428146, 0.1325013647643232, 0.1325116055486178);
  const double low = fma(e, 0x1.a39ef35793c76p-33, s * fma(z, p, h));
  const double y = fma(e, 0x1.62e42feep-1, f - (h - low));
  const double special = x == 0.0 ? -inf_d : nan_d;
  const double positive = x == inf_d ? x : y;
  return x > 0.0 ? positive : special;
}

// As for float32: what 1 + z lost is divided out to first order.
inline double sigmoid(double x) {
  const double z = exp(-abs(x));
  const double sum = 1.0 + z;
  const double lost = z - (sum - 1.0);
  const double y = (x < 0.0 ? z : 1.0) / sum;
  return fma(-y, lost * fma(-0.4859, sum, 1.457), y);
}

// With E = exp(-2|x|) - 1: -E / (2 + E) for small |x|, 1 - 2 (1 + E) / (2 + E) for large.
inline double tanh(double x) {
  const double a = at_most(abs(x), 22.0);
  const ExpReduced64 r = reduce_exp(-2.0 * a);
  const double s = power_of_two(r.n);
  const double e = fma(s, expm1_reduced(r.r), s - 1.0);
  const bool large = a >= 0.55;
  const double quotient = (large ? 2.0 + 2.0 * e : -e) / (2.0 + e);
  const double y = large ? 1.0 - quotient : quotient;
  return copysign(a < 0x1p-28 ? a : y, x);
}

#if MLX_ISA_LEVEL != 2
inline constexpr double kTrigLimit64 = 0x1p20;

// sin(x + offset pi/2) for |x| <= kTrigLimit64; the reduction needs the fused multiply-add.
inline double sin_quadrant(double x, uint64_t offset) {
  const double t = fma(x, 0x1.45f306dc9c883p-1, rounder_d);
  const double n = t - rounder_d;
  const double r =
      fma(n, 0x1.f1976b7ed8fbcp-110, fma(n, -0x1.1a62633145c07p-54, fma(n, -0x1.921fb54442d18p+0, x)));
  const double z = r * r;
  const double s = fma(r * z,
                       poly(z, -0.16666666666666632, 0.008333333333322316, -0.00019841269829725224,
                            2.7557313662063997e-06, -2.5050753265458658e-08, 1.5896504994906177e-10),
                       r);
  const double c = fma(z,
                       poly(z, -0.5, 0.0416666666666666, -0.001388888888887399, 2.480158728939489e-05,
                            -2.7557314326020174e-07, 2.087571955732509e-09, -1.1359448610644066e-11),
                       1.0);
  const uint64_t q = bits_of(t) + offset;
  const double y = (q & 1) != 0 ? c : s;
  return of_bits(bits_of(y) ^ ((q & 2) << 62));
}
inline double sin(double x) {
  const double y = sin_quadrant(x, 0);
  return abs(x) < 0x1p-27 ? x : y;  // keeps -0
}
inline double cos(double x) { return sin_quadrant(x, 1); }
inline bool is_large_angle(double x) { return (abs(x) > kTrigLimit64) & (abs(x) < inf_d); }
#endif

}  // namespace mlx::core::cpu::MLX_ISA
