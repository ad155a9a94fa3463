// QR by Householder reflections. The matrix is worked on column by column, so that a reflection is dot
// products and sums of consecutive elements. Columns are halved until few are left (E. Elmroth, F. Gustavson,
// "Applying recursion to serial and parallel QR factorization", 2000); what the reflections of a half do to
// the columns right of it are matrix products.
#include "mlx/cpu/linalg/qr.h"

#include <algorithm>
#include <cmath>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/householder.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/linalg/wy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kFew = 8;     // columns that are reflected one by one
constexpr int64_t kSmall = 24;  // matrices with fewer columns know no blocks
constexpr int64_t kTile = 16;
constexpr int64_t kRowByRow = 128, kShort = 256;  // columns and rows of what is worked on row by row,
constexpr int64_t kTiny = 4;                      // but for so few columns

// to[j, i] = from[i, j]
template <class T>
void transpose(const T* from, int64_t rows, int64_t columns, T* to) {
  parallel_ranges(
      rows, std::max<int64_t>(kTile, (1 << 16) / columns / kTile * kTile), [&](int64_t begin, int64_t end) {
        factor<T>().transpose(from + begin * columns, columns, end - begin, columns, to + begin, rows);
      });
}

template <class T>
bool below(const T* x, int64_t n) {
  for (int64_t i = 1; i < n; ++i)
    if (x[i] != 0) return true;
  return false;
}
template <class T>
double length(const T* x, int64_t n) {
  const double squares = factor<T>().squares(x, n);
  constexpr double least = sizeof(T) == 4 ? 0 : 1e-280, most = 1e280;
  if (squares > least && squares < most) return std::sqrt(squares);
  if (squares != squares) return squares;
  double largest = 0, sum = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
  for (int64_t i = 0; i < n; ++i) {
    const double ratio = static_cast<double>(x[i]) / largest;
    if (x[i] != 0) sum += ratio * ratio;
  }
  return std::sqrt(sum) * largest;
}
// As find_reflection, of numbers of any size; x[0] is left to the caller.
template <class T>
Reflection<T> exact_reflection(T* x, int64_t n) {
  if (!below(x, n)) return {0, x[0]};
  const double alpha = x[0], beta = -std::copysign(length(x, n), alpha), gap = alpha - beta;
  const T scale = static_cast<T>(1 / gap);
  if (std::isnormal(scale)) {
    for (int64_t i = 1; i < n; ++i) x[i] *= scale;
  } else {
    for (int64_t i = 1; i < n; ++i) x[i] = static_cast<T>(static_cast<double>(x[i]) / gap);
  }
  // (beta - alpha) / beta, but for rounding in the vector.
  return {static_cast<T>(2 / (1 + factor<T>().squares(x + 1, n - 1))), static_cast<T>(beta)};
}

// Of few columns row by row, without sums across vectors. What a reflection does to the rest is done by the
// pass over the rows that begins the next one.
template <class T>
class RowByRow {
 public:
  RowByRow(const T* in, int64_t m, int64_t n, T* r) : m_(m), k_(std::min(m, n)), v_(k_, m), tau_(1, k_) {
    const PaddedMatrix<T> a(m, n), lines(3, std::max(m, n));
    for (int64_t i = 0; i < m; ++i) std::copy(in + i * n, in + (i + 1) * n, a.row(i));
    T *z = lines.row(0), *w = lines.row(1), *next = lines.row(2), *tau = tau_.row(0);
    for (int64_t j = 0; j < k_; ++j) {
      T *v = v_.row(j), *mine = r + j * n;
      for (int64_t i = j; i < m; ++i) v[i] = a.row(i)[j] - z[i] * w[j];
      const Reflection<T> found = exact_reflection(v + j, m - j);
      tau[j] = found.tau;
      v[j] = 1;
      const int64_t at = PaddedMatrix<T>::even(j);
      factor<T>().combine(a.row(j) + at, a.stride, m - j, a.stride - at, z + j, w + at, v + j, next + at);
      std::fill(mine, mine + j, T{0});
      mine[j] = found.beta;
      for (int64_t c = j + 1; c < n; ++c) mine[c] = a.row(j)[c] - found.tau * next[c];
      for (int64_t i = j; i < m; ++i) z[i] = found.tau * v[i];
      std::swap(w, next);
    }
  }

  // The first k columns of the product of the reflections.
  void q(T* out) const {
    const PaddedMatrix<T> q(m_, k_);
    for (int64_t j = 0; j < k_; ++j) q.row(j)[j] = 1;
    reflect_by_rows(q, v_, tau_.row(0), k_, 0, true);
    for (int64_t i = 0; i < m_; ++i) std::copy(q.row(i), q.row(i) + k_, out + i * k_);
  }

 private:
  const int64_t m_, k_;
  const PaddedMatrix<T> v_, tau_;
};

template <class T>
class Factorization {
 public:
  // `in` is row-major, m x n. R goes to `r`, k x n.
  Factorization(const T* in, int64_t m, int64_t n, T* r)
      : m_(m),
        n_(n),
        k_(std::min(m, n)),
        block_(k_ < kSmall ? k_ : kReflections),
        space_((m * n + k_ + (k_ + block_ - 1) / block_ * block_ * block_) * static_cast<int64_t>(sizeof(T))),
        a_(space_.as<T>()),
        tau_(a_ + m * n),
        t_(tau_ + k_),
        r_(r) {
    transpose(in, m, n, a_);
    if (k_ < kSmall) {
      small();
    } else {
      for (int64_t p = 0; p < k_; p += block_) {
        const int64_t count = std::min(block_, k_ - p);
        panel(p, count, triangle(p));
        reflect_rows(column(p + count) + p, m_, n_ - p - count, m_ - p, column(p) + p, m_, count, triangle(p),
                     block_, true);
      }
    }
    for (int64_t j = k_; j < n_; ++j) keep(j);
  }

  // The first k columns of the product of the reflections, row-major.
  void q(T* out) const {
    Workspace space(m_ * k_ * static_cast<int64_t>(sizeof(T)));
    T* q = space.as<T>();
    std::fill(q, q + m_ * k_, T{0});
    for (int64_t j = 0; j < k_; ++j) q[j * m_ + j] = 1;
    if (k_ < kSmall) {
      // Reflections further down leave unit vectors alone.
      for (int64_t j = k_ - 1; j >= 0; --j) apply(j, q + j * m_, k_ - j);
    } else {
      for (int64_t p = (k_ - 1) / block_ * block_; p >= 0; p -= block_)
        reflect_rows(q + p * m_ + p, m_, k_ - p, m_ - p, column(p) + p, m_, std::min(block_, k_ - p),
                     triangle(p), block_, false);
    }
    transpose(q, k_, m_, out);
  }

 private:
  T* column(int64_t j) const { return a_ + j * m_; }
  T* triangle(int64_t p) const { return t_ + p * block_; }

  void small() {
    for (int64_t j = 0; j < k_; ++j) {
      find(j);
      apply(j, column(j + 1), n_ - j - 1);
    }
  }

  // Columns [p, p + count), whose elements from row p on are what reflections before have left, and the
  // triangle T of their reflections.
  void panel(int64_t p, int64_t count, T* t) {
    if (count <= kFew) {
      for (int64_t j = p; j < p + count; ++j) {
        find(j);
        apply(j, column(j + 1), p + count - j - 1);
      }
      T own[kFew * kFew];
      block_triangle(column(p) + p, m_, count, m_ - p, tau_ + p, own);
      for (int64_t i = 0; i < count; ++i) std::copy(own + i * count, own + (i + 1) * count, t + i * block_);
      return;
    }
    const int64_t half = count / 2, rest = count - half;
    panel(p, half, t);
    reflect_rows(column(p + half) + p, m_, rest, m_ - p, column(p) + p, m_, half, t, block_, true);
    T* corner = t + half * block_ + half;
    panel(p + half, rest, corner);
    // -T1 (V1^T V2) T2
    T middle[kReflections * kReflections], product[kReflections * kReflections];
    const int64_t from = p + half;
    multiply_into<T>(middle, rest, half, rest, m_ - from, {column(p) + from, m_},
                     {column(from) + from, 1, m_}, 1, 0);
    multiply_into<T>(product, rest, half, rest, half, {t, block_}, {middle, rest}, 1, 0);
    multiply_into<T>(t + half, block_, half, rest, rest, {product, rest}, {corner, block_}, -1, 0);
    for (int64_t i = half; i < count; ++i) std::fill(t + i * block_, t + i * block_ + half, T{0});
  }

  // What column j has of R.
  void keep(int64_t j) const {
    const int64_t end = std::min(j + 1, k_);
    for (int64_t i = 0; i < end; ++i) r_[i * n_ + j] = column(j)[i];
    for (int64_t i = end; i < k_; ++i) r_[i * n_ + j] = 0;
  }

  // Reflection j, and what column j has of R; the vector, zero before row j, takes the column's place.
  void find(int64_t j) {
    T* x = column(j) + j;
    const Reflection<T> r = exact_reflection(x, m_ - j);
    tau_[j] = r.tau;
    x[0] = r.beta;
    keep(j);
    std::fill(column(j), x, T{0});
    x[0] = 1;
  }

  // Reflection j of columns with m elements.
  void apply(int64_t j, T* columns, int64_t count) const {
    if (tau_[j] != 0 && count > 0) reflect(column(j) + j, m_ - j, tau_[j], columns + j, m_, count);
  }

  int64_t m_, n_, k_, block_;
  Workspace space_;
  T *a_, *tau_, *t_, *r_;
};

void qr(const linalg::QR&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1), k = std::min(m, n);
  if (a.size() == 0) return;
  each_matrix(a, 2, [&]<class T>(int64_t i) {
    qr_factors(a.data<T>() + i * m * n, m, n, outputs[0].data<T>() + i * m * k,
               outputs[1].data<T>() + i * k * n);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::QR>(qr);

}  // namespace
template <class T>
void qr_factors(const T* a, int64_t m, int64_t n, T* q, T* r) {
  if (n > kTiny && std::min(m, n) <= kRowByRow && std::max(m, n) <= kShort)
    RowByRow<T>(a, m, n, r).q(q);
  else
    Factorization<T>(a, m, n, r).q(q);
}
template void qr_factors<float>(const float*, int64_t, int64_t, float*, float*);
template void qr_factors<double>(const double*, int64_t, int64_t, double*, double*);

}  // namespace mlx::core::cpu
