// The inner loops of discrete Fourier transforms. Real and imaginary parts lie in arrays of their own.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// The radices of passes; other lengths are products of these, or go through a convolution.
inline constexpr int64_t kFftRadices[] = {2, 3, 4, 5, 7, 8, 11, 13};
// Rows of at least this many elements (columns times stride) need no expanded twiddle factors.
inline constexpr int64_t kFftWide = 16;

// One pass of Stockham's algorithm, decimation in frequency: for p < m, q < s
//     y[q + s (r p + j)] = w^(j p) sum_k x[q + s (p + k m)] exp(-2 pi i j k / r),  w = exp(-2 pi i / (r m)).
struct FftPass {
  int64_t radix, s, m;
  const float* twiddles;  // w^(j p), j = 1 ... r - 1, of every p: pairs
  const float* expanded;  // where s < kFftWide: m s real parts, m s imaginary ones, of every j; entry p s + q
};

struct FftTable {
  // s >= kFftWide, or m s >= kFftWide.
  void (*pass)(const FftPass& pass, const float* xr, const float* xi, float* yr, float* yi);
  // n pairs <-> two arrays.
  void (*split)(const float* pairs, int64_t n, float* re, float* im);
  void (*join)(const float* re, const float* im, int64_t n, float scale, float* pairs);
  // Rows of `columns` elements each times the row's factor.
  void (*multiply)(float* re, float* im, const float* wr, const float* wi, int64_t rows, int64_t columns);
  // The transform of 2 h reals from that of the h pairs they make up; w^k = exp(-pi i k / h), k <= h / 2. Row
  // k of the result, 0 ... h, may not lie in its input.
  void (*untangle)(const float* re, const float* im, const float* wr, const float* wi, int64_t h,
                   int64_t columns, float* out_re, float* out_im);
  // The other way round, times 2 h / h: what the inverse transform of h pairs makes 2 h reals of.
  void (*tangle)(const float* re, const float* im, const float* wr, const float* wi, int64_t h,
                 int64_t columns, float* out_re, float* out_im);
};

MLX_DECLARE_ISA_TABLE(FftTable, fft_kernels)

}  // namespace mlx::core::cpu
