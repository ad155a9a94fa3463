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
    const T scale = std::max(std::abs(b.re), std::abs(b.im));  // whose reciprocal may be infinite
    const Complex d{b.re / scale, b.im / scale}, product = a * conj(d);
    const T f = 1 / squared(d);
    return {product.re * f / scale, product.im * f / scale};
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
using C = Complex<float>;
using Z = Complex<double>;

inline float conj(float x) { return x; }
inline double conj(double x) { return x; }
inline float roughly(float x) { return std::abs(x); }
inline double roughly(double x) { return std::abs(x); }
inline float real_part(float x) { return x; }
inline double real_part(double x) { return x; }
template <class T>
T real_part(Complex<T> x) {
  return x.re;
}

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
// Complex numbers as the reals that they are in memory.
template <class S>
constexpr int64_t kParts = sizeof(S) / sizeof(Real<S>);
template <class S>
Real<S>* reals(S* x) {
  return reinterpret_cast<Real<S>*>(x);
}
template <class S>
const Real<S>* reals(const S* x) {
  return reinterpret_cast<const Real<S>*>(x);
}
// Scalars of another type.
template <class To, class From>
To convert(From x) {
  if constexpr (kComplex<From>)
    return {static_cast<Real<To>>(x.re), static_cast<Real<To>>(x.im)};
  else
    return static_cast<To>(x);
}

}  // namespace mlx::core::cpu
