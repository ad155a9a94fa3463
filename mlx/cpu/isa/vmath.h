// Building blocks of vector mathematics. Everything is scalar code on purpose: branch-free, so that loops
// over it vectorise for every instruction set from one source. Rules that keep it so: compute both sides,
// then select; change between floats and integers of the same width by their bits; no tables; no calls.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa/half.h"

#if defined(__clang__)
// Truth values are joined by & and | on purpose: && and || would branch.
#pragma clang diagnostic ignored "-Wbitwise-instead-of-logical"
#endif

namespace mlx::core::cpu::MLX_ISA {

// a * b + c, rounded once where the set has the instruction.
inline float fma(float a, float b, float c) {
#if MLX_ISA_LEVEL == 2
  return a * b + c;
#else
  return __builtin_fmaf(a, b, c);
#endif
}
inline double fma(double a, double b, double c) {
#if MLX_ISA_LEVEL == 2
  return a * b + c;
#else
  return __builtin_fma(a, b, c);
#endif
}

inline uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
inline uint64_t bits_of(double x) { return __builtin_bit_cast(uint64_t, x); }
inline float of_bits(uint32_t u) { return __builtin_bit_cast(float, u); }
inline double of_bits(uint64_t u) { return __builtin_bit_cast(double, u); }

inline float abs(float x) { return of_bits(bits_of(x) & 0x7fffffffu); }
inline double abs(double x) { return of_bits(bits_of(x) & 0x7fffffffffffffffu); }
inline float copysign(float x, float s) {
  return of_bits((bits_of(x) & 0x7fffffffu) | (bits_of(s) & 0x80000000u));
}
inline double copysign(double x, double s) {
  return of_bits((bits_of(x) & 0x7fffffffffffffffu) | (bits_of(s) & 0x8000000000000000u));
}
inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline double sqrt(double x) { return __builtin_sqrt(x); }
inline float floor(float x) { return __builtin_floorf(x); }
inline double floor(double x) { return __builtin_floor(x); }
inline float ceil(float x) { return __builtin_ceilf(x); }
inline double ceil(double x) { return __builtin_ceil(x); }
inline float rint(float x) { return __builtin_rintf(x); }
inline double rint(double x) { return __builtin_rint(x); }
inline float trunc(float x) { return __builtin_truncf(x); }
inline double trunc(double x) { return __builtin_trunc(x); }

// The limits of a range; a nan passes.
template <class T>
inline T at_least(T x, T lo) {
  return x < lo ? lo : x;
}
template <class T>
inline T at_most(T x, T hi) {
  return x > hi ? hi : x;
}

// c0 + c1 x + c2 x^2 ... by Horner's rule.
template <class T>
inline T poly(T, T c0) {
  return c0;
}
template <class T, class... Rest>
inline T poly(T x, T c0, Rest... rest) {
  return fma(x, poly(x, static_cast<T>(rest)...), c0);
}

inline constexpr float inf_f = __builtin_inff();
inline constexpr double inf_d = __builtin_inf();
inline constexpr float nan_f = __builtin_nanf("");
inline constexpr double nan_d = __builtin_nan("");

// Adding it rounds |x| < 2^22 (2^51) to a whole number, whose value is then in the low bits.
inline constexpr float rounder_f = 0x1.8p23f;
inline constexpr double rounder_d = 0x1.8p52;

}  // namespace mlx::core::cpu::MLX_ISA
