// The rows for complex64. Computed in complex128 and rounded once: squares of floats neither overflow nor
// vanish there, so multiplication, division and absolute value need no scaling. Functions are vector code
// (vmath_complex.h); infinities, nan and large angles, and inverse functions, are the C library's.
#pragma once

#include "mlx/cpu/isa/values.h"
#include "mlx/cpu/isa/vmath_complex.h"

namespace mlx::core::cpu::MLX_ISA {

// clang-format off: a row is a line

inline c128 widen(c64 z) { return {z.re, z.im}; }
inline c64 narrow(c128 z) { return {static_cast<float>(z.re), static_cast<float>(z.im)}; }
// nan where b is zero or infinite, or a is: for those, quotient.
inline c128 operator/(c128 a, c128 b) {
  const double scale = b.re * b.re + b.im * b.im;
  return {(a.re * b.re + a.im * b.im) / scale, (a.im * b.re - a.re * b.im) / scale};
}
// The same with one division and one more rounding, of doubles.
inline c128 ratio(c128 a, c128 b) { return a * conjugate(b) * (1.0 / (b.re * b.re + b.im * b.im)); }

inline c128 direction(c128 z) {
  return {__builtin_copysign(abs(z.re) == inf_d ? 1.0 : 0.0, z.re),
          __builtin_copysign(abs(z.im) == inf_d ? 1.0 : 0.0, z.im)};
}
inline bool is_finite(c128 z) { return (abs(z.re) < inf_d) & (abs(z.im) < inf_d); }
inline bool is_infinite(c128 z) { return (abs(z.re) == inf_d) | (abs(z.im) == inf_d); }
// a / b as C's Annex G has it: where the quotient is nan in both parts, a divisor of zero, an infinite dividend
// and an infinite divisor count by their direction.
inline c128 quotient(c128 a, c128 b) {
  const c128 q = a / b;
  if (q.re == q.re || q.im == q.im) return q;
  if (b.re == 0 && b.im == 0) return a * __builtin_copysign(inf_d, b.re);
  if (is_infinite(a) && is_finite(b)) return direction(a) * conjugate(b) * inf_d;
  if (is_finite(a) && is_infinite(b)) return a * conjugate(direction(b)) * 0.0;
  return q;
}

using Complex = _Complex double;
inline Complex to_c(c128 z) {
  Complex r;
  __real__ r = z.re;
  __imag__ r = z.im;
  return r;
}
inline c128 from_c(Complex z) { return {__real__ z, __imag__ z}; }
inline c128 log(c128 z) { return from_c(__builtin_clog(to_c(z))); }
inline c128 exp(c128 z) { return from_c(__builtin_cexp(to_c(z))); }
inline c128 sqrt(c128 z) { return from_c(__builtin_csqrt(to_c(z))); }
inline c128 log1p(c128 z) {
  // |1 + z|^2 - 1, without losing a small z
  const double excess = z.re * (2 + z.re) + z.im * z.im;
  const double re =
      excess > -0.5 ? 0.5 * __builtin_log1p(excess) : __builtin_log(__builtin_hypot(1 + z.re, z.im));
  return {re, __builtin_atan2(z.im, 1 + z.re)};
}

inline bool is_nan(c64 z) { return (z.re != z.re) | (z.im != z.im); }
inline bool is_finite(c64 z) { return (abs(z.re) < inf_f) & (abs(z.im) < inf_f); }
inline bool is_nonzero(c64 z) { return (z.re != 0) | (z.im != 0); }
inline bool is_less(c64 a, c64 b) { return (a.re < b.re) | ((a.re == b.re) & (a.im < b.im)); }

// --- arithmetic ---

inline float value(row::Abs, c64 z) {
  const c128 w = widen(z);
  const double y = sqrt(w.re * w.re + w.im * w.im);
  return ((abs(z.re) == inf_f) | (abs(z.im) == inf_f)) ? inf_f : static_cast<float>(y);
}
inline c64 value(row::Negative, c64 z) { return {-z.re, -z.im}; }
inline c64 value(row::Sign, c64 z) {
  const c128 w = widen(z);
  const double size = sqrt(w.re * w.re + w.im * w.im);
  const double scale = 1.0 / (size == 0 ? 1.0 : size);
  return narrow(w * scale);
}
inline c64 value(row::Square, c64 z) { return narrow(widen(z) * widen(z)); }
inline c64 value(row::Sqrt, c64 z) { return narrow(wide::sqrt(widen(z))); }
inline c64 value(row::Rsqrt, c64 z) { return narrow(wide::rsqrt(widen(z))); }
inline c64 value(row::Reciprocal, c64 z) { return narrow(conjugate(widen(z)) * (1.0 / (double{z.re} * z.re + double{z.im} * z.im))); }
inline c64 value(row::Add, c64 a, c64 b) { return {a.re + b.re, a.im + b.im}; }
inline c64 value(row::Subtract, c64 a, c64 b) { return {a.re - b.re, a.im - b.im}; }
inline c64 value(row::Multiply, c64 a, c64 b) { return narrow(widen(a) * widen(b)); }
inline c64 value(row::Divide, c64 a, c64 b) { return narrow(ratio(widen(a), widen(b))); }
inline c64 value(row::FloorDivide, c64 a, c64 b) { return value(row::Divide{}, a, b); }
inline bool is_slow(row::Sqrt, c64 z) { return !is_finite(z); }
inline bool is_slow(row::Rsqrt, c64 z) { return !(is_finite(z) & is_nonzero(z)); }
inline c64 slow_value(row::Sqrt, c64 z) { return narrow(sqrt(widen(z))); }
inline c64 slow_value(row::Rsqrt, c64 z) { return narrow(quotient({1, 0}, sqrt(widen(z)))); }
inline bool is_slow(row::Reciprocal, c64 z) { return !(is_finite(z) & is_nonzero(z)); }
inline bool is_slow(row::Divide, c64 a, c64 b) { return !(is_finite(a) & is_finite(b) & is_nonzero(b)); }
inline bool is_slow(row::FloorDivide, c64 a, c64 b) { return is_slow(row::Divide{}, a, b); }
inline c64 slow_value(row::Reciprocal, c64 z) { return narrow(quotient({1, 0}, widen(z))); }
inline c64 slow_value(row::Divide, c64 a, c64 b) { return narrow(quotient(widen(a), widen(b))); }
inline c64 slow_value(row::FloorDivide, c64 a, c64 b) { return slow_value(row::Divide{}, a, b); }
inline c64 value(row::Maximum, c64 a, c64 b) { return (is_nan(a) | (!is_nan(b) & is_less(b, a))) ? a : b; }
inline c64 value(row::Minimum, c64 a, c64 b) { return (is_nan(a) | (!is_nan(b) & is_less(a, b))) ? a : b; }
inline c64 value(row::Round, c64 z) { return {rint(z.re), rint(z.im)}; }
inline c64 value(row::Conjugate, c64 z) { return {z.re, -z.im}; }
inline float value(row::Real, c64 z) { return z.re; }
inline float value(row::Imag, c64 z) { return z.im; }

// --- functions ---

inline bool is_large_angle(c64 z, float angle) { return !(is_finite(z) & (abs(angle) <= static_cast<float>(wide::kMostAngle))); }

inline c64 value(row::Exp, c64 z) { return narrow(wide::exp(widen(z))); }
inline c64 value(row::Log, c64 z) { return narrow(wide::log(widen(z))); }
inline c64 value(row::Log2, c64 z) { return narrow(wide::log(widen(z)) * 0x1.71547652b82fep+0); }
inline c64 value(row::Log10, c64 z) { return narrow(wide::log(widen(z)) * 0x1.bcb7b1526e50ep-2); }
inline c64 value(row::Log1p, c64 z) { return narrow(wide::log1p(widen(z))); }
inline c64 value(row::Sin, c64 z) { return narrow(wide::sin(widen(z))); }
inline c64 value(row::Cos, c64 z) { return narrow(wide::cos(widen(z))); }
inline c64 value(row::Tan, c64 z) { return narrow(wide::tan(widen(z))); }
inline c64 value(row::Sinh, c64 z) { return narrow(wide::sinh(widen(z))); }
inline c64 value(row::Cosh, c64 z) { return narrow(wide::cosh(widen(z))); }
inline c64 value(row::Tanh, c64 z) { return narrow(wide::tanh(widen(z))); }
inline bool is_slow(row::Exp, c64 z) { return is_large_angle(z, z.im); }
inline bool is_slow(row::Log, c64 z) { return !is_finite(z); }
inline bool is_slow(row::Log2, c64 z) { return !is_finite(z); }
inline bool is_slow(row::Log10, c64 z) { return !is_finite(z); }
inline bool is_slow(row::Log1p, c64 z) { return !is_finite(z); }
inline bool is_slow(row::Sin, c64 z) { return is_large_angle(z, z.re); }
inline bool is_slow(row::Cos, c64 z) { return is_large_angle(z, z.re); }
inline bool is_slow(row::Tan, c64 z) { return is_large_angle(z, z.re); }
inline bool is_slow(row::Sinh, c64 z) { return is_large_angle(z, z.im); }
inline bool is_slow(row::Cosh, c64 z) { return is_large_angle(z, z.im); }
inline bool is_slow(row::Tanh, c64 z) { return is_large_angle(z, z.im); }
inline c64 slow_value(row::Exp, c64 z) { return narrow(exp(widen(z))); }
inline c64 slow_value(row::Log, c64 z) { return narrow(log(widen(z))); }
inline c64 slow_value(row::Log2, c64 z) { return narrow(log(widen(z)) * 0x1.71547652b82fep+0); }
inline c64 slow_value(row::Log10, c64 z) { return narrow(log(widen(z)) * 0x1.bcb7b1526e50ep-2); }
inline c64 slow_value(row::Log1p, c64 z) { return narrow(log1p(widen(z))); }
inline c64 slow_value(row::Sin, c64 z) { return narrow(from_c(__builtin_csin(to_c(widen(z))))); }
inline c64 slow_value(row::Cos, c64 z) { return narrow(from_c(__builtin_ccos(to_c(widen(z))))); }
inline c64 slow_value(row::Tan, c64 z) { return narrow(from_c(__builtin_ctan(to_c(widen(z))))); }
inline c64 slow_value(row::Sinh, c64 z) { return narrow(from_c(__builtin_csinh(to_c(widen(z))))); }
inline c64 slow_value(row::Cosh, c64 z) { return narrow(from_c(__builtin_ccosh(to_c(widen(z))))); }
inline c64 slow_value(row::Tanh, c64 z) { return narrow(from_c(__builtin_ctanh(to_c(widen(z))))); }
inline c64 value(row::Arcsin, c64 z) { return narrow(from_c(__builtin_casin(to_c(widen(z))))); }
inline c64 value(row::Arccos, c64 z) { return narrow(from_c(__builtin_cacos(to_c(widen(z))))); }
inline c64 value(row::Arctan, c64 z) { return narrow(from_c(__builtin_catan(to_c(widen(z))))); }
inline c64 value(row::Arcsinh, c64 z) { return narrow(from_c(__builtin_casinh(to_c(widen(z))))); }
inline c64 value(row::Arccosh, c64 z) { return narrow(from_c(__builtin_cacosh(to_c(widen(z))))); }
inline c64 value(row::Arctanh, c64 z) { return narrow(from_c(__builtin_catanh(to_c(widen(z))))); }
// exp(b log a); 0^b is 0 or infinite as the real part of b is positive or negative, and 0^0 is 1.
inline c64 value(row::Power, c64 a, c64 b) { return narrow(wide::exp(wide::log(widen(a)) * widen(b))); }
// Errors of the logarithm count b times.
inline bool is_slow(row::Power, c64 a, c64 b) { return !(is_finite(a) & is_nonzero(a) & is_nonzero(b) & (abs(b.re) + abs(b.im) < 64)); }
inline c64 slow_value(row::Power, c64 a, c64 b) {
  if (!is_nonzero(b)) return {1, 0};
  if (!is_nonzero(a)) return b.re > 0 ? c64{0, 0} : c64{b.re < 0 ? inf_f : nan_f, nan_f};
  return narrow(exp(log(widen(a)) * widen(b)));
}
inline c64 value(row::LogAddExp, c64 a, c64 b) {
  const bool swap = a.re < b.re;
  const c128 larger = widen(swap ? b : a), smaller = widen(swap ? a : b);
  return narrow(larger + log1p(exp(smaller - larger)));
}

// --- questions and logic ---

inline bool value(row::IsNan, c64 z) { return is_nan(z); }
inline bool value(row::IsInf, c64 z) { return (abs(z.re) == inf_f) | (abs(z.im) == inf_f); }
inline bool value(row::IsFinite, c64 z) { return is_finite(z); }
inline bool value(row::IsPosInf, c64 z) { return (z.re == inf_f) & (z.im == 0); }
inline bool value(row::IsNegInf, c64 z) { return (z.re == -inf_f) & (z.im == 0); }
inline bool value(row::Equal, c64 a, c64 b) { return (a.re == b.re) & (a.im == b.im); }
inline bool value(row::NanEqual, c64 a, c64 b) { return value(row::Equal{}, a, b) | (is_nan(a) & is_nan(b)); }
inline bool value(row::Less, c64 a, c64 b) { return is_less(a, b); }
inline bool value(row::Greater, c64 a, c64 b) { return is_less(b, a); }
inline bool value(row::LessEqual, c64 a, c64 b) { return (a.re < b.re) | ((a.re == b.re) & (a.im <= b.im)); }
inline bool value(row::GreaterEqual, c64 a, c64 b) { return (a.re > b.re) | ((a.re == b.re) & (a.im >= b.im)); }
inline bool value(row::LogicalNot, c64 z) { return !is_nonzero(z); }
inline bool value(row::LogicalAnd, c64 a, c64 b) { return is_nonzero(a) & is_nonzero(b); }
inline bool value(row::LogicalOr, c64 a, c64 b) { return is_nonzero(a) | is_nonzero(b); }
inline bool value(row::LogicalXor, c64 a, c64 b) { return is_nonzero(a) != is_nonzero(b); }

// clang-format on

}  // namespace mlx::core::cpu::MLX_ISA
