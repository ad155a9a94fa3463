// The rows for float32 and float64.
#pragma once

#include "mlx/cpu/isa/values.h"
#include "mlx/cpu/isa/vmath_double.h"
#include "mlx/cpu/isa/vmath_float.h"
#include "mlx/cpu/isa/vmath_gamma.h"
#include "mlx/cpu/isa/vmath_special.h"
#include "mlx/cpu/isa/vmath_wide.h"

namespace mlx::core::cpu::MLX_ISA {

// clang-format off: a row is a line

// --- arithmetic ---

template <Real T> T value(row::Abs, T x) { return abs(x); }
template <Real T> T value(row::Negative, T x) { return -x; }
template <Real T> T value(row::Sign, T x) { return static_cast<T>((x > 0 ? T(1) : T(0)) - (x < 0 ? T(1) : T(0))); }
template <Real T> T value(row::Square, T x) { return x * x; }
template <Real T> T value(row::Sqrt, T x) { return sqrt(x); }
template <Real T> T value(row::Rsqrt, T x) { return T(1) / sqrt(x); }
template <Real T> T value(row::Reciprocal, T x) { return T(1) / x; }
template <Real T> T value(row::LeakyRelu, T x, T slope) { return x < 0 ? x * slope : x; }
template <Real T>
T limited(T x, T least, T most) {
  const T raised = x > least ? x : least;
  return raised < most ? raised : most;
}
template <Real T>
T value(row::Huber, T x, T delta) {
  const T near = limited(x, -delta, delta);
  return near * (x - T(0.5) * near);
}
template <Real T> T value(row::HardShrink, T x, T limit) { return abs(x) <= limit ? T(0) : x; }
template <Real T> T value(row::SoftShrink, T x, T limit) { return x - limited(x, -limit, limit); }
template <Real T> T value(row::NanToNum, T x, T other, T largest) {
  const T within = limited(x, -largest, largest);
  return x != x ? other : within;
}
template <Real T> T value(row::Hardswish, T x) { return x * (limited(x + T(3), T(0), T(6)) * T(1.0 / 6)); }
template <Real T> T value(row::Floor, T x) { return floor(x); }
template <Real T> T value(row::Ceil, T x) { return ceil(x); }
template <Real T> T value(row::Round, T x) { return rint(x); }
template <Real T> T value(row::Trunc, T x) { return trunc(x); }
template <Real T> T value(row::Add, T a, T b) { return a + b; }
template <Real T> T value(row::Subtract, T a, T b) { return a - b; }
template <Real T> T value(row::Multiply, T a, T b) { return a * b; }
template <Real T> T value(row::Divide, T a, T b) { return a / b; }
template <Real T> T value(row::FloorDivide, T a, T b) { return floor(a / b); }
template <Real T> T value(row::Copysign, T a, T b) { return copysign(a, b); }

// --- questions ---

template <Real T> bool value(row::IsNan, T x) { return x != x; }
template <Real T> bool value(row::IsInf, T x) { return abs(x) == static_cast<T>(inf_d); }
template <Real T> bool value(row::IsFinite, T x) { return abs(x) < static_cast<T>(inf_d); }
template <Real T> bool value(row::IsPosInf, T x) { return x == static_cast<T>(inf_d); }
template <Real T> bool value(row::IsNegInf, T x) { return x == -static_cast<T>(inf_d); }
template <Real T> bool value(row::NanEqual, T a, T b) { return (a == b) | ((a != a) & (b != b)); }

// --- neighbours ---

// U: the unsigned integer of x's width. The bits of a float are sign and magnitude, in order.
template <class U>
U next_bits(U a, U b, bool equal, bool a_is_less, bool a_is_zero) {
  const U sign = static_cast<U>(U(1) << (8 * sizeof(U) - 1));
  const bool negative = (a & sign) != 0;
  const U away = static_cast<U>(a + 1), toward = static_cast<U>(a - 1);
  const U step = a_is_less != negative ? away : toward;
  const U from_zero = static_cast<U>((b & sign) | 1);
  const U moved = a_is_zero ? from_zero : step;
  return equal ? b : moved;
}
inline float value(row::Nextafter, float a, float b) {
  const float y = of_bits(next_bits(bits_of(a), bits_of(b), a == b, a < b, a == 0));
  return ((a != a) | (b != b)) ? a + b : y;
}
inline double value(row::Nextafter, double a, double b) {
  const double y = of_bits(next_bits(bits_of(a), bits_of(b), a == b, a < b, a == 0));
  return ((a != a) | (b != b)) ? a + b : y;
}
template <Half T>
T value(row::Nextafter, T a, T b) {
  const float x = to_float(a), y = to_float(b);
  const uint16_t moved = next_bits(a.bits, b.bits, x == y, x < y, x == 0);
  const uint16_t nan = from_float<T>(x + y).bits;
  return {((x != x) | (y != y)) ? nan : moved};
}

// --- remainder with the sign of the divisor ---

// The remainder r of a truncated division, moved to the divisor's side.
template <Real T>
T to_sign_of(T r, T b) {
  const T moved = r + b;
  return ((r != 0) & ((r < 0) != (b < 0))) ? moved : r;
}
// In float64 the quotient, and so the remainder, is exact while |a / b| < 2^26.
inline float value(row::Remainder, float a, float b) {
  const double x = a, y = b;
  const double r = x - trunc(x / y) * y;
  const double finite = abs(y) == inf_d ? x : r;
  const float truncated = copysign(static_cast<float>(abs(x) == inf_d ? nan_d : finite), a);
  return to_sign_of(truncated, b);
}
inline bool is_slow(row::Remainder, float a, float b) {
  return (abs(a) > 0x1p25f * abs(b)) & (abs(b) > 0) & (abs(a) < inf_f);
}
inline float slow_value(row::Remainder, float a, float b) { return to_sign_of(__builtin_fmodf(a, b), b); }
inline double value(row::Remainder, double a, double b) { return to_sign_of(__builtin_fmod(a, b), b); }

// --- functions of float32 ---

inline float value(row::Exp, float x) { return exp(x); }
inline float value(row::Expm1, float x) { return expm1(x); }
inline float value(row::Log, float x) { return log(x); }
inline float value(row::Log2, float x) { return log2(x); }
inline float value(row::Log10, float x) { return log10(x); }
inline float value(row::Log1p, float x) { return log1p(x); }
inline float value(row::Sin, float x) { return sin(x); }
inline float value(row::Cos, float x) { return cos(x); }
inline float value(row::Tan, float x) { return static_cast<float>(wide::tan(x)); }
inline float value(row::Sinh, float x) { return sinh(x); }
inline float value(row::Cosh, float x) { return cosh(x); }
inline float value(row::Tanh, float x) { return tanh(x); }
inline float value(row::Arcsin, float x) { return arcsin(x); }
inline float value(row::Arccos, float x) { return arccos(x); }
inline float value(row::Arctan, float x) { return static_cast<float>(wide::arctan(x)); }
inline float value(row::Arcsinh, float x) { return static_cast<float>(wide::arcsinh(x)); }
inline float value(row::Arccosh, float x) { return static_cast<float>(wide::arccosh(x)); }
inline float value(row::Arctanh, float x) { return static_cast<float>(wide::arctanh(x)); }
inline float value(row::Sigmoid, float x) { return sigmoid(x); }
inline float value(row::Erf, float x) { return erf(x); }
inline float value(row::Gelu, float x) {
  const float half = 0.5f * x;
  return fma(half, erf(x * 0.707106781f), half);
}
inline float value(row::Erfc, float x) { return static_cast<float>(wide::erfc(x)); }
inline float value(row::Erfinv, float x) { return static_cast<float>(wide::erfinv(x)); }
inline float value(row::Lgamma, float x) { return static_cast<float>(wide::lgamma(x)); }
inline float value(row::Digamma, float x) { return static_cast<float>(wide::digamma(x)); }
inline float value(row::Power, float a, float b) { return static_cast<float>(wide::power(a, b)); }
inline float value(row::LogAddExp, float a, float b) { return logaddexp(a, b); }
inline bool is_slow(row::LogAddExp, float a, float b) { return may_cancel(a, b); }
inline float slow_value(row::LogAddExp, float a, float b) { return static_cast<float>(wide::logaddexp(a, b)); }
inline float value(row::Arctan2, float a, float b) { return static_cast<float>(wide::arctan2(a, b)); }
inline float value(row::Hypot, float a, float b) { return hypot(a, b); }
inline float value(row::Polygamma, float n, float x) { return static_cast<float>(special::polygamma(n, x)); }

// Angles too large for the fast reduction: rare, so one at a time by the C library.
inline bool is_slow(row::Sin, float x) { return is_large_angle(x); }
inline bool is_slow(row::Cos, float x) { return is_large_angle(x); }
inline bool is_slow(row::Tan, float x) { return is_large_angle(x); }
inline float slow_value(row::Sin, float x) { return static_cast<float>(__builtin_sin(x)); }
inline float slow_value(row::Cos, float x) { return static_cast<float>(__builtin_cos(x)); }
inline float slow_value(row::Tan, float x) { return static_cast<float>(__builtin_tan(x)); }

// Negative numbers, between poles.
inline bool is_slow(row::Lgamma, float x) { return x < 0; }
inline bool is_slow(row::Digamma, float x) { return x < 0; }
inline float slow_value(row::Lgamma, float x) { return static_cast<float>(special::log_gamma(x)); }
inline float slow_value(row::Digamma, float x) { return static_cast<float>(special::digamma(x)); }

// --- functions of float64 ---

inline double value(row::Exp, double x) { return exp(x); }
inline double value(row::Expm1, double x) { return expm1(x); }
inline double value(row::Log, double x) { return log(x); }
inline double value(row::Log2, double x) { return __builtin_log2(x); }
inline double value(row::Log10, double x) { return __builtin_log10(x); }
inline double value(row::Log1p, double x) { return __builtin_log1p(x); }
#if MLX_ISA_LEVEL == 2
inline double value(row::Sin, double x) { return __builtin_sin(x); }
inline double value(row::Cos, double x) { return __builtin_cos(x); }
#else
inline double value(row::Sin, double x) { return sin(x); }
inline double value(row::Cos, double x) { return cos(x); }
inline bool is_slow(row::Sin, double x) { return is_large_angle(x); }
inline bool is_slow(row::Cos, double x) { return is_large_angle(x); }
inline double slow_value(row::Sin, double x) { return __builtin_sin(x); }
inline double slow_value(row::Cos, double x) { return __builtin_cos(x); }
#endif
inline double value(row::Tan, double x) { return __builtin_tan(x); }
inline double value(row::Sinh, double x) { return __builtin_sinh(x); }
inline double value(row::Cosh, double x) { return __builtin_cosh(x); }
inline double value(row::Tanh, double x) { return tanh(x); }
inline double value(row::Arcsin, double x) { return __builtin_asin(x); }
inline double value(row::Arccos, double x) { return __builtin_acos(x); }
inline double value(row::Arctan, double x) { return __builtin_atan(x); }
inline double value(row::Arcsinh, double x) { return __builtin_asinh(x); }
inline double value(row::Arccosh, double x) { return __builtin_acosh(x); }
inline double value(row::Arctanh, double x) { return __builtin_atanh(x); }
inline double value(row::Sigmoid, double x) { return sigmoid(x); }
inline double value(row::Erf, double x) { return __builtin_erf(x); }
inline double value(row::Gelu, double x) { return 0.5 * x * __builtin_erfc(x * -0.7071067811865476); }
inline double value(row::Erfc, double x) { return __builtin_erfc(x); }
inline double value(row::Erfinv, double x) { return special::erfinv(x); }
inline double value(row::Lgamma, double x) { return special::log_gamma(x); }
inline double value(row::Digamma, double x) { return special::digamma(x); }
inline double value(row::Power, double a, double b) { return __builtin_pow(a, b); }
inline double value(row::LogAddExp, double a, double b) {
  if (a == b) return a + 0x1.62e42fefa39efp-1;
  return (a != a || b != b) ? a + b : (a > b ? a : b) + __builtin_log1p(__builtin_exp(-abs(a - b)));
}
inline double value(row::Arctan2, double a, double b) { return __builtin_atan2(a, b); }
inline double value(row::Hypot, double a, double b) { return __builtin_hypot(a, b); }
inline double value(row::Polygamma, double n, double x) { return special::polygamma(n, x); }

// clang-format on

}  // namespace mlx::core::cpu::MLX_ISA
