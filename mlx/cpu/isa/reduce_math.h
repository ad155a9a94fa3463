// exp and log of vector registers, for the kernels that keep their values in registers (softmax, log-sum-exp,
// scans). Bounds over the whole range, denormal results and inputs, infinities and nan included: exp 1.5 ulp
// for float (2 where the set has no FMA) and 2 ulp for double; log 2 ulp for float.
#pragma once

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA::rows {

// y * 2^n for |n| <= 300 (float) or 2200 (double): in two factors, so that results may be denormal or
// overflow.
inline F scaled(F y, F n) {
#if MLX_ISA_LEVEL >= 4
  return (F)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
  const FMask k = (FMask)(n + 0x1.8p23f) - 0x4b400000;  // n is an integer: its lowest bits, two's complement
  const FMask half = k >> 1;
  return y * (F)((half + 127) << 23) * (F)((k - half + 127) << 23);
#endif
}
inline D scaled(D y, D n) {
#if MLX_ISA_LEVEL >= 4
  return (D)_mm512_scalef_pd((__m512d)y, (__m512d)n);
#else
  const DMask k = (DMask)(n + 0x1.8p52) - 0x4338000000000000;
  // There is no 64-bit arithmetic shift below AVX-512: halve the double instead.
  const D half_d = (n * 0.5 + 0x1.8p52) - 0x1.8p52;
  const DMask half = (DMask)(half_d + 0x1.8p52) - 0x4338000000000000;
  return y * (D)((half + 1023) << 52) * (D)((k - half + 1023) << 52);
#endif
}

// Cody-Waite reduction by ln 2 and the polynomial of Cephes' expf (S. L. Moshier). Masked scores are far
// below what has an exponential: it is 0 times a power of two then, since scaling something to less than the
// smallest number takes a thousand cycles.
inline F vexp(F x) {
  const FMask gone = x < -104.0f;
  x = gone ? splat<F>(-104.0f) : x;
  x = x > 100.0f ? splat<F>(100.0f) : x;
  const F n = (x * 1.44269504f + 0x1.8p23f) - 0x1.8p23f;
  F r = fma(n, splat<F>(-0.693359375f), x);
  r = fma(n, splat<F>(2.12194440e-4f), r);
  F p = splat<F>(1.9875691500e-4f);
  p = fma(p, r, splat<F>(1.3981999507e-3f));
  p = fma(p, r, splat<F>(8.3334519073e-3f));
  p = fma(p, r, splat<F>(4.1665795894e-2f));
  p = fma(p, r, splat<F>(1.6666665459e-1f));
  p = fma(p, r, splat<F>(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
  return scaled(gone ? F{} : p, n);
}
// The same reduction and the Taylor polynomial of degree 13: its remainder at ln 2 / 2 is 4e-18.
inline D vexp(D x) {
  const DMask gone = x < -746.0;
  x = gone ? splat<D>(-746.0) : x;
  x = x > 720.0 ? splat<D>(720.0) : x;
  const D n = (x * 1.4426950408889634 + 0x1.8p52) - 0x1.8p52;
  D r = fma(n, splat<D>(-0x1.62e42fee00000p-1), x);
  r = fma(n, splat<D>(-0x1.a39ef35793c76p-33), r);
  constexpr double inverse_factorials[] = {
      1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5};
  D p = splat<D>(1.0 / 6227020800);
  for (double c : inverse_factorials) p = fma(p, r, splat<D>(c));
  p = fma(p, r * r, r) + 1.0;
  return scaled(gone ? D{} : p, n);
}

// Of x >= 0: mantissa in [sqrt(1/2), sqrt(2)), polynomial of Cephes' logf.
inline F vlog(F x) {
  const F scaled_up = x < 0x1p-126f ? x * 0x1p24f : x;
  const F offset = x < 0x1p-126f ? splat<F>(-24.0f) : F{};
  const FMask u = (FMask)scaled_up - 0x3f3504f3;
  const FMask e = u >> 23;
  const F m = (F)((u & 0x7fffff) + 0x3f3504f3) - 1.0f;
  const F k = (F)(e + 0x4b400000) - 0x1.8p23f + offset;  // e as a float
  F p = splat<F>(7.0376836292e-2f);
  p = fma(p, m, splat<F>(-1.1514610310e-1f));
  p = fma(p, m, splat<F>(1.1676998740e-1f));
  p = fma(p, m, splat<F>(-1.2420140846e-1f));
  p = fma(p, m, splat<F>(1.4249322787e-1f));
  p = fma(p, m, splat<F>(-1.6668057665e-1f));
  p = fma(p, m, splat<F>(2.0000714765e-1f));
  p = fma(p, m, splat<F>(-2.4999993993e-1f));
  p = fma(p, m, splat<F>(3.3333331174e-1f));
  const F square = m * m;
  F y = p * square * m;
  y = fma(k, splat<F>(-2.12194440e-4f), y);
  y = fma(square, splat<F>(-0.5f), y);
  y = fma(k, splat<F>(0.693359375f), m + y);
  y = x == 0.0f ? splat<F>(-__builtin_inff()) : y;
  return ((x == __builtin_inff()) | (x != x)) ? x : y;
}

// x[i] = exp(x[i]), x[i] = log(x[i]).
inline void exp_run(float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kF <= n; i += kF) storeu(x + i, vexp(loadu<F>(x + i)));
  if (i < n) store_part(x + i, n - i, vexp(load_part(x + i, n - i, 0.0f)));
}
inline void exp_run(double* x, int64_t n) {
  int64_t i = 0;
  for (; i + kD <= n; i += kD) storeu(x + i, vexp(loadu<D>(x + i)));
  if (i < n) store_part(x + i, n - i, vexp(load_part(x + i, n - i, 0.0)));
}
inline void log_run(float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kF <= n; i += kF) storeu(x + i, vlog(loadu<F>(x + i)));
  if (i < n) store_part(x + i, n - i, vlog(load_part(x + i, n - i, 1.0f)));
}
inline void log_run(double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = __builtin_log(x[i]);
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
