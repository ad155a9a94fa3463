// Complex numbers for the factorizations of complex matrices, and what templates of real and complex
// matrices say in words of both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace mlx::core::cpu {

// std::complex looks for infinities in every product.
template <class T>
struct Complex {
  T re = 0, im = 0;

  friend Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend Complex operator-(Complex a) { return {-a.re, -a.im}; }
  friend Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  friend Complex operator*(T a, Complex b) { return {a * b.re, a * b.im}; }
  friend Complex operator/(Complex a, Complex b) {
    const T scale = std::max(std::abs(b.re), std::abs(b.im));
    const Complex d = (1 / scale) * b;
    return (1 / (scale * squared(d))) * (a * conj(d));
  }
  Complex& operator+=(Complex b) { return *this = *this + b; }
  Complex& operator-=(Complex b) { return *this = *this - b; }

  friend Complex conj(Complex a) { return {a.re, -a.im}; }
  friend T squared(Complex a) { return a.re * a.re + a.im * a.im; }
  friend T size(Complex a) { return std::hypot(a.re, a.im); }
  friend T roughly(Complex a) { return std::abs(a.re) + std::abs(a.im); }
  friend Complex root(Complex a) {
    const T r = size(a), x = std::sqrt((r + std::abs(a.re)) / 2);
    if (x == 0) return {};
    const T y = a.im / (2 * x);
    return a.re >= 0 ? Complex{x, y} : Complex{std::abs(y), std::copysign(x, a.im)};
  }
};
using Z = Complex<double>;

inline float conj(float x) { return x; }
inline double conj(double x) { return x; }

template <class S>
struct RealOf {
  using Type = S;
};
template <class T>
struct RealOf<Complex<T>> {
  using Type = T;
};
template <class S>
using Real = typename RealOf<S>::Type;
template <class S>
constexpr bool kComplex = !std::is_same_v<S, Real<S>>;

}  // namespace mlx::core::cpu
