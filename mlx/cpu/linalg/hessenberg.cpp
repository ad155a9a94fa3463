// In panels (G. Quintana-Orti, R. van de Geijn, "Improving the performance of reduction to Hessenberg form",
// 2006; LAPACK's dgehrd): with Y = A V T the reflections of a panel make A - Y V^T from the right, and
// 1 - V T^T V^T from the left; both wait for the end of the panel, where they are products of matrices.
#include "mlx/cpu/linalg/hessenberg.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/panel.h"

namespace mlx::core::cpu {
namespace {

template <class T>
class Reduction : PanelReduction<T> {
  using PanelReduction<T>::a_, PanelReduction<T>::v_, PanelReduction<T>::n_, PanelReduction<T>::panel_,
      PanelReduction<T>::tau_, PanelReduction<T>::subtract;

 public:
  Reduction(const PaddedMatrix<T>& a, int64_t n, T* tau, const PaddedMatrix<T>& v)
      : PanelReduction<T>(a, n, tau, v), y_(panel_, n), lines_(2, n), t_(panel_ * panel_), f_(2 * panel_) {}

  void run() {
    for (int64_t p = 0; p + 2 < n_; p += panel_) {
      const int64_t end = std::min(n_ - 2, p + panel_);
      std::fill(t_.begin(), t_.end(), T{0});
      for (int64_t k = p; k < end; ++k) column(p, k);
      update(p, end);
    }
  }

 private:
  void column(int64_t p, int64_t k) {
    const int64_t known = k - p, at = PaddedMatrix<T>::even(p + 1), length = a_.stride - at;
    T *x = lines_.row(0), *f = f_.data(), *g = f + panel_;
    for (int64_t i = 0; i < n_; ++i) x[i] = a_.row(i)[k];
    if (known > 0) {
      for (int64_t m = 0; m < known; ++m) f[m] = v_.row(p + m)[k];
      subtract(x, y_.row(0), y_.stride, known, f, 0, lines_.row(1));
      factor<T>().dots(v_.row(p) + at, v_.stride, known, x + at, length, f);
      for (int64_t m = 0; m < known; ++m) {
        g[m] = 0;
        for (int64_t l = 0; l <= m; ++l) g[m] += t_[l * panel_ + m] * f[l];
      }
      subtract(x, v_.row(p), v_.stride, known, g, at, lines_.row(1));
    }
    const Reflection<T> r = find_reflection(x + k + 1, n_ - k - 1);
    T* v = v_.row(k);
    std::copy(x + k + 1, x + n_, v + k + 1);
    tau_[k] = r.tau;
    for (int64_t i = 0; i <= k; ++i) a_.row(i)[k] = x[i];
    a_.row(k + 1)[k] = r.beta;
    for (int64_t i = k + 2; i < n_; ++i) a_.row(i)[k] = 0;

    T* y = y_.row(known);
    const int64_t from = PaddedMatrix<T>::even(k + 1), width = a_.stride - from;
    parallel_ranges(n_, std::max<int64_t>(4, (1 << 17) / width / 4 * 4), [&](int64_t begin, int64_t end) {
      factor<T>().dots(a_.row(begin) + from, a_.stride, end - begin, v + from, width, y + begin);
    });
    if (known > 0) {
      factor<T>().dots(v_.row(p) + from, v_.stride, known, v + from, width, f);
      subtract(y, y_.row(0), y_.stride, known, f, 0, lines_.row(1));
      for (int64_t m = 0; m < known; ++m) {
        T sum = 0;
        for (int64_t l = m; l < known; ++l) sum += t_[m * panel_ + l] * f[l];
        t_[m * panel_ + known] = -r.tau * sum;
      }
    }
    for (int64_t i = 0; i < n_; ++i) y[i] *= r.tau;
    t_[known * panel_ + known] = r.tau;
  }

  void update(int64_t p, int64_t end) const {
    const int64_t count = end - p, right = n_ - end, below = n_ - p - 1;
    multiply_into<T>(a_.row(0) + end, a_.stride, n_, right, count, {y_.row(0), 1, y_.stride},
                     {v_.row(p) + end, v_.stride}, -1, 1);
    Workspace space(2 * count * right * static_cast<int64_t>(sizeof(T)));
    T *w = space.as<T>(), *turned = w + count * right;
    T* part = a_.row(p + 1) + end;
    multiply_into<T>(w, right, count, right, below, {v_.row(p) + p + 1, v_.stride}, {part, a_.stride}, 1, 0);
    multiply_into<T>(turned, right, count, right, count, {t_.data(), 1, panel_}, {w, right}, 1, 0);
    multiply_into<T>(part, a_.stride, below, right, count, {v_.row(p) + p + 1, 1, v_.stride}, {turned, right},
                     -1, 1);
  }

  const PaddedMatrix<T> y_, lines_;
  std::vector<T> t_, f_;
};

}  // namespace

template <class T>
void to_hessenberg(const PaddedMatrix<T>& a, int64_t n, T* tau, const PaddedMatrix<T>& v) {
  if (n > 2) Reduction<T>(a, n, tau, v).run();
}
template void to_hessenberg<float>(const PaddedMatrix<float>&, int64_t, float*, const PaddedMatrix<float>&);
template void to_hessenberg<double>(const PaddedMatrix<double>&, int64_t, double*,
                                    const PaddedMatrix<double>&);

}  // namespace mlx::core::cpu
