// Reflections to a Hessenberg matrix, QR steps to Schur form, whose eigenvectors come by substitution: those
// of many eigenvalues at a time, rows in blocks, so that most of it is products of matrices.
#include "mlx/cpu/linalg/eig_real.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mlx/cpu/linalg/hessenberg.h"
#include "mlx/cpu/linalg/schur.h"
#include "mlx/cpu/linalg/wy.h"

namespace mlx::core::cpu {
namespace {

template <class T>
class Substitution {
 public:
  Substitution(const PaddedMatrix<T>& s, int64_t n, const RealEigen<T>& values) : s_(s), n_(n), w_(values) {
    T norm = 0;
    for (int64_t i = 0; i < n; ++i) {
      T sum = 0;
      for (int64_t j = std::max<int64_t>(0, i - 1); j < n; ++j) sum += std::abs(s.row(i)[j]);
      norm = std::max(norm, sum);
    }
    least_ = std::max(std::numeric_limits<T>::epsilon() * norm, std::numeric_limits<T>::min());
  }

  // Rows k of `out`, k < n, become the products of the vectors of S with the rows of z.
  void run(const PaddedMatrix<T>& z, const PaddedMatrix<T>& out) const {
    std::vector<int64_t> borders{0};
    while (borders.back() < n_) {
      int64_t next = std::min(n_, borders.back() + kPanel);
      if (next < n_ && w_.im[next] < 0) ++next;
      borders.push_back(next);
    }
    const auto panels = static_cast<int64_t>(borders.size()) - 1;
    // Those with the most work first.
    parallel_for(panels, [&](int64_t i) {
      const int64_t begin = borders[panels - 1 - i], end = borders[panels - i];
      const PaddedMatrix<T> x(end, end - begin);
      panel(x, begin, end);
      multiply_into<T>(out.row(begin), out.stride, end - begin, n_, end, {x.row(0), 1, x.stride},
                       {z.row(0), z.stride}, 1, 0);
    });
  }

 private:
  static constexpr int64_t kPanel = 64, kRows = 32;
  static constexpr T kLarge = sizeof(T) == 4 ? T(1e12) : T(1e100);

  T at(int64_t i, int64_t j) const { return s_.row(i)[j]; }
  bool lower_of_pair(int64_t i) const { return w_.im[i] < 0; }

  // Columns of x: what is right of the equations, and where they are solved, solutions.
  void panel(const PaddedMatrix<T>& x, int64_t first, int64_t last) const {
    const int64_t width = last - first;
    for (int64_t end = last; end > 0;) {
      int64_t begin = std::max<int64_t>(0, end - kRows);
      if (begin > 0 && lower_of_pair(begin)) --begin;
      for (int64_t i = end - 1; i >= begin; --i) {
        const bool pair = lower_of_pair(i);
        if (pair) --i;
        const int64_t rows = pair ? 2 : 1;
        for (int64_t k = std::max(first, i); k < last; ++k) {
          const bool complex = w_.im[k] != 0;
          if (k == i)
            start(x, i, k - first);
          else if (rows == 1)
            complex ? one_complex(x, i, k, k - first) : one(x, i, k, k - first);
          else
            complex ? two_complex(x, i, k, k - first) : two(x, i, k, k - first);
          if (complex) ++k;
        }
        for (int64_t r = begin; r < i; ++r)
          for (int64_t j = i; j < i + rows; ++j) {
            const T f = at(r, j);
            T* to = x.row(r);
            const T* from = x.row(j);
            for (int64_t c = 0; c < width; ++c) to[c] -= f * from[c];
          }
      }
      if (begin > 0)
        multiply_into<T>(x.row(0), x.stride, begin, width, end - begin, {s_.row(0) + begin, s_.stride},
                         {x.row(begin), x.stride}, -1, 1);
      end = begin;
    }
  }

  void start(const PaddedMatrix<T>& x, int64_t i, int64_t c) const {
    if (w_.im[i] == 0) {
      x.row(i)[c] = 1;
    } else if (std::abs(at(i, i + 1)) >= std::abs(at(i + 1, i))) {
      x.row(i)[c] = 1;
      x.row(i + 1)[c + 1] = w_.im[i] / at(i, i + 1);
    } else {
      x.row(i)[c] = -w_.im[i] / at(i + 1, i);
      x.row(i + 1)[c + 1] = 1;
    }
  }
  void one(const PaddedMatrix<T>& x, int64_t i, int64_t k, int64_t c) const {
    T gap = at(i, i) - w_.re[k];
    if (std::abs(gap) < least_) gap = least_;
    keep_small(x, c, 1, std::abs(x.row(i)[c] /= gap));
  }
  void one_complex(const PaddedMatrix<T>& x, int64_t i, int64_t k, int64_t c) const {
    T *p = x.row(i) + c, re = at(i, i) - w_.re[k], im = -w_.im[k];
    if (std::abs(re) + std::abs(im) < least_) re = least_, im = 0;
    divide(p[0], p[1], re, im);
    keep_small(x, c, 2, std::abs(p[0]) + std::abs(p[1]));
  }
  // Elements on the diagonal of a block are equal, those beside it differ in sign: the determinant does not
  // cancel.
  void two(const PaddedMatrix<T>& x, int64_t i, int64_t k, int64_t c) const {
    const T a = at(i, i) - w_.re[k], b = at(i, i + 1), d = at(i + 1, i + 1) - w_.re[k], e = at(i + 1, i);
    const T determinant = std::max(a * d - b * e, least_ * least_);
    T &p = x.row(i)[c], &q = x.row(i + 1)[c];
    const T u = (d * p - b * q) / determinant, v = (a * q - e * p) / determinant;
    p = u;
    q = v;
    keep_small(x, c, 1, std::abs(u) + std::abs(v));
  }
  void two_complex(const PaddedMatrix<T>& x, int64_t i, int64_t k, int64_t c) const {
    const T a = at(i, i) - w_.re[k], im = -w_.im[k], b = at(i, i + 1), d = at(i + 1, i + 1) - w_.re[k],
            e = at(i + 1, i);
    T det_re = a * d - im * im - b * e, det_im = im * (a + d);
    const T floor = least_ * std::max(least_, std::abs(a) + std::abs(im) + std::abs(b) + std::abs(e));
    if (std::abs(det_re) + std::abs(det_im) < floor) det_re = floor, det_im = 0;
    T *p = x.row(i) + c, *q = x.row(i + 1) + c;
    T u_re = d * p[0] - im * p[1] - b * q[0], u_im = d * p[1] + im * p[0] - b * q[1];
    T v_re = a * q[0] - im * q[1] - e * p[0], v_im = a * q[1] + im * q[0] - e * p[1];
    divide(u_re, u_im, det_re, det_im);
    divide(v_re, v_im, det_re, det_im);
    p[0] = u_re, p[1] = u_im, q[0] = v_re, q[1] = v_im;
    keep_small(x, c, 2, std::abs(u_re) + std::abs(u_im) + std::abs(v_re) + std::abs(v_im));
  }
  static void divide(T& re, T& im, T by_re, T by_im) {
    const T scale = 1 / std::max(std::abs(by_re), std::abs(by_im)), c = by_re * scale, s = by_im * scale,
            f = scale / (c * c + s * s), x = (re * c + im * s) * f;
    im = (im * c - re * s) * f;
    re = x;
  }
  // Of vectors of any length: columns that would overflow are made shorter.
  static void keep_small(const PaddedMatrix<T>& x, int64_t column, int64_t count, T size) {
    if (!(size > kLarge)) return;
    const int64_t rows = x.rows;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = column; c < column + count; ++c) x.row(i)[c] /= size;
  }

  const PaddedMatrix<T>& s_;
  const int64_t n_;
  const RealEigen<T>& w_;
  T least_;
};

}  // namespace

template <class T>
RealEigen<T> real_eigen(const PaddedMatrix<T>& a, int64_t n, const PaddedMatrix<T>* vectors) {
  const PaddedMatrix<T> v(n, n), q(vectors ? n : 0, n);
  std::vector<T> tau(n);
  to_hessenberg(a, n, tau.data(), v);
  if (vectors) {
    for (int64_t i = 0; i < n; ++i) q.row(i)[i] = 1;
    apply_product(q.row(0), q.stride, n, n, v.row(0), v.stride, tau.data(), std::max<int64_t>(0, n - 2), 1,
                  true);
  }
  to_schur_form(a, n, vectors ? &q : nullptr);
  RealEigen<T> out{std::vector<T>(n), std::vector<T>(n)};
  for (int64_t i = 0; i < n; ++i) {
    out.re[i] = a.row(i)[i];
    if (i + 1 < n && a.row(i + 1)[i] != 0) {
      out.re[i + 1] = a.row(i + 1)[i + 1];
      out.im[i] = imaginary_part(a, i);
      out.im[i + 1] = -out.im[i];
      ++i;
    }
  }
  if (vectors) Substitution<T>(a, n, out).run(q, *vectors);
  return out;
}
template RealEigen<float> real_eigen(const PaddedMatrix<float>&, int64_t, const PaddedMatrix<float>*);
template RealEigen<double> real_eigen(const PaddedMatrix<double>&, int64_t, const PaddedMatrix<double>*);

}  // namespace mlx::core::cpu
