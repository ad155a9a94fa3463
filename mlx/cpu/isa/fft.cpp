#include "mlx/cpu/isa/fft.h"

#include "mlx/cpu/isa/fft_butterfly.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace fourier;
using rows::loadu;
using rows::splat;
using rows::storeu;

// Rows that fill vectors: one factor for all of a row.
template <int R, bool kTurns>
void wide(const FftPass& f, const float* xr, const float* xi, float* yr, float* yi) {
  const int64_t s = f.s, jump = f.s * f.m;
  for (int64_t p = 0; p < f.m; ++p) {
    V wr[R], wi[R];
    if constexpr (kTurns) {
      const float* w = f.twiddles + p * 2 * (R - 1);
#pragma GCC unroll 16
      for (int j = 1; j < R; ++j) wr[j] = splat<V>(w[2 * j - 2]), wi[j] = splat<V>(w[2 * j - 1]);
    }
    const float *ar = xr + s * p, *ai = xi + s * p;
    float *br = yr + s * R * p, *bi = yi + s * R * p;
    for (int64_t q = 0; q < s; q += kW) {
      if (q + kW > s) q = s - kW;
      Cx x[R];
#pragma GCC unroll 16
      for (int k = 0; k < R; ++k) x[k] = {loadu<V>(ar + q + k * jump), loadu<V>(ai + q + k * jump)};
      Butterfly<R>::run(x);
      if constexpr (kTurns) {
#pragma GCC unroll 16
        for (int j = 1; j < R; ++j) x[j] = times(x[j], wr[j], wi[j]);
      }
#pragma GCC unroll 16
      for (int j = 0; j < R; ++j) storeu(br + q + j * s, x[j].re), storeu(bi + q + j * s, x[j].im);
    }
  }
}

// a and b interleaved, g elements at a time: half 0 or 1 of that.
template <int g, int half, int... I>
V zip(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (half * (kW / 2) + I / (2 * g) * g + I % g + (I / g % 2 ? kW : 0))...);
}
template <int g>
[[gnu::always_inline]] inline void store_pair(float* p, V a, V b, int64_t at0, int64_t at1) {
  constexpr auto lanes = std::make_integer_sequence<int, kW>{};
  storeu(p + at0, zip<g, 0>(a, b, lanes));
  storeu(p + at1, zip<g, 1>(a, b, lanes));
}
template <int R, int g>
[[gnu::always_inline]] inline void store_zipped(float* p, const V* y) {
  constexpr auto lanes = std::make_integer_sequence<int, kW>{};
  if constexpr (R == 2) {
    store_pair<g>(p, y[0], y[1], 0, kW);
  } else {
    store_pair<g>(p, zip<g, 0>(y[0], y[2], lanes), zip<g, 0>(y[1], y[3], lanes), 0, kW);
    store_pair<g>(p, zip<g, 1>(y[0], y[2], lanes), zip<g, 1>(y[1], y[3], lanes), 2 * kW, 3 * kW);
  }
}

// Rows shorter than a vector: a vector holds parts of several. zipped: s = g divides a vector.
template <int R, int g>
void narrow(const FftPass& f, const float* xr, const float* xi, float* yr, float* yi) {
  const int64_t jump = f.s * f.m;
  for (int64_t i = 0; i < jump; i += kW) {
    if (i + kW > jump) i = jump - kW;
    Cx x[R];
#pragma GCC unroll 16
    for (int k = 0; k < R; ++k) x[k] = {loadu<V>(xr + i + k * jump), loadu<V>(xi + i + k * jump)};
    Butterfly<R>::run(x);
#pragma GCC unroll 16
    for (int j = 1; j < R; ++j) {
      const float* w = f.expanded + 2 * (j - 1) * jump + i;
      x[j] = times(x[j], loadu<V>(w), loadu<V>(w + jump));
    }
    V re[R], im[R];
#pragma GCC unroll 16
    for (int j = 0; j < R; ++j) re[j] = x[j].re, im[j] = x[j].im;
    if constexpr (g > 0) {
      store_zipped<R, g>(yr + i * R, re);
      store_zipped<R, g>(yi + i * R, im);
    } else {
      float tr[R][kW], ti[R][kW];
      for (int j = 0; j < R; ++j) storeu(tr[j], re[j]), storeu(ti[j], im[j]);
      int64_t q = i % f.s, to = q + (i - q) * R;
      for (int l = 0; l < kW; ++l) {
        for (int j = 0; j < R; ++j) yr[to + j * f.s] = tr[j][l], yi[to + j * f.s] = ti[j][l];
        ++q, ++to;
        if (q == f.s) q = 0, to += f.s * (R - 1);
      }
    }
  }
}

template <int R>
void pass_of(const FftPass& f, const float* xr, const float* xi, float* yr, float* yi) {
  if (f.s >= kW) return f.m == 1 ? wide<R, false>(f, xr, xi, yr, yi) : wide<R, true>(f, xr, xi, yr, yi);
  if constexpr (R == 2 || R == 4) {
    if (f.s == 1) return narrow<R, 1>(f, xr, xi, yr, yi);
    if (f.s == 2) return narrow<R, 2>(f, xr, xi, yr, yi);
    if constexpr (kW > 4)
      if (f.s == 4) return narrow<R, 4>(f, xr, xi, yr, yi);
    if constexpr (kW > 8)
      if (f.s == 8) return narrow<R, 8>(f, xr, xi, yr, yi);
  }
  narrow<R, 0>(f, xr, xi, yr, yi);
}

void pass(const FftPass& f, const float* xr, const float* xi, float* yr, float* yi) {
  switch (f.radix) {
    case 2:
      return pass_of<2>(f, xr, xi, yr, yi);
    case 3:
      return pass_of<3>(f, xr, xi, yr, yi);
    case 4:
      return pass_of<4>(f, xr, xi, yr, yi);
    case 5:
      return pass_of<5>(f, xr, xi, yr, yi);
    case 7:
      return pass_of<7>(f, xr, xi, yr, yi);
    case 8:
      return pass_of<8>(f, xr, xi, yr, yi);
    case 11:
      return pass_of<11>(f, xr, xi, yr, yi);
    default:
      return pass_of<13>(f, xr, xi, yr, yi);
  }
}

template <int first, int... I>
V every_second(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + first)...);
}
void split(const float* pairs, int64_t n, float* re, float* im) {
  constexpr auto lanes = std::make_integer_sequence<int, kW>{};
  int64_t i = 0;
  for (; i + kW <= n; i += kW) {
    const V a = loadu<V>(pairs + 2 * i), b = loadu<V>(pairs + 2 * i + kW);
    storeu(re + i, every_second<0>(a, b, lanes));
    storeu(im + i, every_second<1>(a, b, lanes));
  }
  for (; i < n; ++i) re[i] = pairs[2 * i], im[i] = pairs[2 * i + 1];
}
void join(const float* re, const float* im, int64_t n, float scale, float* pairs) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW)
    store_pair<1>(pairs + 2 * i, loadu<V>(re + i) * scale, loadu<V>(im + i) * scale, 0, kW);
  for (; i < n; ++i) pairs[2 * i] = re[i] * scale, pairs[2 * i + 1] = im[i] * scale;
}

void multiply(float* re, float* im, const float* wr, const float* wi, int64_t rows, int64_t columns) {
  const auto one = [](float& a, float& b, float c, float d) {
    const float x = a * c - b * d;
    b = a * d + b * c;
    a = x;
  };
  if (columns == 1) {
    int64_t i = 0;
    for (; i + kW <= rows; i += kW) {
      const Cx x = times({loadu<V>(re + i), loadu<V>(im + i)}, loadu<V>(wr + i), loadu<V>(wi + i));
      storeu(re + i, x.re), storeu(im + i, x.im);
    }
    for (; i < rows; ++i) one(re[i], im[i], wr[i], wi[i]);
    return;
  }
  for (int64_t j = 0; j < rows; ++j, re += columns, im += columns)
    for (int64_t c = 0; c < columns; c += kW) {
      const Cx x = times({loadu<V>(re + c), loadu<V>(im + c)}, splat<V>(wr[j]), splat<V>(wi[j]));
      storeu(re + c, x.re), storeu(im + c, x.im);
    }
}

template <int... I>
V reversed(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (kW - 1 - I)...);
}
inline V reversed(V v) { return reversed(v, std::make_integer_sequence<int, kW>{}); }

// x = Z_k and y = Z_(h - k) become X_k and X_(h - k), or back.
template <bool kBack, class T>
[[gnu::always_inline]] inline void pair(T& xr, T& xi, T& yr, T& yi, T wr, T wi) {
  constexpr float half = kBack ? 1.0f : 0.5f;
  const T er = (xr + yr) * half, ei = (xi - yi) * half;
  const T dr = (xr - yr) * half, di = (xi + yi) * half;
  // Forwards E - i w D, backwards E + i conj(w) D.
  const T tr = kBack ? -(di * wr - dr * wi) : di * wr + dr * wi;
  const T ti = kBack ? dr * wr + di * wi : di * wi - dr * wr;
  xr = er + tr, xi = ei + ti;
  yr = er - tr, yi = ti - ei;
}

template <bool kBack>
void tangled(const float* re, const float* im, const float* wr, const float* wi, int64_t h, int64_t columns,
             float* out_re, float* out_im) {
  // Row 0 stands for rows 0 and h.
  for (int64_t c = 0; c < columns; ++c) {
    if constexpr (kBack) {
      const float a = re[c], b = re[h * columns + c];
      out_re[c] = a + b, out_im[c] = a - b;
    } else {
      const float a = re[c], b = im[c];
      out_re[c] = a + b, out_im[c] = 0;
      out_re[h * columns + c] = a - b, out_im[h * columns + c] = 0;
    }
  }
  const int64_t end = h / 2 + 1;  // a row in the middle is its own partner
  int64_t k = 1;
  if (columns == 1) {
    for (; k + kW <= end; k += kW) {
      const int64_t other = h - k - kW + 1;
      V xr = loadu<V>(re + k), xi = loadu<V>(im + k), yr = reversed(loadu<V>(re + other)),
        yi = reversed(loadu<V>(im + other));
      pair<kBack>(xr, xi, yr, yi, loadu<V>(wr + k), loadu<V>(wi + k));
      storeu(out_re + k, xr), storeu(out_im + k, xi);
      storeu(out_re + other, reversed(yr)), storeu(out_im + other, reversed(yi));
    }
    for (; k < end; ++k) {
      float xr = re[k], xi = im[k], yr = re[h - k], yi = im[h - k];
      pair<kBack>(xr, xi, yr, yi, wr[k], wi[k]);
      out_re[k] = xr, out_im[k] = xi, out_re[h - k] = yr, out_im[h - k] = yi;
    }
    return;
  }
  for (; k < end; ++k) {
    const int64_t a = k * columns, b = (h - k) * columns;
    for (int64_t c = 0; c < columns; c += kW) {
      V xr = loadu<V>(re + a + c), xi = loadu<V>(im + a + c), yr = loadu<V>(re + b + c),
        yi = loadu<V>(im + b + c);
      pair<kBack>(xr, xi, yr, yi, splat<V>(wr[k]), splat<V>(wi[k]));
      storeu(out_re + a + c, xr), storeu(out_im + a + c, xi);
      storeu(out_re + b + c, yr), storeu(out_im + b + c, yi);
    }
  }
}

}  // namespace

const FftTable& fft_kernels_table() {
  static constexpr FftTable table{pass, split, join, multiply, tangled<false>, tangled<true>};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
