// What the reductions in panels share: reflections whose effect on the rest waits for the end of a panel.
#pragma once

#include <cstdint>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// sum[c] = sum_l f[l] rows[l][c]; the rows are not changed.
template <class S>
void combine_rows(const S* rows, int64_t stride, int64_t count, int64_t columns, const S* f, S* sum) {
  panels<S>().combine(const_cast<S*>(rows), stride, count, columns, nullptr, nullptr, f, false, sum);
}

template <class S>
class PanelReduction {
 protected:
  // Reflection k has factor tau[k] and vector v.row(k).
  PanelReduction(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v)
      : a_(a), v_(v), n_(n), panel_(n <= 256 ? 16 : 32), tau_(tau) {}

  // x <- x - sum_l f_l row_l, from element `from` on; `sum` is scratch.
  void subtract(S* x, const S* rows, int64_t stride, int64_t count, const S* f, int64_t from, S* sum) const {
    combine_rows(rows + from, stride, count, v_.stride - from, f, sum + from);
    for (int64_t i = from; i < n_; ++i) x[i] -= sum[i];
  }

  const PaddedMatrix<S>&a_, &v_;
  const int64_t n_, panel_;
  Real<S>* tau_;
};

}  // namespace mlx::core::cpu
