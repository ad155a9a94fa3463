// Types beside those of the language, and casts as astype does them.
#pragma once
#include <metal_stdlib>
using namespace metal;

// Ordered lexicographically.
struct complex64_t {
  float re, im;
  METAL_FUNC explicit operator bool() const { return re != 0 || im != 0; }
};
METAL_FUNC complex64_t operator+(complex64_t a, complex64_t b) { return {a.re + b.re, a.im + b.im}; }
METAL_FUNC complex64_t operator-(complex64_t a, complex64_t b) { return {a.re - b.re, a.im - b.im}; }
METAL_FUNC complex64_t operator*(complex64_t a, complex64_t b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
METAL_FUNC complex64_t operator*(complex64_t a, float s) { return {a.re * s, a.im * s}; }
METAL_FUNC bool operator==(complex64_t a, complex64_t b) { return a.re == b.re && a.im == b.im; }
METAL_FUNC bool operator!=(complex64_t a, complex64_t b) { return !(a == b); }
METAL_FUNC bool operator<(complex64_t a, complex64_t b) {
  return a.re < b.re || (a.re == b.re && a.im < b.im);
}
METAL_FUNC bool operator>(complex64_t a, complex64_t b) { return b < a; }
METAL_FUNC bool operator<=(complex64_t a, complex64_t b) {
  return a.re < b.re || (a.re == b.re && a.im <= b.im);
}
METAL_FUNC bool operator>=(complex64_t a, complex64_t b) { return b <= a; }

template <class T>
struct is_float {
  static constant constexpr bool value = false;
};
template <>
struct is_float<float> {
  static constant constexpr bool value = true;
};
template <>
struct is_float<half> {
  static constant constexpr bool value = true;
};
template <>
struct is_float<bfloat> {
  static constant constexpr bool value = true;
};

// Floats to integers: truncated; nan gives 0; 32 and 64 bits saturate (unsigned ones wrap negative values),
// narrower integers take the low bits of int32.
METAL_FUNC long truncated_long(float x) {
  if (x != x) return 0;
  if (x >= 9223372036854775808.0f) return LONG_MAX;
  if (x <= -9223372036854775808.0f) return LONG_MIN;
  return static_cast<long>(x);
}
METAL_FUNC int truncated_int(float x) {
  if (x != x) return 0;
  if (x >= 2147483648.0f) return INT_MAX;
  if (x <= -2147483648.0f) return INT_MIN;
  return static_cast<int>(x);
}

template <class To>
struct Cast {
  template <class From>
  static METAL_FUNC To of(From x) {
    return is_float<From>::value ? static_cast<To>(truncated_int(static_cast<float>(x))) : static_cast<To>(x);
  }
  static METAL_FUNC To of(complex64_t x) { return of(x.re); }
};
template <>
struct Cast<bool> {
  template <class From>
  static METAL_FUNC bool of(From x) {
    return static_cast<bool>(x);
  }
};
template <>
struct Cast<uint> {
  template <class From>
  static METAL_FUNC uint of(From x) {
    if (!is_float<From>::value) return static_cast<uint>(x);
    const float f = static_cast<float>(x);
    if (f >= 2147483648.0f) return f < 4294967296.0f ? static_cast<uint>(f) : UINT_MAX;
    return static_cast<uint>(truncated_int(f));
  }
  static METAL_FUNC uint of(complex64_t x) { return of(x.re); }
};
template <>
struct Cast<long> {
  template <class From>
  static METAL_FUNC long of(From x) {
    return is_float<From>::value ? truncated_long(static_cast<float>(x)) : static_cast<long>(x);
  }
  static METAL_FUNC long of(complex64_t x) { return of(x.re); }
};
template <>
struct Cast<ulong> {
  template <class From>
  static METAL_FUNC ulong of(From x) {
    if (!is_float<From>::value) return static_cast<ulong>(x);
    const float f = static_cast<float>(x);
    if (f >= 9223372036854775808.0f) return f < 18446744073709551616.0f ? static_cast<ulong>(f) : ULONG_MAX;
    return static_cast<ulong>(truncated_long(f));
  }
  static METAL_FUNC ulong of(complex64_t x) { return of(x.re); }
};
template <class To>
struct CastToFloat {
  template <class From>
  static METAL_FUNC To of(From x) {
    return static_cast<To>(x);
  }
  static METAL_FUNC To of(half x) { return static_cast<To>(static_cast<float>(x)); }
  static METAL_FUNC To of(bfloat x) { return static_cast<To>(static_cast<float>(x)); }
  static METAL_FUNC To of(complex64_t x) { return static_cast<To>(x.re); }
};
template <>
struct Cast<float> : CastToFloat<float> {};
template <>
struct Cast<half> : CastToFloat<half> {};
template <>
struct Cast<bfloat> : CastToFloat<bfloat> {};
template <>
struct Cast<complex64_t> {
  template <class From>
  static METAL_FUNC complex64_t of(From x) {
    return {static_cast<float>(x), 0};
  }
  static METAL_FUNC complex64_t of(complex64_t x) { return x; }
};
template <class To, class From>
METAL_FUNC To cast_to(From x) {
  return Cast<To>::of(x);
}
