// Transforms of 2, 3, 4, 5, 7, 8, 11, 13 vectors of complex numbers, in registers.
#pragma once

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA::fourier {

using V = rows::F;
inline constexpr int kW = rows::kF;

struct Cx {
  V re, im;
};
[[gnu::always_inline]] inline Cx operator+(Cx a, Cx b) { return {a.re + b.re, a.im + b.im}; }
[[gnu::always_inline]] inline Cx operator-(Cx a, Cx b) { return {a.re - b.re, a.im - b.im}; }
[[gnu::always_inline]] inline Cx times(Cx a, V wr, V wi) {
  return {a.re * wr - a.im * wi, a.re * wi + a.im * wr};
}
[[gnu::always_inline]] inline Cx minus_i(Cx a) { return {a.im, -a.re}; }

// Taylor series after reduction to an eighth of a turn; the compiler evaluates it.
constexpr double sine_of(double x) {
  double term = x, sum = x;
  for (int k = 1; k < 16; ++k) sum += term *= -x * x / ((2 * k) * (2 * k + 1));
  return sum;
}
constexpr double kPi = 3.14159265358979323846;
constexpr double sine_of_turn(int k, int n) {  // sin(2 pi k / n)
  k %= n;
  if (2 * k > n) return -sine_of_turn(n - k, n);
  if (4 * k > n) return sine_of(kPi * (n - 2 * k) / n);
  return sine_of(2 * kPi * k / n);
}
constexpr double cosine_of_turn(int k, int n) { return sine_of_turn(4 * k + n, 4 * n); }

template <int R>
struct Roots {
  float c[R], s[R];
  constexpr Roots() : c{}, s{} {
    for (int k = 0; k < R; ++k) {
      c[k] = static_cast<float>(cosine_of_turn(k, R));
      s[k] = static_cast<float>(sine_of_turn(k, R));
    }
  }
};

template <int R>
struct Butterfly {  // an odd number
  [[gnu::always_inline]] static void run(Cx* x) {
    static constexpr Roots<R> roots;
    constexpr int h = R / 2;
    Cx sum[h], difference[h];
#pragma GCC unroll 16
    for (int k = 0; k < h; ++k) {
      sum[k] = x[k + 1] + x[R - 1 - k];
      difference[k] = minus_i(x[k + 1] - x[R - 1 - k]);
    }
    const Cx first = x[0];
#pragma GCC unroll 16
    for (int k = 0; k < h; ++k) x[0] = x[0] + sum[k];
#pragma GCC unroll 16
    for (int j = 1; j <= h; ++j) {
      Cx even = first, odd{};
#pragma GCC unroll 16
      for (int k = 0; k < h; ++k) {
        const float c = roots.c[j * (k + 1) % R], s = roots.s[j * (k + 1) % R];
        even = {even.re + sum[k].re * c, even.im + sum[k].im * c};
        odd = {odd.re + difference[k].re * s, odd.im + difference[k].im * s};
      }
      x[j] = even + odd;
      x[R - j] = even - odd;
    }
  }
};
template <>
struct Butterfly<2> {
  [[gnu::always_inline]] static void run(Cx* x) {
    const Cx a = x[0], b = x[1];
    x[0] = a + b;
    x[1] = a - b;
  }
};
[[gnu::always_inline]] inline void four(Cx& a, Cx& b, Cx& c, Cx& d) {
  const Cx ac = a + c, a_c = a - c, bd = b + d, b_d = minus_i(b - d);
  a = ac + bd;
  b = a_c + b_d;
  c = ac - bd;
  d = a_c - b_d;
}
template <>
struct Butterfly<4> {
  [[gnu::always_inline]] static void run(Cx* x) { four(x[0], x[1], x[2], x[3]); }
};
template <>
struct Butterfly<8> {
  [[gnu::always_inline]] static void run(Cx* x) {
    constexpr float r = 0.70710678118654752440f;
    Cx e0 = x[0], e1 = x[2], e2 = x[4], e3 = x[6], o0 = x[1], o1 = x[3], o2 = x[5], o3 = x[7];
    four(e0, e1, e2, e3);
    four(o0, o1, o2, o3);
    o1 = {(o1.re + o1.im) * r, (o1.im - o1.re) * r};
    o2 = minus_i(o2);
    o3 = {(o3.im - o3.re) * r, (o3.re + o3.im) * -r};
    x[0] = e0 + o0, x[4] = e0 - o0;
    x[1] = e1 + o1, x[5] = e1 - o1;
    x[2] = e2 + o2, x[6] = e2 - o2;
    x[3] = e3 + o3, x[7] = e3 - o3;
  }
};

}  // namespace mlx::core::cpu::MLX_ISA::fourier
