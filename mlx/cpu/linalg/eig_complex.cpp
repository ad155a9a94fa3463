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

template <class T>
class Substitution {
  using S = Complex<T>;

 public:
  Substitution(const PaddedMatrix<S>& s, int64_t n) : n_(n), re_(n, n), im_(n, n) {
    T norm = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i; j < n; ++j) {
        const S x = s.row(i)[j];
        re_.row(i)[j] = x.re;
        im_.row(i)[j] = x.im;
        norm = std::max(norm, roughly(x));
      }
    least_ = std::max(std::numeric_limits<T>::epsilon() * norm, std::numeric_limits<T>::min());
  }

  // Rows k of `out` become the products of the vectors of S with the rows of z.
  void run(const PaddedMatrix<S>& z, const PaddedMatrix<S>& out) const {
    // Those with the most work first.
    const int64_t panels = (n_ + kPanel - 1) / kPanel;
    parallel_for(panels, [&](int64_t i) {
      const int64_t begin = (panels - 1 - i) * kPanel, end = std::min(n_, begin + kPanel);
      const PaddedMatrix<S> y(end - begin, end);
      const PaddedMatrix<T> parts(2, end);
      for (int64_t k = begin; k < end; ++k) one(k, parts.row(0), parts.row(1), y.row(k - begin));
      if (n_ <= kFewRows<S>) {
        for (int64_t k = 0; k < n_; ++k)
          combine_rows(z.row(0), z.stride, k + 1, z.stride, y.row(k), out.row(k));
        return;
      }
      multiply_into<S>(out.row(begin), out.stride, end - begin, n_, end, {y.row(0), y.stride},
                       {z.row(0), z.stride}, 1, 0);
    });
  }

 private:
  static constexpr int64_t kPanel = 64;
  static constexpr T kLarge = sizeof(T) == 4 ? T(1e12) : T(1e100);

  S value(int64_t i) const { return {re_.row(i)[i], im_.row(i)[i]}; }
  void one(int64_t k, T* x, T* y, S* out) const {
    const auto dot = real_vectors<T>().dot;
    x[k] = 1;
    y[k] = 0;
    for (int64_t i = k - 1; i >= 0; --i) {
      const int64_t at = i + 1, count = k - i;
      const T *a = re_.row(i) + at, *b = im_.row(i) + at;
      const S sum{dot(a, x + at, count) - dot(b, y + at, count),
                  dot(a, y + at, count) + dot(b, x + at, count)};
      S gap = value(k) - value(i);
      if (roughly(gap) <= least_) gap = {least_, 0};
      const S found = sum / gap;
      x[i] = found.re;
      y[i] = found.im;
      if (const T large = roughly(found); large > kLarge)
        for (int64_t j = i; j <= k; ++j) x[j] /= large, y[j] /= large;
    }
    for (int64_t i = 0; i <= k; ++i) out[i] = {x[i], y[i]};
  }

  const int64_t n_;
  const PaddedMatrix<T> re_, im_;
  T least_;
};

}  // namespace

template <class T>
std::vector<Complex<T>> complex_eigen(const PaddedMatrix<Complex<T>>& a, int64_t n,
                                      const PaddedMatrix<Complex<T>>* vectors) {
  using S = Complex<T>;
  const PaddedMatrix<S> v(n, n), q(vectors ? n : 0, n);
  std::vector<T> tau(n);
  to_hessenberg(a, n, tau.data(), v);
  if (vectors) {
    for (int64_t i = 0; i < n; ++i) q.row(i)[i].re = 1;
    apply_product(q.row(0), q.stride, n, n, v.row(0), v.stride, tau.data(), std::max<int64_t>(0, n - 2), 1,
                  true);
  }
  to_triangle<T>(a, n, vectors ? &q : nullptr);
  std::vector<S> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = a.row(i)[i];
  if (vectors) Substitution<T>(a, n).run(q, *vectors);
  return values;
}
template std::vector<C> complex_eigen<float>(const PaddedMatrix<C>&, int64_t, const PaddedMatrix<C>*);
template std::vector<Z> complex_eigen<double>(const PaddedMatrix<Z>&, int64_t, const PaddedMatrix<Z>*);

}  // namespace mlx::core::cpu
