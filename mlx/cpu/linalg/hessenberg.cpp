// In panels (G. Quintana-Orti, R. van de Geijn, "Improving the performance of reduction to Hessenberg form",
// 2006; LAPACK's dgehrd): with Y = A V T the reflections of a panel make A - Y V^T from the right, and
// 1 - V T^T V^T from the left; both wait for the end of the panel, where they are products of matrices.
#include "mlx/cpu/linalg/hessenberg.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/isa/eigen.h"
#include "mlx/cpu/linalg/blocked.h"

namespace mlx::core::cpu {
namespace {

class Reduction {
 public:
  Reduction(const PaddedMatrix<double>& a, int64_t n, double* tau, const PaddedMatrix<double>& v)
      : a_(a),
        v_(v),
        n_(n),
        panel_(n <= 256 ? 16 : 32),
        tau_(tau),
        y_(panel_, n),
        lines_(2, n),
        t_(panel_ * panel_),
        f_(2 * panel_) {}

  void run() {
    for (int64_t p = 0; p + 2 < n_; p += panel_) {
      const int64_t end = std::min(n_ - 2, p + panel_);
      std::fill(t_.begin(), t_.end(), 0.0);
      for (int64_t k = p; k < end; ++k) column(p, k);
      update(p, end);
    }
  }

 private:
  // x <- x - sum_m f_m row_m
  void subtract(double* x, const double* rows, int64_t stride, int64_t count, const double* f,
                int64_t from) const {
    double* sum = lines_.row(1);
    // What is combined is not changed.
    factor<double>().combine(const_cast<double*>(rows) + from, stride, count, y_.stride - from, nullptr,
                             nullptr, f, sum + from);
    for (int64_t i = from; i < n_; ++i) x[i] -= sum[i];
  }

  void column(int64_t p, int64_t k) {
    const int64_t known = k - p, at = PaddedMatrix<double>::even(p + 1), length = a_.stride - at;
    double *x = lines_.row(0), *f = f_.data(), *g = f + panel_;
    for (int64_t i = 0; i < n_; ++i) x[i] = a_.row(i)[k];
    if (known > 0) {
      for (int64_t m = 0; m < known; ++m) f[m] = v_.row(p + m)[k];
      subtract(x, y_.row(0), y_.stride, known, f, 0);
      eigen_kernels().dots(v_.row(p) + at, v_.stride, known, x + at, length, f);
      for (int64_t m = 0; m < known; ++m) {
        g[m] = 0;
        for (int64_t l = 0; l <= m; ++l) g[m] += t_[l * panel_ + m] * f[l];
      }
      subtract(x, v_.row(p), v_.stride, known, g, at);
    }
    const Reflection r = find_reflection(x + k + 1, n_ - k - 1);
    double* v = v_.row(k);
    std::copy(x + k + 1, x + n_, v + k + 1);
    tau_[k] = r.tau;
    for (int64_t i = 0; i <= k; ++i) a_.row(i)[k] = x[i];
    a_.row(k + 1)[k] = r.beta;
    for (int64_t i = k + 2; i < n_; ++i) a_.row(i)[k] = 0;

    double* y = y_.row(known);
    const int64_t from = PaddedMatrix<double>::even(k + 1), width = a_.stride - from;
    parallel_ranges(n_, std::max<int64_t>(4, (1 << 17) / width / 4 * 4), [&](int64_t begin, int64_t end) {
      eigen_kernels().dots(a_.row(begin) + from, a_.stride, end - begin, v + from, width, y + begin);
    });
    if (known > 0) {
      eigen_kernels().dots(v_.row(p) + from, v_.stride, known, v + from, width, f);
      subtract(y, y_.row(0), y_.stride, known, f, 0);
      for (int64_t m = 0; m < known; ++m) {
        double sum = 0;
        for (int64_t l = m; l < known; ++l) sum += t_[m * panel_ + l] * f[l];
        t_[m * panel_ + known] = -r.tau * sum;
      }
    }
    for (int64_t i = 0; i < n_; ++i) y[i] *= r.tau;
    t_[known * panel_ + known] = r.tau;
  }

  void update(int64_t p, int64_t end) const {
    const int64_t count = end - p, right = n_ - end, below = n_ - p - 1;
    multiply_into<double>(a_.row(0) + end, a_.stride, n_, right, count, {y_.row(0), 1, y_.stride},
                          {v_.row(p) + end, v_.stride}, -1, 1);
    Workspace space(2 * count * right * static_cast<int64_t>(sizeof(double)));
    double *w = space.as<double>(), *turned = w + count * right;
    double* part = a_.row(p + 1) + end;
    multiply_into<double>(w, right, count, right, below, {v_.row(p) + p + 1, v_.stride}, {part, a_.stride}, 1,
                          0);
    multiply_into<double>(turned, right, count, right, count, {t_.data(), 1, panel_}, {w, right}, 1, 0);
    multiply_into<double>(part, a_.stride, below, right, count, {v_.row(p) + p + 1, 1, v_.stride},
                          {turned, right}, -1, 1);
  }

  const PaddedMatrix<double>&a_, &v_;
  const int64_t n_, panel_;
  double* tau_;
  const PaddedMatrix<double> y_, lines_;
  std::vector<double> t_, f_;
};

}  // namespace

void to_hessenberg(const PaddedMatrix<double>& a, int64_t n, double* tau, const PaddedMatrix<double>& v) {
  if (n > 2) Reduction(a, n, tau, v).run();
}

}  // namespace mlx::core::cpu
