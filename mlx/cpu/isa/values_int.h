// The rows for integers and bool. Nothing traps: dividing by zero gives 0, the remainder by zero is the
// dividend.
#pragma once

#include <type_traits>

#include "mlx/cpu/isa/values.h"
#include "mlx/cpu/isa/vmath.h"

namespace mlx::core::cpu::MLX_ISA {

// clang-format off: a row is a line

// The unsigned type that arithmetic is done in: at least 32 bits, so that promotion to int cannot overflow.
template <Int T>
using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <Int T>
inline constexpr bool is_signed = T(-1) < T(0);

template <Int T> T value(row::Negative, T x) { return static_cast<T>(Wrapping<T>(0) - static_cast<Wrapping<T>>(x)); }
template <Int T> T value(row::Abs, T x) { return x < T(0) ? value(row::Negative{}, x) : x; }
template <Int T> T value(row::Sign, T x) { return static_cast<T>((x > T(0)) - (x < T(0))); }
template <Int T>
T value(row::Add, T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
}
template <Int T>
T value(row::Subtract, T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
}
template <Int T>
T value(row::Multiply, T a, T b) {
  return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
}
template <Int T> T value(row::Square, T x) { return value(row::Multiply{}, x, x); }

// Quotients go through floats that are wide enough to be exact after truncation, since no set divides
// integers.
template <Int T>
T truncated_quotient(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    if constexpr (is_signed<T>) {
      if (b == T(-1)) return value(row::Negative{}, a);
    }
    return b == 0 ? T(0) : static_cast<T>(a / b);
  } else {
    using F = std::conditional_t<sizeof(T) == 4, double, float>;
    using I = std::conditional_t<sizeof(T) == 4, int64_t, int32_t>;
    const T divisor = b == 0 ? T(1) : b;
    const F quotient = trunc(static_cast<F>(a) / static_cast<F>(divisor));
    T q;
    if constexpr (sizeof(T) == 4) {
      // |quotient| <= 2^32: the low bits of the sum are the integer in two's complement.
      q = static_cast<T>(static_cast<uint32_t>(bits_of(quotient + rounder_d)));
    } else {
      q = static_cast<T>(static_cast<I>(quotient));
    }
    return b == 0 ? T(0) : q;
  }
}
template <Int T>
T value(row::Remainder, T a, T b) {
  const T r = value(row::Subtract{}, a, value(row::Multiply{}, truncated_quotient(a, b), b));
  if constexpr (!is_signed<T>) return r;
  const T moved = value(row::Add{}, r, b);
  return ((r != 0) & (b != 0) & ((r < T(0)) != (b < T(0)))) ? moved : r;
}
template <Int T>
T value(row::FloorDivide, T a, T b) {
  const T q = truncated_quotient(a, b);
  if constexpr (!is_signed<T>) return q;
  const T r = value(row::Subtract{}, a, value(row::Multiply{}, q, b));
  const T below = value(row::Subtract{}, q, T(1));
  return ((r != 0) & (b != 0) & ((r < T(0)) != (b < T(0)))) ? below : q;
}
template <Int T>
T value(row::Power, T a, T b) {
  if (b < T(0)) return 0;
  Wrapping<T> result = 1, factor = static_cast<Wrapping<T>>(a);
  for (auto e = static_cast<Wrapping<T>>(b); e != 0; e >>= 1) {
    if (e & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

template <Int T> T value(row::Floor, T x) { return x; }
template <Int T> T value(row::Ceil, T x) { return x; }
template <Int T> T value(row::Round, T x) { return x; }
template <Int T> T value(row::Trunc, T x) { return x; }
template <Int T> bool value(row::IsNan, T) { return false; }
template <Int T> bool value(row::IsInf, T) { return false; }
template <Int T> bool value(row::IsFinite, T) { return true; }
template <Int T> bool value(row::IsPosInf, T) { return false; }
template <Int T> bool value(row::IsNegInf, T) { return false; }
template <Int T> bool value(row::NanEqual, T a, T b) { return a == b; }

template <Int T> T value(row::BitwiseInvert, T x) { return static_cast<T>(~x); }
template <Int T> T value(row::BitwiseAnd, T a, T b) { return static_cast<T>(a & b); }
template <Int T> T value(row::BitwiseOr, T a, T b) { return static_cast<T>(a | b); }
template <Int T> T value(row::BitwiseXor, T a, T b) { return static_cast<T>(a ^ b); }
template <Int T>
T value(row::LeftShift, T a, T b) {
  const auto count = static_cast<Wrapping<T>>(b) & (8 * sizeof(Wrapping<T>) - 1);
  return static_cast<T>(static_cast<Wrapping<T>>(a) << count);
}
template <Int T>
T value(row::RightShift, T a, T b) {
  using Wide =
      std::conditional_t<is_signed<T>, std::conditional_t<sizeof(T) == 8, int64_t, int32_t>, Wrapping<T>>;
  const auto count = static_cast<Wrapping<T>>(b) & (8 * sizeof(Wide) - 1);
  return static_cast<T>(static_cast<Wide>(a) >> count);
}

// --- bool: arithmetic is logic ---

constexpr b8 make_bool(int x) { return {static_cast<uint8_t>(x)}; }
inline b8 value(row::Abs, b8 x) { return x; }
inline b8 value(row::Sign, b8 x) { return x; }
inline b8 value(row::Square, b8 x) { return x; }
inline b8 value(row::Floor, b8 x) { return x; }
inline b8 value(row::Ceil, b8 x) { return x; }
inline b8 value(row::Round, b8 x) { return x; }
inline b8 value(row::Trunc, b8 x) { return x; }
inline b8 value(row::Conjugate, b8 x) { return x; }
inline b8 value(row::Real, b8 x) { return x; }
inline b8 value(row::Imag, b8) { return {0}; }
inline b8 value(row::BitwiseInvert, b8 x) { return make_bool(x.value ^ 1); }
inline bool value(row::LogicalNot, b8 x) { return x.value == 0; }
inline bool value(row::IsNan, b8) { return false; }
inline bool value(row::IsInf, b8) { return false; }
inline bool value(row::IsFinite, b8) { return true; }
inline bool value(row::IsPosInf, b8) { return false; }
inline bool value(row::IsNegInf, b8) { return false; }
inline b8 value(row::Add, b8 a, b8 b) { return make_bool(a.value | b.value); }
inline b8 value(row::Subtract, b8 a, b8 b) { return make_bool(a.value ^ b.value); }
inline b8 value(row::Multiply, b8 a, b8 b) { return make_bool(a.value & b.value); }
inline b8 value(row::FloorDivide, b8 a, b8 b) { return make_bool(a.value & b.value); }
inline b8 value(row::Remainder, b8 a, b8 b) { return make_bool(a.value & (b.value ^ 1)); }
inline b8 value(row::Power, b8 a, b8 b) { return make_bool(a.value | (b.value ^ 1)); }
inline b8 value(row::Maximum, b8 a, b8 b) { return make_bool(a.value | b.value); }
inline b8 value(row::Minimum, b8 a, b8 b) { return make_bool(a.value & b.value); }
inline b8 value(row::BitwiseAnd, b8 a, b8 b) { return make_bool(a.value & b.value); }
inline b8 value(row::BitwiseOr, b8 a, b8 b) { return make_bool(a.value | b.value); }
inline b8 value(row::BitwiseXor, b8 a, b8 b) { return make_bool(a.value ^ b.value); }
inline bool value(row::Equal, b8 a, b8 b) { return a.value == b.value; }
inline bool value(row::NanEqual, b8 a, b8 b) { return a.value == b.value; }
inline bool value(row::Less, b8 a, b8 b) { return a.value < b.value; }
inline bool value(row::LessEqual, b8 a, b8 b) { return a.value <= b.value; }
inline bool value(row::Greater, b8 a, b8 b) { return a.value > b.value; }
inline bool value(row::GreaterEqual, b8 a, b8 b) { return a.value >= b.value; }
inline bool value(row::LogicalAnd, b8 a, b8 b) { return (a.value & b.value) != 0; }
inline bool value(row::LogicalOr, b8 a, b8 b) { return (a.value | b.value) != 0; }
inline bool value(row::LogicalXor, b8 a, b8 b) { return a.value != b.value; }

// clang-format on

}  // namespace mlx::core::cpu::MLX_ISA
