// What the reductions in panels share: reflections whose effect on the rest waits for the end of a panel.
#pragma once

#include <cstdint>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

template <class T>
class PanelReduction {
 protected:
  // Reflection k has factor tau[k] and vector v.row(k).
  PanelReduction(const PaddedMatrix<T>& a, int64_t n, T* tau, const PaddedMatrix<T>& v)
      : a_(a), v_(v), n_(n), panel_(n <= 256 ? 16 : 32), tau_(tau) {}

  // x <- x - sum_l f_l row_l, from element `from` on. What is combined is not changed; `sum` is scratch.
  void subtract(T* x, const T* rows, int64_t stride, int64_t count, const T* f, int64_t from, T* sum) const {
    factor<T>().combine(const_cast<T*>(rows) + from, stride, count, v_.stride - from, nullptr, nullptr, f,
                        sum + from);
    for (int64_t i = from; i < n_; ++i) x[i] -= sum[i];
  }

  const PaddedMatrix<T>&a_, &v_;
  const int64_t n_, panel_;
  T* tau_;
};

}  // namespace mlx::core::cpu
