// How a transform of one length is done: its passes and their factors, kept for the next one of that length.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mlx/cpu/isa/fft.h"

namespace mlx::core::cpu {

struct SplitComplex {
  float *re, *im;
  SplitComplex swapped() const { return {im, re}; }  // of a transform of swapped parts: the inverse
};

class FftPlan {
 public:
  // Made where the cache does not hold it. Transforms of n pairs, or of 2 n reals that are taken for pairs.
  static std::shared_ptr<const FftPlan> get(int64_t n);
  explicit FftPlan(int64_t n);

  int64_t size() const { return n_; }
  // Rows that each of the two buffers of a transform needs: n + 1 or more.
  int64_t rows() const;
  // The forward transform of `columns` columns, n rows of them in x; columns = 1 where n > kFftSmall, or a
  // multiple of kFftWide. Uses both buffers; returns the one that holds the result.
  SplitComplex forward(SplitComplex x, SplitComplex other, int64_t columns) const;
  // exp(-pi i k / n), k <= n / 2.
  const float* half_turns_re() const { return half_re_.data(); }
  const float* half_turns_im() const { return half_im_.data(); }
  size_t bytes() const;

 private:
  void smooth(const std::vector<int64_t>& radices);
  void convolution();
  SplitComplex convolve(SplitComplex x, SplitComplex other, int64_t columns) const;

  int64_t n_;
  struct Pass {
    int64_t radix, s, m;
    std::vector<float> twiddles, expanded;
  };
  std::vector<Pass> passes_;
  std::vector<float> half_re_, half_im_;
  // Bluestein: multiplication by a chirp, a cyclic convolution with its conjugate, and the chirp again.
  std::shared_ptr<const FftPlan> inner_;
  std::vector<float> chirp_re_, chirp_im_, spectrum_re_, spectrum_im_;
};

// Transforms up to this length are done side by side rather than one by one.
inline constexpr int64_t kFftSmall = 256;

}  // namespace mlx::core::cpu
