// Complex numbers in double, for the factorizations of complex matrices.
#pragma once

#include <algorithm>
#include <cmath>

namespace mlx::core::cpu {

// std::complex looks for infinities in every product.
struct Z {
  double re = 0, im = 0;
};
inline Z operator+(Z a, Z b) { return {a.re + b.re, a.im + b.im}; }
inline Z operator-(Z a, Z b) { return {a.re - b.re, a.im - b.im}; }
inline Z operator*(Z a, Z b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
inline Z operator*(double a, Z b) { return {a * b.re, a * b.im}; }
inline Z conj(Z a) { return {a.re, -a.im}; }
inline double squared(Z a) { return a.re * a.re + a.im * a.im; }
inline double size(Z a) { return std::hypot(a.re, a.im); }
inline double roughly(Z a) { return std::abs(a.re) + std::abs(a.im); }
inline Z operator/(Z a, Z b) {
  const double scale = std::max(std::abs(b.re), std::abs(b.im));
  const Z d = (1 / scale) * b;
  return (1 / (scale * squared(d))) * (a * conj(d));
}
inline Z root(Z a) {
  const double r = size(a), x = std::sqrt((r + std::abs(a.re)) / 2);
  if (x == 0) return {};
  const double y = a.im / (2 * x);
  return a.re >= 0 ? Z{x, y} : Z{std::abs(y), std::copysign(x, a.im)};
}

}  // namespace mlx::core::cpu
