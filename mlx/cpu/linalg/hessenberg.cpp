// In panels (G. Quintana-Orti, R. van de Geijn, "Improving the performance of reduction to Hessenberg form",
// 2006; LAPACK's dgehrd): with Y = A V T the reflections of a panel make A - Y V^H from the right, and
// 1 - V T^H V^H from the left; both wait for the end of the panel, where they are products of matrices.
#include "mlx/cpu/linalg/hessenberg.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/panel.h"
#include "mlx/cpu/linalg/wy.h"

namespace mlx::core::cpu {
namespace {

template <class S>
class Reduction : PanelReduction<S> {
  using PanelReduction<S>::a_, PanelReduction<S>::v_, PanelReduction<S>::n_, PanelReduction<S>::panel_,
      PanelReduction<S>::tau_, PanelReduction<S>::subtract;

 public:
  Reduction(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v)
      : PanelReduction<S>(a, n, tau, v), y_(panel_, n), lines_(2, n), t_(panel_ * panel_), f_(2 * panel_) {}

  void run() {
    for (int64_t p = 0; p + 2 < n_; p += panel_) {
      const int64_t end = std::min(n_ - 2, p + panel_);
      std::fill(t_.begin(), t_.end(), S{0});
      for (int64_t k = p; k < end; ++k) column(p, k);
      update(p, end);
    }
  }

 private:
  void column(int64_t p, int64_t k) {
    const int64_t known = k - p, at = PaddedMatrix<S>::even(p + 1), length = a_.stride - at;
    S *x = lines_.row(0), *f = f_.data(), *g = f + panel_;
    for (int64_t i = 0; i < n_; ++i) x[i] = a_.row(i)[k];
    if (known > 0) {
      for (int64_t m = 0; m < known; ++m) f[m] = conj(v_.row(p + m)[k]);
      subtract(x, y_.row(0), y_.stride, known, f, 0, lines_.row(1));
      panels<S>().dots(v_.row(p) + at, v_.stride, known, x + at, length, true, f);
      for (int64_t m = 0; m < known; ++m) {
        g[m] = S{0};
        for (int64_t l = 0; l <= m; ++l) g[m] += conj(t_[l * panel_ + m]) * f[l];
      }
      subtract(x, v_.row(p), v_.stride, known, g, at, lines_.row(1));
    }
    const Reflection<S> r = find_reflection(x + k + 1, n_ - k - 1);
    S* v = v_.row(k);
    std::copy(x + k + 1, x + n_, v + k + 1);
    tau_[k] = r.tau;
    for (int64_t i = 0; i <= k; ++i) a_.row(i)[k] = x[i];
    a_.row(k + 1)[k] = r.beta;
    for (int64_t i = k + 2; i < n_; ++i) a_.row(i)[k] = S{0};

    S* y = y_.row(known);
    const int64_t from = PaddedMatrix<S>::even(k + 1), width = a_.stride - from;
    parallel_ranges(n_, std::max<int64_t>(4, (1 << 17) / width / 4 * 4), [&](int64_t begin, int64_t end) {
      panels<S>().dots(a_.row(begin) + from, a_.stride, end - begin, v + from, width, false, y + begin);
    });
    if (known > 0) {
      panels<S>().dots(v_.row(p) + from, v_.stride, known, v + from, width, true, f);
      subtract(y, y_.row(0), y_.stride, known, f, 0, lines_.row(1));
      for (int64_t m = 0; m < known; ++m) {
        S sum{0};
        for (int64_t l = m; l < known; ++l) sum += t_[m * panel_ + l] * f[l];
        t_[m * panel_ + known] = -r.tau * sum;
      }
    }
    for (int64_t i = 0; i < n_; ++i) y[i] = r.tau * y[i];
    t_[known * panel_ + known] = S{r.tau};
  }

  void update(int64_t p, int64_t end) const {
    const int64_t count = end - p, right = n_ - end, below = n_ - p - 1;
    multiply_into<S>(a_.row(0) + end, a_.stride, n_, right, count, {y_.row(0), 1, y_.stride},
                     {v_.row(p) + end, v_.stride, 1, true}, -1, 1);
    Workspace space(2 * count * right * static_cast<int64_t>(sizeof(S)));
    S *w = space.as<S>(), *turned = w + count * right;
    S* part = a_.row(p + 1) + end;
    multiply_into<S>(w, right, count, right, below, {v_.row(p) + p + 1, v_.stride, 1, true},
                     {part, a_.stride}, 1, 0);
    multiply_into<S>(turned, right, count, right, count, {t_.data(), 1, panel_, true}, {w, right}, 1, 0);
    multiply_into<S>(part, a_.stride, below, right, count, {v_.row(p) + p + 1, 1, v_.stride}, {turned, right},
                     -1, 1);
  }

  const PaddedMatrix<S> y_, lines_;
  std::vector<S> t_, f_;
};

// One after the other, where panels gain nothing.
template <class S>
void reduce_few(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v) {
  S sums[kFewRows<S>];
  for (int64_t k = 0; k + 2 < n; ++k) {
    S* x = v.row(k);
    for (int64_t i = k + 1; i < n; ++i) x[i] = a.row(i)[k];
    const Reflection<S> r = find_reflection(x + k + 1, n - k - 1);
    tau[k] = r.tau;
    a.row(k + 1)[k] = r.beta;
    for (int64_t i = k + 2; i < n; ++i) a.row(i)[k] = S{0};
    std::fill(sums, sums + n, S{0});
    for (int64_t i = k + 1; i < n; ++i)
      for (int64_t j = k + 1; j < n; ++j) sums[j] += conj(x[i]) * a.row(i)[j];
    for (int64_t i = k + 1; i < n; ++i) {
      const S f = r.tau * x[i];
      for (int64_t j = k + 1; j < n; ++j) a.row(i)[j] -= f * sums[j];
    }
    for (int64_t i = 0; i < n; ++i) {
      S sum{0};
      for (int64_t j = k + 1; j < n; ++j) sum += a.row(i)[j] * x[j];
      sum = r.tau * sum;
      for (int64_t j = k + 1; j < n; ++j) a.row(i)[j] -= sum * conj(x[j]);
    }
  }
}

}  // namespace

template <class S>
void to_hessenberg(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v) {
  if (n <= kFewRows<S>)
    reduce_few(a, n, tau, v);
  else
    Reduction<S>(a, n, tau, v).run();
}
template void to_hessenberg<float>(const PaddedMatrix<float>&, int64_t, float*, const PaddedMatrix<float>&);
template void to_hessenberg<double>(const PaddedMatrix<double>&, int64_t, double*,
                                    const PaddedMatrix<double>&);
template void to_hessenberg<C>(const PaddedMatrix<C>&, int64_t, float*, const PaddedMatrix<C>&);
template void to_hessenberg<Z>(const PaddedMatrix<Z>&, int64_t, double*, const PaddedMatrix<Z>&);

}  // namespace mlx::core::cpu
