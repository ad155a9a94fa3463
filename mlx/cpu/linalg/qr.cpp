// QR by Householder reflections. The matrix is worked on column by column, so that a reflection is dot
// products and sums of consecutive elements. Columns are halved until few are left (E. Elmroth, F. Gustavson,
// "Applying recursion to serial and parallel QR factorization", 2000); what the reflections of a half do to
// the columns right of it are matrix products.
#include "mlx/cpu/linalg/qr.h"

#include <algorithm>
#include <cmath>

#include "mlx/cpu/copy.h"
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
constexpr int64_t kTiny = 4;                      // but for so few real columns

// to[j, i] = from[i, j]
template <class S>
void transpose(const S* from, int64_t rows, int64_t columns, S* to) {
  using Whole = std::conditional_t<kComplex<S>, double, S>;  // a complex number is moved as one
  static_assert(sizeof(Whole) == sizeof(S));
  parallel_ranges(
      rows, std::max<int64_t>(kTile, (1 << 16) / columns / kTile * kTile), [&](int64_t begin, int64_t end) {
        real_vectors<Whole>().transpose(reinterpret_cast<const Whole*>(from + begin * columns), columns,
                                        end - begin, columns, reinterpret_cast<Whole*>(to + begin), rows);
      });
}

template <class S>
bool below(const S* x, int64_t n) {
  for (int64_t i = kParts<S>; i < kParts<S> * n; ++i)
    if (reals(x)[i] != 0) return true;
  return false;
}
template <class T>
double length(const T* x, int64_t n) {
  const double squares = real_vectors<T>().squares(x, n);
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
// As find_reflection, of numbers of any size; x[0] is left to the caller. Elements on R's diagonal are to be
// real: `turn` is the factor of modulus 1 that the column of Q takes over, and its row of R gives away.
template <class S>
struct ExactReflection {
  Real<S> tau;
  Real<S> beta;
  S turn;
};
template <class S>
ExactReflection<S> exact_reflection(S* x, int64_t n) {
  using T = Real<S>;
  using Double = std::conditional_t<kComplex<S>, Z, double>;
  const Double alpha = convert<Double>(x[0]);
  double modulus = 0;
  Double direction{1};
  if constexpr (kComplex<S>) {
    modulus = std::sqrt(squared(alpha));  // which fit into a double
    if (modulus > 0) direction = {alpha.re / modulus, alpha.im / modulus};
  } else {
    modulus = std::abs(alpha);
    direction = alpha < 0 ? -1 : 1;
  }
  // beta is -length times the direction: a real number of the other sign than alpha's real part.
  const double sign = real_part(direction) < 0 ? -1 : 1;
  S turn{1};
  if constexpr (kComplex<S>) turn = convert<S>(sign * direction);
  if (!below(x, n)) return {0, static_cast<T>(sign * modulus), turn};
  const double all = length(reals(x), kParts<S> * n);
  const Double scale = Double{1} / ((modulus + all) * direction);
  if constexpr (kComplex<S>) {
    for (int64_t i = 1; i < n; ++i) x[i] = convert<S>(convert<Double>(x[i]) * scale);
  } else if (const T narrow = static_cast<T>(scale); std::isnormal(narrow)) {
    for (int64_t i = 1; i < n; ++i) x[i] *= narrow;
  } else {
    for (int64_t i = 1; i < n; ++i)
      x[i] = static_cast<T>(static_cast<double>(x[i]) / ((modulus + all) * direction));
  }
  // (beta - alpha) / beta, but for rounding in the vector.
  const double squares = real_vectors<T>().squares(reals(x + 1), kParts<S> * (n - 1));
  return {static_cast<T>(2 / (1 + squares)), static_cast<T>(-sign * all), turn};
}

// Of few columns row by row, without sums across vectors. What a reflection does to the rest is done by the
// pass over the rows that begins the next one.
template <class S>
class RowByRow {
 public:
  RowByRow(const S* in, int64_t m, int64_t n, S* r)
      : m_(m), k_(std::min(m, n)), v_(k_ + 3, m), turn_(v_.row(k_)), tau_(reals(v_.row(k_ + 1))) {
    const PaddedMatrix<S> a(m + 2, n);
    for (int64_t i = 0; i < m; ++i) std::copy(in + i * n, in + (i + 1) * n, a.row(i));
    S *z = v_.row(k_ + 2), *w = a.row(m), *next = a.row(m + 1);
    for (int64_t j = 0; j < k_; ++j) {
      S *v = v_.row(j), *mine = r + j * n;
      for (int64_t i = j; i < m; ++i) v[i] = a.row(i)[j] - z[i] * w[j];
      const ExactReflection<S> found = exact_reflection(v + j, m - j);
      tau_[j] = found.tau;
      turn_[j] = found.turn;
      v[j] = S{1};
      const int64_t at = PaddedMatrix<S>::even(j);
      panels<S>().combine(a.row(j) + at, a.stride, m - j, a.stride - at, z + j, w + at, v + j, true,
                          next + at);
      std::fill(mine, mine + j, S{0});
      mine[j] = S{found.beta};
      for (int64_t c = j + 1; c < n; ++c) mine[c] = conj(found.turn) * (a.row(j)[c] - found.tau * next[c]);
      for (int64_t i = j; i < m; ++i) z[i] = found.tau * v[i];
      std::swap(w, next);
    }
  }

  // The first k columns of the product of the reflections.
  void q(S* out) const {
    const PaddedMatrix<S> q(m_, k_);
    for (int64_t j = 0; j < k_; ++j) q.row(j)[j] = turn_[j];
    reflect_by_rows(q, v_, tau_, k_, 0, true);
    for (int64_t i = 0; i < m_; ++i) std::copy(q.row(i), q.row(i) + k_, out + i * k_);
  }

 private:
  const int64_t m_, k_;
  const PaddedMatrix<S> v_;  // the vectors, and rows for:
  S* turn_;
  Real<S>* tau_;
};

template <class S>
class Factorization {
 public:
  // `in` is row-major, m x n. R goes to `r`, k x n.
  Factorization(const S* in, int64_t m, int64_t n, S* r)
      : m_(m),
        n_(n),
        k_(std::min(m, n)),
        block_(k_ < kSmall ? k_ : kReflections),
        space_((m * n + 2 * k_ + (k_ + block_ - 1) / block_ * block_ * block_) *
               static_cast<int64_t>(sizeof(S))),
        a_(space_.as<S>()),
        turn_(a_ + m * n),
        t_(turn_ + k_),
        tau_(reals(t_ + (k_ + block_ - 1) / block_ * block_ * block_)),
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
  void q(S* out) const {
    Workspace space(m_ * k_ * static_cast<int64_t>(sizeof(S)));
    S* q = space.as<S>();
    std::fill(q, q + m_ * k_, S{0});
    for (int64_t j = 0; j < k_; ++j) q[j * m_ + j] = turn_[j];
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
  S* column(int64_t j) const { return a_ + j * m_; }
  S* triangle(int64_t p) const { return t_ + p * block_; }

  void small() {
    for (int64_t j = 0; j < k_; ++j) {
      find(j);
      apply(j, column(j + 1), n_ - j - 1);
    }
  }

  // Columns [p, p + count), whose elements from row p on are what reflections before have left, and the
  // triangle T of their reflections.
  void panel(int64_t p, int64_t count, S* t) {
    if (count <= kFew) {
      for (int64_t j = p; j < p + count; ++j) {
        find(j);
        apply(j, column(j + 1), p + count - j - 1);
      }
      S own[kFew * kFew];
      block_triangle(column(p) + p, m_, count, m_ - p, tau_ + p, own);
      for (int64_t i = 0; i < count; ++i) std::copy(own + i * count, own + (i + 1) * count, t + i * block_);
      return;
    }
    const int64_t half = count / 2, rest = count - half;
    panel(p, half, t);
    reflect_rows(column(p + half) + p, m_, rest, m_ - p, column(p) + p, m_, half, t, block_, true);
    S* corner = t + half * block_ + half;
    panel(p + half, rest, corner);
    // -T1 (V1^H V2) T2
    S middle[kReflections * kReflections], product[kReflections * kReflections];
    const int64_t from = p + half;
    multiply_into<S>(middle, rest, half, rest, m_ - from, {column(p) + from, m_, 1, true},
                     {column(from) + from, 1, m_}, 1, 0);
    multiply_into<S>(product, rest, half, rest, half, {t, block_}, {middle, rest}, 1, 0);
    multiply_into<S>(t + half, block_, half, rest, rest, {product, rest}, {corner, block_}, -1, 0);
    for (int64_t i = half; i < count; ++i) std::fill(t + i * block_, t + i * block_ + half, S{0});
  }

  // What column j has of R.
  void keep(int64_t j) const {
    const int64_t end = std::min(j + 1, k_);
    for (int64_t i = 0; i < end; ++i) r_[i * n_ + j] = conj(turn_[i]) * column(j)[i];
    for (int64_t i = end; i < k_; ++i) r_[i * n_ + j] = S{0};
  }

  // Reflection j, and what column j has of R; the vector, zero before row j, takes the column's place.
  void find(int64_t j) {
    S* x = column(j) + j;
    const ExactReflection<S> r = exact_reflection(x, m_ - j);
    tau_[j] = r.tau;
    turn_[j] = r.turn;
    keep(j);
    r_[j * n_ + j] = S{r.beta};
    std::fill(column(j), x, S{0});
    x[0] = S{1};
  }

  // Reflection j of columns with m elements.
  void apply(int64_t j, S* columns, int64_t count) const {
    if (tau_[j] != 0 && count > 0)
      panels<S>().reflect(column(j) + j, m_ - j, tau_[j], columns + j, m_, count);
  }

  int64_t m_, n_, k_, block_;
  Workspace space_;
  S *a_, *turn_, *t_;
  Real<S>* tau_;
  S* r_;
};

void qr(const linalg::QR&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1), k = std::min(m, n);
  if (a.size() == 0) return;
  each_matrix(a, 2, [&]<class S>(int64_t i) {
    qr_factors(a.data<S>() + i * m * n, m, n, outputs[0].data<S>() + i * m * k,
               outputs[1].data<S>() + i * k * n);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::QR>(qr);

}  // namespace
template <class S>
void qr_factors(const S* a, int64_t m, int64_t n, S* q, S* r) {
  if ((n > kTiny || (kComplex<S> && m <= kTile)) && std::min(m, n) <= kRowByRow && std::max(m, n) <= kShort)
    RowByRow<S>(a, m, n, r).q(q);
  else
    Factorization<S>(a, m, n, r).q(q);
}
template void qr_factors<float>(const float*, int64_t, int64_t, float*, float*);
template void qr_factors<C>(const C*, int64_t, int64_t, C*, C*);
template void qr_factors<double>(const double*, int64_t, int64_t, double*, double*);

}  // namespace mlx::core::cpu
