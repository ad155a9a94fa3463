// Upper bidiagonal matrices to singular values.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// QR steps with implicit shifts (G. Golub, C. Reinsch, "Singular value decomposition and least squares
// solutions", 1970), of a matrix or a part of one whose elements are about 1. d become singular values with
// signs.
class BidiagonalSteps {
 public:
  BidiagonalSteps(double* d, double* e, int64_t n) : d_(d), e_(e), n_(n), last_(n - 1) {
    for (int64_t i = 0; i < n; ++i)
      norm_ = std::max({norm_, std::abs(d_[i]), i + 1 < n ? std::abs(e_[i]) : 0.0});
  }
  bool done() const { return last_ <= 0; }

  // A step, or on to the next value where one is found. What it does to the vectors: left and right.add().
  template <class Sink>
  void advance(Sink& left, Sink& right) {
    int64_t first = last_;
    bool singular = std::abs(d_[last_]) <= kEps * norm_;
    for (; first > 0; --first) {
      const double size = std::abs(d_[first - 1]) + std::abs(d_[first]);
      if (std::abs(e_[first - 1]) <= kEps * (size > kEps * norm_ ? size : norm_)) {
        e_[first - 1] = 0;
        break;
      }
      singular = singular || std::abs(d_[first - 1]) <= kEps * norm_;
    }
    if (first == last_) {
      --last_;
      return;
    }
    if (++steps_ > 60 * n_) throw std::runtime_error("[linalg.svd] the iteration did not converge");
    step(first, singular, left, right);
  }

 private:
  static constexpr double kEps = std::numeric_limits<double>::epsilon();

  // c y + s z, the length of (y, z).
  static double turn(double y, double z, double& c, double& s) {
    const double squares = y * y + z * z, r = std::sqrt(squares);
    if (squares > 1e-290) {
      const double inverse = r * (1 / squares);  // the division does not wait for the root
      c = y * inverse;
      s = z * inverse;
    } else {
      c = r > 0 ? y / r : 1;
      s = r > 0 ? z / r : 0;
    }
    return r;
  }

  // The shift is an eigenvalue of the last two columns' product; 0 for a singular block, which splits off its
  // 0.
  template <class Sink>
  void step(int64_t first, bool singular, Sink& left, Sink& right) {
    const int64_t last = last_;
    double y = d_[first], z = e_[first];
    if (!singular) {
      const double before = last - 1 > first ? e_[last - 2] : 0;
      const double a = d_[last - 1] * d_[last - 1] + before * before, b = d_[last - 1] * e_[last - 1];
      const double c = d_[last] * d_[last] + e_[last - 1] * e_[last - 1], delta = (a - c) / 2;
      const double shift = c - b * b / (delta + std::copysign(std::sqrt(delta * delta + b * b), delta));
      y = (d_[first] - shift / d_[first]);
    }
    for (int64_t k = first; k < last; ++k) {
      double c, s, r = turn(y, z, c, s);
      if (k > first) e_[k - 1] = r;
      y = c * d_[k] + s * e_[k];
      e_[k] = c * e_[k] - s * d_[k];
      z = s * d_[k + 1];
      d_[k + 1] = c * d_[k + 1];
      right.add(k, c, -s);
      d_[k] = turn(y, z, c, s);
      y = c * e_[k] + s * d_[k + 1];
      d_[k + 1] = c * d_[k + 1] - s * e_[k];
      if (k + 1 < last) {
        z = s * e_[k + 1];
        e_[k + 1] = c * e_[k + 1];
      }
      left.add(k, c, -s);
    }
    e_[last - 1] = y;
  }

  double *d_, *e_;
  int64_t n_, last_, steps_ = 0;
  double norm_ = 1e-120;  // squares of less may be 0
};

// Singular values in no order and, in rows of u and v, which are zeros at first, their vectors. e has n
// elements, the last of which is not looked at; u is n x n, v (n + 1) x (n + 1), its last row and column to
// be left aside.
template <class T>
std::vector<double> bidiagonal_vectors(const std::vector<double>& d, const std::vector<double>& e,
                                       const PaddedMatrix<T>& u, const PaddedMatrix<T>& v);

}  // namespace mlx::core::cpu
