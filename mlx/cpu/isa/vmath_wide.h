// float32 functions that are computed in float64 to float32 accuracy and a little more (relative errors of
// 1e-10 and below), then rounded: twice the work of float32 arithmetic, and next to correctly rounded without
// any care for cancellation. Arguments come from float32: no subnormal numbers, no overflow of squares.
#pragma once

#include "mlx/cpu/isa/vmath.h"

namespace mlx::core::cpu::MLX_ISA::wide {

inline constexpr double kPi = 0x1.921fb54442d18p+1;
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;

// Reaches 0 and infinity after rounding to float32, also after a multiplication by another float: 2^-45
inline double exp(double x) {
  const double c = at_most(at_least(x, -700.0), 700.0);
  const double t = fma(c, 0x1.71547652b82fep+0, rounder_d);
  const double n = t - rounder_d;
  const double r = fma(n, -1.90821492927058770002e-10, fma(n, -6.93147180369123816490e-01, c));
  const double q =
      poly(r, 0.4999999999966195, 0.16666666667269514, 0.04166666696381319, 0.008333333093801522,
           0.001388881086821155, 0.00019841540066809258, 2.488095104477308e-05, 2.7492944832581554e-06);
  const double p = fma(r * r, q, r) + 1.0;
  return of_bits(bits_of(p) + (bits_of(t) << 52));
}

// x > 0, finite, normal: relative error 2^-45, near 1 too.
inline double log_positive(double x) {
  const uint64_t root_half = uint64_t{0x3fe6a09e667f3bcd};
  const uint64_t i = bits_of(x) + (uint64_t{0x3ff0000000000000} - root_half);
  const double e = of_bits((i >> 52) | uint64_t{0x4330000000000000}) - (0x1p52 + 1023);
  const double m = of_bits((i & uint64_t{0xfffffffffffff}) + root_half);
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  const double p = poly(z, 0.6666666667579995, 0.39999995622527706, 0.2857210905325594, 0.22176194256298154,
                        0.19584056421275162);
  return fma(e, kLn2, fma(s * z, p, 2.0 * s));
}
inline double log(double x) {
  const double y = log_positive(x);
  const double special = x == 0.0 ? -inf_d : nan_d;
  const double positive = x == inf_d ? x : y;
  return x > 0.0 ? positive : special;
}
inline double log1p(double x) {
  const double y = log(1.0 + x);
  // 1 + x drops the last bits of a small x
  const double small = x * poly(x, 1.0, -1.0 / 2, 1.0 / 3, -1.0 / 4, 1.0 / 5);
  return abs(x) < 0.01 ? small : y;
}

inline double arcsinh(double x) {
  const double a = abs(x);
  const double z = x * x;
  const double large = copysign(log(a + sqrt(z + 1.0)), x);
  const double small = x * poly(z, 1.0, -1.0 / 6, 3.0 / 40, -15.0 / 336);
  return a < 0.02 ? small : large;
}
inline double arccosh(double x) {
  const double y = log(x + sqrt((x - 1.0) * (x + 1.0)));
  return x < 1.0 ? nan_d : y;
}
inline double arctanh(double x) {
  const double z = x * x;
  const double large = 0.5 * log((1.0 + x) / (1.0 - x));
  const double small = x * poly(z, 1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7);
  return abs(x) < 0.02 ? small : large;
}

// The angle of (x, y), 0 <= x, y: one division after rotating by 0, pi/4 or pi/2, then |t| <= tan(pi/8).
inline double angle(double y, double x) {
  const bool steep = y > 2.414213562373095 * x;
  const bool middle = y > 0.4142135623730951 * x;
  const double numerator = steep ? -x : middle ? y - x : y;
  const double denominator = steep ? y : middle ? y + x : x;
  const double base = steep ? kPi / 2 : middle ? kPi / 4 : 0.0;
  const double t = numerator / denominator;
  const double z = t * t;
  // 2^-40
  const double p =
      poly(z, -0.33333333296436374, 0.19999994406537086, -0.1428542663892943, 0.11104056061365947,
           -0.08997296574416691, 0.06993181033824199, -0.037957341877175824);
  return base + fma(t * z, p, t);
}
inline double arctan(double x) { return copysign(angle(abs(x), 1.0), x); }
inline double arctan2(double y, double x) {
  // Infinities become numbers larger than all floats: the ratio of two is 1.
  const double ay = at_most(abs(y), 1e200);
  const double ax = at_most(abs(x), 1e200);
  const double half = ay == 0.0 ? 0.0 * ax : angle(ay, ax);  // 0 * ax: a nan stays
  const bool left = (bits_of(x) >> 63) != 0;
  return copysign(left ? kPi - half : half, y);
}

inline constexpr double kMostAngle = 71476;

// sin(r) and cos(r) with x = n pi / 2 + r, |r| <= pi / 4, and the lowest bits of n; |x| <= kMostAngle.
struct Quadrant {
  double s, c;
  uint64_t n;
};
inline Quadrant reduce_angle(double x) {
  const double t = x * 0x1.45f306dc9c883p-1 + rounder_d;
  const double n = t - rounder_d;
  const double r = fma(n, -0x1.0b4611a626331p-34, fma(n, -0x1.921fb54400000p+0, x));
  const double z = r * r;
  const double s = fma(r * z,
                       poly(z, -0.16666666666631275, 0.008333333325212683, -0.00019841263789791802,
                            2.7555350536193743e-06, -2.4761118006400492e-08),
                       r);
  const double c = fma(z * z,
                       poly(z, 0.04166666666660162, -0.001388888887818961, 2.480158093374265e-05,
                            -2.755556013558357e-07, 2.0647281581227316e-09),
                       fma(-0.5, z, 1.0));
  return {s, c, bits_of(t)};
}
inline double tan(double x) {
  const auto [s, c, n] = reduce_angle(x);
  const bool odd = (n & 1) != 0;
  const double numerator = odd ? -c : s;
  const double denominator = odd ? s : c;
  const double y = numerator / denominator;
  return abs(x) < 0x1p-20 ? x : y;  // keeps -0
}

struct SinCos {
  double s, c;
};
inline SinCos sin_cos(double x) {
  const auto [s, c, n] = reduce_angle(x);
  const bool odd = (n & 1) != 0;
  const double y = of_bits(bits_of(odd ? c : s) ^ (n & 2) << 62);
  return {abs(x) < 0x1p-20 ? x : y, of_bits(bits_of(odd ? s : c) ^ ((n + 1) & 2) << 62)};
}
// Of floats: to 700, where they are far beyond.
inline SinCos sinh_cosh(double x) {
  const double a = abs(x), z = x * x;
  const double e = exp(a), inverse = 1.0 / e;
  // 2^-42 for a < 0.5
  const double small = fma(a * z, poly(z, 1.0 / 6, 1.0 / 120, 1.0 / 5040, 1.0 / 362880, 1.0 / 39916800), a);
  const double large = 0.5 * (e - inverse);
  return {copysign(a < 0.5 ? small : large, x), 0.5 * (e + inverse)};
}

// exp(-x^2) f(|x|) / (1 + 2|x|) with f a polynomial of (|x| - 3) / (|x| + 3): 2^-41
inline double erfc(double x) {
  const double a = at_most(abs(x), 10.5);  // there it has rounded to 0
  const double t = (a - 3.0) / (a + 3.0);
  const double f =
      poly(t, 1.2530080582696266, -0.1356211061346627, -0.047562294330771374, 0.12964515948664293,
           -0.11927366387636718, 0.06830800952822749, -0.02377051961954927, 0.0025295668402695315,
           0.0018888467975238417, -0.0007806402564372936, -0.00010636812767732806, 0.00012657479814962922,
           8.729501348153355e-06, -1.9645310023982275e-05, -4.869661584504316e-06);
  const double y = exp(-(a * a)) * f / (1.0 + 2.0 * a);
  return x < 0.0 ? 2.0 - y : y;
}

// x times a polynomial of w = -log(1 - x^2), or of sqrt(w) near the ends (after M. Giles, Approximating the
// erfinv function, 2010): 2^-30.7
inline double erfinv(double x) {
  const double w = -log((1.0 - x) * (1.0 + x));
  const double u = w - 2.5;
  const double central =
      poly(u, 1.5014093516923455, 0.24664027578518552, -0.004177324636098895, -0.0012527048768949083,
           0.0002182635574444314, -4.998759385801449e-06, -3.4260121253463363e-06, 4.796986780172423e-07,
           1.645721870151664e-08, -1.1023185057174737e-08, 4.370321383974577e-10, 1.3285732757385366e-10);
  const double v = sqrt(w) - 3.0;
  const double tail =
      poly(v, 2.83297679851652, 1.0016752763008856, 0.009445545242700212, -0.007643789922657844,
           0.005684764346223027, -0.0035589131377877065, 0.001486562123708304, -0.0001488542693051676,
           -0.0002921166803512918, 0.00020735815172688688, -3.229220187860695e-05, -2.8502252759844456e-05,
           1.1960908620469831e-05);
  const double y = x * (w < 5.0 ? central : tail);
  return abs(x) == 1.0 ? x * inf_d : y;  // outside, w is nan
}

inline double logaddexp(double a, double b) {
  const double larger = a > b ? a : b;
  const double e = exp(-abs(a - b));
  const double y = larger + log1p(e);
  const double equal = a + kLn2;  // infinities too
  const double r = a == b ? equal : y;
  return ((a != a) | (b != b)) ? a + b : r;
}

// exp(b log|a|), with the signs and exceptions of IEEE 754's pow.
inline double power(double a, double b) {
  const double magnitude = abs(a);
  const double p = exp(b * log(magnitude));
  const bool whole = rint(b) == b;
  const double half = 0.5 * b;
  const bool odd = whole & (rint(half) != half);
  const double y = odd ? copysign(p, a) : p;
  const bool undefined = (a < 0.0) & !whole & (magnitude != inf_d);
  const double r = undefined ? nan_d : y;
  const bool one = (a == 1.0) | (b == 0.0) | ((a == -1.0) & (abs(b) == inf_d));
  return one ? 1.0 : r;
}

}  // namespace mlx::core::cpu::MLX_ISA::wide
