// What the reductions in panels share: reflections whose effect on the rest waits for the end of a panel.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// out[i] = row i of a . x; n elements are a multiple of 64 bytes. `conjugated`: rows of a.
template <class T>
void row_products(const T* a, int64_t stride, int64_t rows, const T* x, int64_t n, T* out,
                  [[maybe_unused]] bool conjugated = false) {
  factor<T>().dots(a, stride, rows, x, n, out);
}
template <class T>
void row_products(const Complex<T>* a, int64_t stride, int64_t rows, const Complex<T>* x, int64_t n,
                  Complex<T>* out, bool conjugated = false) {
  // Of real rows, with what gives real parts and with what gives imaginary ones.
  constexpr int64_t kTogether = 4;
  Workspace space(2 * n * static_cast<int64_t>(sizeof(Complex<T>)));
  auto *re = space.as<Complex<T>>(), *im = re + n;
  const T sign = conjugated ? -1 : 1;
  for (int64_t i = 0; i < n; ++i) {
    re[i] = {x[i].re, -sign * x[i].im};
    im[i] = {x[i].im, sign * x[i].re};
  }
  T parts[2 * kTogether];
  for (int64_t i = 0; i < rows; i += kTogether) {
    const int64_t some = std::min(kTogether, rows - i);
    const T* from = &a[i * stride].re;
    factor<T>().dots(from, 2 * stride, some, &re->re, 2 * n, parts);
    factor<T>().dots(from, 2 * stride, some, &im->re, 2 * n, parts + kTogether);
    for (int64_t r = 0; r < some; ++r) out[i + r] = {parts[r], parts[kTogether + r]};
  }
}

// sum[c] = sum_l f[l] rows[l][c]; the rows are not changed.
template <class T>
void combine_rows(const T* rows, int64_t stride, int64_t count, int64_t columns, const T* f, T* sum) {
  factor<T>().combine(const_cast<T*>(rows), stride, count, columns, nullptr, nullptr, f, sum);
}
template <class T>
void combine_rows(const Complex<T>* rows, int64_t stride, int64_t count, int64_t columns, const Complex<T>* f,
                  Complex<T>* sum) {
  Workspace space((2 * count + 2 * columns) * static_cast<int64_t>(sizeof(T)));
  T *turned = space.as<T>(), *re = turned + 2 * columns, *im = re + count;
  for (int64_t l = 0; l < count; ++l) re[l] = f[l].re, im[l] = f[l].im;
  combine_rows(&rows->re, 2 * stride, count, 2 * columns, re, &sum->re);
  combine_rows(&rows->re, 2 * stride, count, 2 * columns, im, turned);
  for (int64_t c = 0; c < columns; ++c) {
    sum[c].re -= turned[2 * c + 1];
    sum[c].im += turned[2 * c];
  }
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
