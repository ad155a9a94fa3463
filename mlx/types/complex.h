// complex64: two floats. Ordered lexicographically, as NumPy does.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
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

// A real number as an integer, as astype does it, also where the language leaves the conversion undefined:
// truncated; nan gives 0; 32- and 64-bit integers saturate (unsigned ones wrap negative values), narrower
// ones take the low bits of int32.
template <class To>
constexpr To truncated(double x) {
  using Signed = std::conditional_t<sizeof(To) == 8, int64_t, int32_t>;
  constexpr double limit = sizeof(To) == 8 ? 0x1p63 : 0x1p31;
  if (x != x) return 0;
  if constexpr (std::is_unsigned_v<To> && sizeof(To) == sizeof(Signed)) {
    if (x >= limit) return x < 2 * limit ? static_cast<To>(x) : std::numeric_limits<To>::max();
  }
  if (x >= limit) return static_cast<To>(std::numeric_limits<Signed>::max());
  if (x <= -limit) return static_cast<To>(std::numeric_limits<Signed>::min());
  return static_cast<To>(static_cast<Signed>(x));
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
      return cast_to<To>(value.real());
    }
  } else if constexpr (std::is_integral_v<From>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_integral_v<To> && !std::is_same_v<To, bool>) {
    return truncated<To>(static_cast<double>(value));
  } else if constexpr (std::is_floating_point_v<From>) {
    return static_cast<To>(value);
  } else {
    return static_cast<To>(static_cast<float>(value));
  }
}

}  // namespace mlx::core
