// Complex numbers in double, for the factorizations of complex matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

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

// 1 - factor v v^H that maps x, of n elements, on beta times the first unit vector; v takes x's place.
struct ComplexReflection {
  double factor = 0;
  Z beta;
};
inline ComplexReflection find_reflection(Z* x, int64_t n) {
  double rest = 0;
  for (int64_t i = 1; i < n; ++i) rest += squared(x[i]);
  if (rest < 1e-280) return {0, x[0]};
  const double first = size(x[0]), length = std::sqrt(squared(x[0]) + rest);
  const Z direction = first > 0 ? (1 / first) * x[0] : Z{1, 0};
  x[0] = x[0] + length * direction;
  return {1 / (length * (length + first)), -length * direction};  // 2 / |v|^2
}
// Row j of q, of n elements, is column j of a product; that is multiplied by the reflection of `count`
// columns.
inline void reflect_columns(Z* q, int64_t n, const Z* v, int64_t count, double factor) {
  std::vector<Z> sum(n);
  for (int64_t j = 0; j < count; ++j)
    for (int64_t i = 0; i < n; ++i) sum[i] = sum[i] + v[j] * q[j * n + i];
  for (int64_t j = 0; j < count; ++j) {
    const Z f = factor * conj(v[j]);
    for (int64_t i = 0; i < n; ++i) q[j * n + i] = q[j * n + i] - f * sum[i];
  }
}

}  // namespace mlx::core::cpu
