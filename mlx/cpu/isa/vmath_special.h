// Rare float64 functions, one element at a time: digamma, polygamma, erfinv.
#pragma once

#include <math.h>  // lgamma_r, which clang has no builtin for

#include "mlx/cpu/isa/vmath.h"

namespace mlx::core::cpu::MLX_ISA::special {

inline constexpr double kPi = 0x1.921fb54442d18p+1;

inline double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

// Reflection to x >= 1/2, recurrence to x >= 10, then the asymptotic series (Abramowitz &
// Stegun 6.3.7, 6.3.5, 6.3.18). The error is about 1e-15 relative, or absolute near the roots. Poles: -+inf
// at +-0, nan at whole numbers below.
inline double digamma(double x) {
  if (x == 0) return -copysign(inf_d, x);
  if (x == inf_d) return x;
  if (x < 0.5) {
    const double fraction = x - rint(x);
    if (fraction == 0 || x == -inf_d) return nan_d;
    return digamma(1 - x) - kPi / __builtin_tan(kPi * fraction);
  }
  double sum = 0;
  for (; x < 10; x += 1) sum -= 1 / x;
  const double z = 1 / (x * x);
  const double tail =
      z * (1.0 / 12 -
           z * (1.0 / 120 -
                z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z * (1.0 / 12)))))));
  return sum + (__builtin_log(x) - 0.5 / x - tail);
}

// sum over k >= 0 of (a + k)^-s for s > 1, a > 0, by Euler and Maclaurin.
inline double hurwitz_zeta(double s, double a) {
  // (2j)! / B_2j
  constexpr double ratios[] = {12.0,
                               -720.0,
                               30240.0,
                               -1209600.0,
                               47900160.0,
                               -1.8924375803183791606e9,
                               7.47242496e10,
                               -2.950130727918164224e12,
                               1.1646782814350067249e14,
                               -4.5979787224074726105e15,
                               1.8152105401943546773e17,
                               -7.1661652561756670113e18};
  double sum = 0;
  const double end = 10 + 0.5 * (s < 200 ? s : 200);
  for (; a < end; a += 1) {
    const double term = __builtin_pow(a, -s);
    sum += term;
    if (term < 1e-17 * sum) return sum;
  }
  const double last = __builtin_pow(a, -s);
  sum += last * a / (s - 1) + 0.5 * last;
  double factor = s, power = last / a;
  for (int j = 0; j < 12; ++j) {
    sum += factor * power / ratios[j];
    factor *= (s + 2 * j + 1) * (s + 2 * j + 2);
    power /= a * a;
  }
  return sum;
}

// (-1)^(n+1) n! zeta(n + 1, x); negative x by the series of pi cot(pi x) = psi(1 - x) - psi(x).
inline double polygamma(double n, double x) {
  if (!(n >= 0) || n != rint(n) || n == inf_d) return nan_d;
  if (n == 0) return digamma(x);
  const double factorial = __builtin_exp(log_gamma(n + 1));
  const bool odd = rint(0.5 * n) != 0.5 * n;
  const double sign = odd ? 1 : -1;
  if (x > 0) return x == inf_d ? 0.0 : sign * factorial * hurwitz_zeta(n + 1, x);
  if (x == rint(x)) return odd ? inf_d : nan_d;  // a pole; from both sides the same only for odd n
  if (x != x) return x;
  const double fraction = x - floor(x);
  const double both = hurwitz_zeta(n + 1, fraction) + sign * hurwitz_zeta(n + 1, 1 - fraction);
  return sign * factorial * (both - sign * hurwitz_zeta(n + 1, 1 - x));
}

inline double erfinv(double x) {
  const double a = abs(x);
  if (!(a < 1)) return a == 1 ? x * inf_d : nan_d;
  if (a < 1e-8) return x * 0.886226925452758013649;
  // Winitzki's formula, then Halley's method on erfc, which keeps its relative precision near the ends.
  const double c = 1 - a;
  const double l = __builtin_log1p(-a * a);
  const double b = 2 / (kPi * 0.147) + 0.5 * l;
  double y = sqrt(sqrt(b * b - l / 0.147) - b);
  for (int i = 0; i < 3; ++i) {
    const double error = a > 0.5 ? c - __builtin_erfc(y) : __builtin_erf(y) - a;
    const double step = error * 0.886226925452758013649 * __builtin_exp(y * y);
    y -= step / (1 + y * step);
  }
  return copysign(y, x);
}

}  // namespace mlx::core::cpu::MLX_ISA::special
