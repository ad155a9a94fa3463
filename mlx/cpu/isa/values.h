// What each row of the element-wise table computes, per element: `value(Row, operands...)`, overloaded by
// kind of type. Predicates return bool. The types of the elements: bool is b8, complex64 is c64, the others
// are the C++ ones; float16 and bfloat16 appear only where a row cannot go through float32.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa/half.h"
#include "mlx/graph/elementwise.h"

namespace mlx::core::cpu::MLX_ISA {

// clang-format off: a row is a line

namespace row = elementwise;

struct b8 {
  uint8_t value;  // 0 or 1
};
struct c64 {
  float re, im;
};

template <class T>
concept Real = __is_same(T, float) || __is_same(T, double);
template <class T>
concept Half = __is_same(T, f16) || __is_same(T, bf16);
template <class T>
inline constexpr bool is_integer = false;
template <>
inline constexpr bool is_integer<uint8_t> = true;
template <>
inline constexpr bool is_integer<uint16_t> = true;
template <>
inline constexpr bool is_integer<uint32_t> = true;
template <>
inline constexpr bool is_integer<uint64_t> = true;
template <>
inline constexpr bool is_integer<int8_t> = true;
template <>
inline constexpr bool is_integer<int16_t> = true;
template <>
inline constexpr bool is_integer<int32_t> = true;
template <>
inline constexpr bool is_integer<int64_t> = true;
template <class T>
concept Int = is_integer<T>;
template <class T>
concept Plain = Real<T> || Int<T>;

template <class T>
inline constexpr Dtype::Val val_of = Dtype::Val::bool_;
template <>
inline constexpr Dtype::Val val_of<uint8_t> = Dtype::Val::uint8;
template <>
inline constexpr Dtype::Val val_of<uint16_t> = Dtype::Val::uint16;
template <>
inline constexpr Dtype::Val val_of<uint32_t> = Dtype::Val::uint32;
template <>
inline constexpr Dtype::Val val_of<uint64_t> = Dtype::Val::uint64;
template <>
inline constexpr Dtype::Val val_of<int8_t> = Dtype::Val::int8;
template <>
inline constexpr Dtype::Val val_of<int16_t> = Dtype::Val::int16;
template <>
inline constexpr Dtype::Val val_of<int32_t> = Dtype::Val::int32;
template <>
inline constexpr Dtype::Val val_of<int64_t> = Dtype::Val::int64;
template <>
inline constexpr Dtype::Val val_of<f16> = Dtype::Val::float16;
template <>
inline constexpr Dtype::Val val_of<bf16> = Dtype::Val::bfloat16;
template <>
inline constexpr Dtype::Val val_of<float> = Dtype::Val::float32;
template <>
inline constexpr Dtype::Val val_of<double> = Dtype::Val::float64;
template <>
inline constexpr Dtype::Val val_of<c64> = Dtype::Val::complex64;

// --- numbers: comparisons, logic, extremes ---

template <Plain T> bool value(row::Equal, T a, T b) { return a == b; }
template <Plain T> bool value(row::Less, T a, T b) { return a < b; }
template <Plain T> bool value(row::LessEqual, T a, T b) { return a <= b; }
template <Plain T> bool value(row::Greater, T a, T b) { return a > b; }
template <Plain T> bool value(row::GreaterEqual, T a, T b) { return a >= b; }
template <Plain T> bool value(row::LogicalNot, T x) { return x == 0; }
template <Plain T> bool value(row::LogicalAnd, T a, T b) { return (a != 0) & (b != 0); }
template <Plain T> bool value(row::LogicalOr, T a, T b) { return (a != 0) | (b != 0); }
template <Plain T> bool value(row::LogicalXor, T a, T b) { return (a != 0) != (b != 0); }
template <Plain T> T value(row::Conjugate, T x) { return x; }
template <Plain T> T value(row::Real, T x) { return x; }
template <Plain T> T value(row::Imag, T) { return 0; }
template <Plain T>
T value(row::Maximum, T a, T b) {
  const T larger = a > b ? a : b;  // b if it is a nan
  return a != a ? a : larger;
}
template <Plain T>
T value(row::Minimum, T a, T b) {
  const T smaller = a < b ? a : b;
  return a != a ? a : smaller;
}

// --- what all types have in common ---

template <class T> T value(row::Select, b8 c, T a, T b) { return c.value != 0 ? a : b; }
template <class T> bool value(row::NotEqual, T a, T b) { return !value(row::Equal{}, a, b); }
template <class T>
T value(row::Clip, T x, T lo, T hi) {
  return value(row::Minimum{}, value(row::Maximum{}, x, lo), hi);
}
// The same with fewer questions: both extremes give their second operand where one is a nan.
template <Plain T>
T value(row::Clip, T x, T lo, T hi) {
  const T raised = x > lo ? x : lo;
  const T within = raised < hi ? raised : hi;
  const T checked = lo != lo ? lo : within;
  return x != x ? x : checked;
}

// clang-format on

}  // namespace mlx::core::cpu::MLX_ISA
