// complex64: two floats. Ordered lexicographically, as NumPy does.
#pragma once

#include <cmath>
#include <complex>
#include <type_traits>

#include "mlx/types/half_types.h"

namespace mlx::core {

struct complex64_t : std::complex<float> {
  constexpr complex64_t() : std::complex<float>(0.0f, 0.0f) {}
  constexpr complex64_t(float real, float imag) : std::complex<float>(real, imag) {}
  constexpr complex64_t(std::complex<float> value) : std::complex<float>(value) {}
  template <class T>
    requires(std::is_convertible_v<T, float> && !std::is_same_v<T, complex64_t> &&
             !std::is_same_v<T, std::complex<float>>)
  constexpr complex64_t(T real) : std::complex<float>(static_cast<float>(real), 0.0f) {}

  // Drops the imaginary part, as casting to a real dtype does.
  operator float() const { return real(); }
  operator bool() const { return real() != 0.0f || imag() != 0.0f; }
};

inline bool operator<(const complex64_t& a, const complex64_t& b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}
inline bool operator>(const complex64_t& a, const complex64_t& b) { return b < a; }
inline bool operator>=(const complex64_t& a, const complex64_t& b) {
  return a.real() > b.real() || (a.real() == b.real() && a.imag() >= b.imag());
}
inline bool operator<=(const complex64_t& a, const complex64_t& b) { return b >= a; }
inline bool operator==(const complex64_t& a, const complex64_t& b) {
  return a.real() == b.real() && a.imag() == b.imag();
}

// One scalar type to another: complex numbers lose their imaginary part, except on the way to bool.
template <class To, class From>
To cast_to(const From& value) {
  if constexpr (std::is_same_v<From, complex64_t> || std::is_same_v<From, std::complex<float>>) {
    if constexpr (std::is_same_v<To, bool>) {
      return value.real() != 0.0f || value.imag() != 0.0f;
    } else if constexpr (std::is_same_v<To, complex64_t>) {
      return complex64_t(value);
    } else {
      return static_cast<To>(value.real());
    }
  } else if constexpr (std::is_arithmetic_v<From>) {
    return static_cast<To>(value);
  } else {
    return static_cast<To>(static_cast<float>(value));
  }
}

}  // namespace mlx::core
