// Reflections to a Hessenberg matrix, QR steps to a triangle, whose eigenvectors come by substitution.
#include "mlx/cpu/linalg/eig_complex.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/hessenberg.h"
#include "mlx/cpu/linalg/panel.h"
#include "mlx/cpu/linalg/schur_complex.h"
#include "mlx/cpu/linalg/wy.h"

namespace mlx::core::cpu {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();

class Substitution {
 public:
  Substitution(const PaddedMatrix<Z>& s, int64_t n) : n_(n), re_(n, n), im_(n, n) {
    double norm = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i; j < n; ++j) {
        const Z x = s.row(i)[j];
        re_.row(i)[j] = x.re;
        im_.row(i)[j] = x.im;
        norm = std::max(norm, roughly(x));
      }
    least_ = std::max(kEps * norm, std::numeric_limits<double>::min());
  }

  // Rows k of `out` become the products of the vectors of S with the rows of z.
  void run(const PaddedMatrix<Z>& z, const PaddedMatrix<Z>& out) const {
    // Those with the most work first.
    const int64_t panels = (n_ + kPanel - 1) / kPanel;
    parallel_for(panels, [&](int64_t i) {
      const int64_t begin = (panels - 1 - i) * kPanel, end = std::min(n_, begin + kPanel);
      const PaddedMatrix<Z> y(end - begin, end);
      const PaddedMatrix<double> parts(2, end);
      for (int64_t k = begin; k < end; ++k) one(k, parts.row(0), parts.row(1), y.row(k - begin));
      if (n_ <= kFewRows<Z>) {
        for (int64_t k = 0; k < n_; ++k)
          combine_rows(z.row(0), z.stride, k + 1, z.stride, y.row(k), out.row(k));
        return;
      }
      multiply_into<Z>(out.row(begin), out.stride, end - begin, n_, end, {y.row(0), y.stride},
                       {z.row(0), z.stride}, 1, 0);
    });
  }

 private:
  static constexpr int64_t kPanel = 64;

  Z value(int64_t i) const { return {re_.row(i)[i], im_.row(i)[i]}; }
  void one(int64_t k, double* x, double* y, Z* out) const {
    const auto dot = factor<double>().dot;
    x[k] = 1;
    y[k] = 0;
    for (int64_t i = k - 1; i >= 0; --i) {
      const int64_t at = i + 1, count = k - i;
      const double *a = re_.row(i) + at, *b = im_.row(i) + at;
      const Z sum{dot(a, x + at, count) - dot(b, y + at, count),
                  dot(a, y + at, count) + dot(b, x + at, count)};
      Z gap = value(k) - value(i);
      if (roughly(gap) <= least_) gap = {least_, 0};
      const Z found = sum / gap;
      x[i] = found.re;
      y[i] = found.im;
      if (const double large = roughly(found); large > 1e100)
        for (int64_t j = i; j <= k; ++j) x[j] /= large, y[j] /= large;
    }
    for (int64_t i = 0; i <= k; ++i) out[i] = {x[i], y[i]};
  }

  const int64_t n_;
  const PaddedMatrix<double> re_, im_;
  double least_;
};

}  // namespace

std::vector<Z> complex_eigen(const PaddedMatrix<Z>& a, int64_t n, const PaddedMatrix<Z>* vectors) {
  const PaddedMatrix<Z> v(n, n), q(vectors ? n : 0, n);
  std::vector<double> tau(n);
  to_hessenberg(a, n, tau.data(), v);
  if (vectors) {
    for (int64_t i = 0; i < n; ++i) q.row(i)[i].re = 1;
    apply_product(q.row(0), q.stride, n, n, v.row(0), v.stride, tau.data(), std::max<int64_t>(0, n - 2), 1,
                  true);
  }
  to_triangle(a, n, vectors ? &q : nullptr);
  std::vector<Z> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = a.row(i)[i];
  if (vectors) Substitution(a, n).run(q, *vectors);
  return values;
}

}  // namespace mlx::core::cpu
