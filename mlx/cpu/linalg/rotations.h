// Rotations of neighbouring vectors, collected until there are enough to be worth a pass over the vectors;
// and Householder reflections.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/factor.h"
#include "mlx/cpu/isa/householder.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

// Zeros at first. Rows begin on cache lines and are whole vectors long: loops may begin at even(column), where what
// they find before their column are zeros of another operand.
class PaddedMatrix {
 public:
  PaddedMatrix(int64_t rows, int64_t columns)
      : stride((columns + 7) / 8 * 8), memory_(rows * stride * sizeof(double)) {
    std::fill(memory_.as<double>(), memory_.as<double>() + rows * stride, 0.0);
  }
  static int64_t even(int64_t column) { return column / 8 * 8; }
  double* row(int64_t i) const { return memory_.as<double>() + i * stride; }
  const int64_t stride;

 private:
  Workspace memory_;
};

class Rotations {
 public:
  // Of the rows of a matrix; null: nothing is done.
  explicit Rotations(const PaddedMatrix* vectors) : vectors_(vectors) {}

  // Vectors i and i + 1: x, y <- c x - s y, s x + c y.
  void add(int64_t i, double c, double s) {
    if (!vectors_) return;
    c_.push_back(c);
    s_.push_back(s);
    at_.push_back(static_cast<int32_t>(i));
    if (c_.size() == kMost) apply();
  }
  void apply() {
    if (c_.empty()) return;
    const auto count = static_cast<int64_t>(c_.size());
    // Parts of all vectors that lie in a cache together.
    const int64_t part = std::max<int64_t>(32, ((int64_t{1} << 16) / count + 31) / 32 * 32);
    parallel_ranges(vectors_->stride, std::min<int64_t>(part, 128), [&](int64_t begin, int64_t end) {
      factor<double>().rotate(vectors_->row(0) + begin, vectors_->stride, end - begin, c_.data(), s_.data(), at_.data(),
                              count);
    });
    c_.clear();
    s_.clear();
    at_.clear();
  }

 private:
  static constexpr size_t kMost = 8192;
  const PaddedMatrix* vectors_;
  std::vector<double> c_, s_;
  std::vector<int32_t> at_;
};

// 1 - tau v v^T that maps x, of n elements, on beta times the first unit vector. v, with v[0] = 1, takes x's
// place.
struct Reflection {
  double tau = 0, beta = 0;
};
inline Reflection find_reflection(double* x, int64_t n) {
  const double squares = n > 1 ? factor<double>().dot(x + 1, x + 1, n - 1) : 0, alpha = x[0];
  x[0] = 1;
  if (squares == 0) return {0, alpha};
  const double beta = -std::copysign(std::sqrt(alpha * alpha + squares), alpha);
  const double scale = 1 / (alpha - beta);
  for (int64_t i = 1; i < n; ++i) x[i] *= scale;
  return {(beta - alpha) / beta, beta};
}

// Rows of z become columns 0 ... count - 1 of the product of reflections 0 ... k - 1; the vector of reflection i is
// row i of v, zero before element i + offset.
inline void accumulate(const PaddedMatrix& z, int64_t count, int64_t k, int64_t offset, const double* tau,
                       const PaddedMatrix& v) {
  constexpr int64_t kGroup = 8;
  for (int64_t i = 0; i < count; ++i) z.row(i)[i] = 1;
  const int64_t grain = std::max<int64_t>(kGroup, (1 << 14) / z.stride / kGroup * kGroup);
  parallel_ranges(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += kGroup) {
      const int64_t some = std::min(kGroup, end - j);
      // Reflections further down leave these unit vectors alone.
      for (int64_t i = std::min(k, j + some - offset) - 1; i >= 0; --i) {
        const int64_t at = PaddedMatrix::even(i + offset);
        if (tau[i] != 0) reflect(v.row(i) + at, v.stride - at, tau[i], z.row(j) + at, z.stride, some);
      }
    }
  });
}

// x * 2^exponent
inline double scaled(double x, int exponent) {
  return std::abs(exponent) < 1000 ? x * std::ldexp(1.0, exponent) : std::ldexp(x, exponent);
}

}  // namespace mlx::core::cpu
