// Functions of complex64 as vector code: in float64, to 2^-40 of each part where the formulas do not cancel,
// and rounded once. Arguments are finite and angles at most wide::kMostAngle; values_complex.h leaves the
// others to the C library.
#pragma once

#include "mlx/cpu/isa/values.h"
#include "mlx/cpu/isa/vmath_wide.h"

namespace mlx::core::cpu::MLX_ISA {

struct c128 {
  double re, im;
};
inline c128 operator+(c128 a, c128 b) { return {a.re + b.re, a.im + b.im}; }
inline c128 operator-(c128 a, c128 b) { return {a.re - b.re, a.im - b.im}; }
inline c128 operator*(c128 a, double s) { return {a.re * s, a.im * s}; }
inline c128 operator*(c128 a, c128 b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline c128 conjugate(c128 z) { return {z.re, -z.im}; }

namespace wide {

inline c128 exp(c128 z) {
  const double size = exp(z.re);
  const auto [s, c] = sin_cos(z.im);
  return {size * c, size * s};
}

// log(1 + excess) / 2 = log(size) / 2: near 1 by the first, which has not lost digits.
inline double half_log(double excess, double size) {
  const double near = excess * poly(excess, 0.5, -0.5 / 2, 0.5 / 3, -0.5 / 4, 0.5 / 5);
  const double y = 0.5 * log(size);
  return abs(excess) < 0.01 ? near : y;
}
inline c128 log(c128 z) {
  const double x = abs(z.re), y = abs(z.im);
  const double larger = x > y ? x : y, smaller = x > y ? y : x;
  // |z|^2 - 1: differences and squares of floats are exact
  const double excess = (larger - 1.0) * (larger + 1.0) + smaller * smaller;
  return {half_log(excess, x * x + y * y), arctan2(z.im, z.re)};
}
inline c128 log1p(c128 z) {
  const double excess = z.re * (2.0 + z.re) + z.im * z.im, u = 1.0 + z.re;
  return {half_log(excess, u * u + z.im * z.im), arctan2(z.im, u)};
}

// The half plane of positive real parts. Both parts of 0 are zero.
inline c128 sqrt(c128 z) {
  const double x = abs(z.re), y = abs(z.im);
  const double larger = MLX_ISA::sqrt(0.5 * (MLX_ISA::sqrt(x * x + y * y) + x));
  const double smaller = larger == 0.0 ? 0.0 : 0.5 * y / larger;
  const bool right = z.re >= 0.0;
  return {right ? larger : smaller, copysign(right ? smaller : larger, z.im)};
}
// Of z != 0: the conjugate of the root by its size.
inline c128 rsqrt(c128 z) { return conjugate(sqrt(z)) * (1.0 / MLX_ISA::sqrt(z.re * z.re + z.im * z.im)); }

inline c128 sin(c128 z) {
  const auto [s, c] = sin_cos(z.re);
  const auto [sh, ch] = sinh_cosh(z.im);
  return {s * ch, c * sh};
}
inline c128 cos(c128 z) {
  const auto [s, c] = sin_cos(z.re);
  const auto [sh, ch] = sinh_cosh(z.im);
  return {c * ch, -(s * sh)};
}
inline c128 sinh(c128 z) {
  const auto [s, c] = sin_cos(z.im);
  const auto [sh, ch] = sinh_cosh(z.re);
  return {sh * c, ch * s};
}
inline c128 cosh(c128 z) {
  const auto [s, c] = sin_cos(z.im);
  const auto [sh, ch] = sinh_cosh(z.re);
  return {ch * c, sh * s};
}
// By |cos z|^2 = cos(x)^2 + sinh(y)^2, which does not cancel. From 60 on y has no influence.
inline c128 tan(c128 z) {
  const auto [s, c] = sin_cos(z.re);
  const auto [sh, ch] = sinh_cosh(at_most(at_least(z.im, -60.0), 60.0));
  return c128{s * c, sh * ch} * (1.0 / (c * c + sh * sh));
}
inline c128 tanh(c128 z) {
  const c128 w = tan({z.im, z.re});
  return {w.im, w.re};
}

}  // namespace wide

}  // namespace mlx::core::cpu::MLX_ISA
