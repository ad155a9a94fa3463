// half and bfloat: stored in 16 bits, computed as float and rounded once, to nearest even. (A float has more
// than twice the digits and two more, so +, -, *, / and sqrt are as if they had been computed exactly.)
#pragma once
#include <metal_macros>

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;

namespace metal {
template <bool condition, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool condition, class T = void>
using enable_if_t = typename enable_if<condition, T>::type;
}  // namespace metal

namespace metal_simulator {

template <class T>
struct is_integer {
  static constexpr bool value = false;
};
template <>
struct is_integer<bool> {
  static constexpr bool value = true;
};
template <>
struct is_integer<char> : is_integer<bool> {};
template <>
struct is_integer<signed char> : is_integer<bool> {};
template <>
struct is_integer<unsigned char> : is_integer<bool> {};
template <>
struct is_integer<short> : is_integer<bool> {};
template <>
struct is_integer<unsigned short> : is_integer<bool> {};
template <>
struct is_integer<int> : is_integer<bool> {};
template <>
struct is_integer<unsigned int> : is_integer<bool> {};
template <>
struct is_integer<long> : is_integer<bool> {};
template <>
struct is_integer<unsigned long> : is_integer<bool> {};
template <>
struct is_integer<long long> : is_integer<bool> {};
template <>
struct is_integer<unsigned long long> : is_integer<bool> {};

struct HalfFormat {
  typedef short Shorts __attribute__((vector_size(16)));
  typedef float Floats __attribute__((vector_size(16)));
  METAL_FUNC static constexpr float widen(unsigned short h) {
#if defined(__F16C__)
    if (!__builtin_is_constant_evaluated()) return __builtin_ia32_vcvtph2ps(Shorts{static_cast<short>(h)})[0];
#elif defined(__aarch64__)
    if (!__builtin_is_constant_evaluated()) return __builtin_bit_cast(__fp16, h);
#endif
    const unsigned sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ffu;
    if (exponent == 31) return __builtin_bit_cast(float, sign | 0x7f800000u | fraction << 13);
    if (exponent) return __builtin_bit_cast(float, sign | (exponent + 112) << 23 | fraction << 13);
    const float tiny = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }
  METAL_FUNC static constexpr unsigned short narrow(float x) {
#if defined(__F16C__)
    if (!__builtin_is_constant_evaluated())
      return static_cast<unsigned short>(__builtin_ia32_vcvtps2ph(Floats{x, 0, 0, 0}, 0)[0]);
#elif defined(__aarch64__)
    if (!__builtin_is_constant_evaluated()) return __builtin_bit_cast(unsigned short, static_cast<__fp16>(x));
#endif
    const unsigned bits = __builtin_bit_cast(unsigned, x), sign = (bits >> 16) & 0x8000u,
                   a = bits & 0x7fffffffu;
    if (a > 0x7f800000u) return static_cast<unsigned short>(sign | 0x7e00u | ((a >> 13) & 0x1ffu));
    if (a >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00u);
    if (a < 0x38800000u) {
      // Below the normal numbers: adding 0.5 leaves multiples of 2^-24.
      const float shifted = __builtin_bit_cast(float, a) + 0.5f;
      return static_cast<unsigned short>(sign | (__builtin_bit_cast(unsigned, shifted) - 0x3f000000u));
    }
    return static_cast<unsigned short>(sign | ((a - 0x38000000u + 0xfffu + ((a >> 13) & 1)) >> 13));
  }
};

struct BfloatFormat {
  METAL_FUNC static constexpr float widen(unsigned short h) {
    return __builtin_bit_cast(float, static_cast<unsigned>(h) << 16);
  }
  METAL_FUNC static constexpr unsigned short narrow(float x) {
    const unsigned bits = __builtin_bit_cast(unsigned, x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<unsigned short>(bits >> 16 | 0x40u);
    return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
  }
};

template <class Format>
struct Float16 {
  unsigned short bits;

  Float16() = default;
  METAL_FUNC constexpr Float16(float x) : bits(Format::narrow(x)) {}
  template <class T, class = metal::enable_if_t<is_integer<T>::value>>
  METAL_FUNC constexpr Float16(T x) : bits(Format::narrow(static_cast<float>(x))) {}
  // From the other 16-bit format, only where it is asked for.
  template <class Other>
  METAL_FUNC explicit constexpr Float16(Float16<Other> x) : Float16(static_cast<float>(x)) {}
  METAL_FUNC constexpr operator float() const { return Format::widen(bits); }

  METAL_FUNC constexpr Float16 operator-() const { return from_bits(bits ^ 0x8000u); }
  METAL_FUNC constexpr Float16 operator+() const { return *this; }
  METAL_FUNC constexpr Float16& operator++() { return *this = Float16(float(*this) + 1.0f); }
  METAL_FUNC constexpr Float16& operator--() { return *this = Float16(float(*this) - 1.0f); }
  METAL_FUNC constexpr Float16 operator++(int) {
    const Float16 old = *this;
    ++*this;
    return old;
  }
  METAL_FUNC constexpr Float16 operator--(int) {
    const Float16 old = *this;
    --*this;
    return old;
  }
  METAL_FUNC static constexpr Float16 from_bits(unsigned b) {
    Float16 x(0.0f);
    x.bits = static_cast<unsigned short>(b);
    return x;
  }
};

template <class T>
using Integer = metal::enable_if_t<is_integer<T>::value>;

// Two of a kind, or one and an integer, give the kind; with a float, a float (the conversion to float does
// that).
#define METAL_SIMULATOR_OPERATOR(op)                                        \
  template <class F>                                                        \
  METAL_FUNC constexpr Float16<F> operator op(Float16<F> a, Float16<F> b) { \
    return Float16<F>(float(a) op float(b));                                \
  }                                                                         \
  template <class F, class T, class = Integer<T>>                           \
  METAL_FUNC constexpr Float16<F> operator op(Float16<F> a, T b) {          \
    return Float16<F>(float(a) op float(Float16<F>(b)));                    \
  }                                                                         \
  template <class F, class T, class = Integer<T>>                           \
  METAL_FUNC constexpr Float16<F> operator op(T a, Float16<F> b) {          \
    return Float16<F>(float(Float16<F>(a)) op float(b));                    \
  }                                                                         \
  template <class F>                                                        \
  METAL_FUNC constexpr float operator op(Float16<F> a, float b) {           \
    return float(a) op b;                                                   \
  }                                                                         \
  template <class F>                                                        \
  METAL_FUNC constexpr float operator op(float a, Float16<F> b) {           \
    return a op float(b);                                                   \
  }                                                                         \
  template <class F, class T>                                               \
  METAL_FUNC constexpr Float16<F>& operator op## = (Float16<F> & a, T b) {  \
    return a = Float16<F>(static_cast<float>(a op b));                      \
  }
METAL_SIMULATOR_OPERATOR(+)
METAL_SIMULATOR_OPERATOR(-)
METAL_SIMULATOR_OPERATOR(*)
METAL_SIMULATOR_OPERATOR(/)
#undef METAL_SIMULATOR_OPERATOR

#define METAL_SIMULATOR_COMPARISON(op)                                \
  template <class F>                                                  \
  METAL_FUNC constexpr bool operator op(Float16<F> a, Float16<F> b) { \
    return float(a) op float(b);                                      \
  }                                                                   \
  template <class F, class T, class = Integer<T>>                     \
  METAL_FUNC constexpr bool operator op(Float16<F> a, T b) {          \
    return float(a) op float(b);                                      \
  }                                                                   \
  template <class F, class T, class = Integer<T>>                     \
  METAL_FUNC constexpr bool operator op(T a, Float16<F> b) {          \
    return float(a) op float(b);                                      \
  }                                                                   \
  template <class F>                                                  \
  METAL_FUNC constexpr bool operator op(Float16<F> a, float b) {      \
    return float(a) op b;                                             \
  }                                                                   \
  template <class F>                                                  \
  METAL_FUNC constexpr bool operator op(float a, Float16<F> b) {      \
    return a op float(b);                                             \
  }
METAL_SIMULATOR_COMPARISON(==)
METAL_SIMULATOR_COMPARISON(!=)
METAL_SIMULATOR_COMPARISON(<)
METAL_SIMULATOR_COMPARISON(>)
METAL_SIMULATOR_COMPARISON(<=)
METAL_SIMULATOR_COMPARISON(>=)
#undef METAL_SIMULATOR_COMPARISON

}  // namespace metal_simulator

typedef metal_simulator::Float16<metal_simulator::HalfFormat> half;
typedef metal_simulator::Float16<metal_simulator::BfloatFormat> bfloat;
