// svd: values in double, vectors in the type of the matrix. Reflections to a bidiagonal matrix, then QR steps
// with implicit shifts (G. Golub, C. Reinsch, "Singular value decomposition and least squares solutions",
// 1970).
#include "mlx/cpu/linalg/svd.h"

#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/linalg/bidiagonal.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/linalg/qr.h"
#include "mlx/cpu/linalg/rotations.h"
#include "mlx/cpu/linalg/tridiagonal.h"
#include "mlx/cpu/linalg/wy.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kDivided = 80;  // columns from which on dividing is faster

// Of S, whose vectors are worked on in S; Work: what the matrix is reduced in.
template <class S, class Work>
class Decomposition {
  using T = Real<S>;
  using R = Real<Work>;

 public:
  // The matrix is m x n, m >= n, and used up.
  Decomposition(const PaddedMatrix<Work>& a, int64_t m, int64_t n, bool vectors)
      : m_(m),
        n_(n),
        d_(n),
        e_(n),
        tau_left_(n),
        tau_right_(n),
        turn_left_(m, Work{1}),
        turn_right_(n, Work{1}),
        left_(n, m),
        right_(n, n) {
    bidiagonalize(a);
    if (vectors && n >= kDivided) {
      divide();
      return;
    }
    if (vectors) {
      u_.emplace(m, m);
      v_.emplace(n, n);
      accumulate(*u_, m, n, 0, tau_left_.data(), left_);
      accumulate(*v_, n, n - 1, 1, tau_right_.data(), right_);
      turn(*u_, m, turn_left_);
      turn(*v_, n, turn_right_);
    }
    if (!vectors && sizeof(R) == 4)
      values_of_squares();
    else
      iterate(vectors);
  }
  const std::vector<double>& values() const { return d_; }
  const PaddedMatrix<S>& left() const { return *u_; }  // a vector is a row
  const PaddedMatrix<S>& right() const { return *v_; }

 private:
  // Step k clears column k below the diagonal and row k right of the superdiagonal. What the reflection of
  // row k does to the rows below is done as step k + 1 reads them. Numbers of modulus 1 make a complex matrix
  // a real bidiagonal one.
  void bidiagonalize(const PaddedMatrix<Work>& a) {
    const auto& kernels = panels<Work>();
    const PaddedMatrix<Work> lines(3, m_);
    Work *w = lines.row(0), *z = lines.row(1), *before = lines.row(2);  // that reflection, conjugated
    for (int64_t k = 0; k < n_; ++k) {
      Work *v = left_.row(k), *u = right_.row(k), *row = a.row(k);
      for (int64_t i = k; i < m_; ++i) v[i] = k > 0 ? a.row(i)[k] - z[i] * before[k] : a.row(i)[k];
      const Reflection<Work> l = find_reflection(v + k, m_ - k);
      d_[k] = become_real(l.beta, turn_right_[k], turn_left_[k]);
      tau_left_[k] = l.tau;
      const int64_t right = n_ - k - 1, at = PaddedMatrix<Work>::even(k + 1), length = a.stride - at;
      if (right == 0) continue;
      const int64_t grain = std::max<int64_t>(32, (1 << 17) / kParts<Work> / (m_ - k) / 32 * 32);
      parallel_ranges(length, grain, [&](int64_t begin, int64_t end) {
        const int64_t first = at + begin;
        kernels.combine(a.row(k) + first, a.stride, m_ - k, end - begin, k > 0 ? z + k : nullptr,
                        before + first, v + k, true, w + first);
      });
      for (int64_t j = k + 1; j < n_; ++j) w[j] = l.tau * w[j];
      for (int64_t j = k + 1; j < n_; ++j) u[j] = conj(row[j] - w[j]);
      const Reflection<Work> r = find_reflection(u + k + 1, right);
      e_[k] = become_real(r.beta, turn_left_[k], turn_right_[k + 1]);
      tau_right_[k] = r.tau;
      parallel_ranges(m_ - k - 1, std::max<int64_t>(4, (1 << 17) / kParts<Work> / right / 4 * 4),
                      [&](int64_t begin, int64_t end) {
                        begin += k + 1;
                        end += k + 1;
                        kernels.update(a.row(begin) + at, a.stride, end - begin, v + begin, w + at, nullptr,
                                       nullptr, u + at, length, z + begin);
                        for (int64_t i = begin; i < end; ++i) z[i] = r.tau * z[i];
                      });
      for (int64_t j = at; j < n_; ++j) before[j] = conj(u[j]);
    }
  }
  // A real number instead of beta; the vector on one side takes the factor, of which the other has `known`.
  static double become_real(Work beta, [[maybe_unused]] Work known, [[maybe_unused]] Work& factor) {
    if constexpr (kComplex<Work>) {
      const Z x = convert<Z>(beta) * convert<Z>(known);
      const double modulus = size(x);
      factor = modulus > 0 ? convert<Work>((1 / modulus) * x) : Work{1};
      return modulus;
    } else {
      return beta;
    }
  }
  static void turn(const PaddedMatrix<S>& rows, int64_t n, const std::vector<Work>& factors) {
    if constexpr (kComplex<S>)
      for (int64_t i = 0; i < n; ++i) {
        const S f = convert<S>(factors[i]);
        for (int64_t j = 0; j < n; ++j) rows.row(i)[j] = f * rows.row(i)[j];
      }
  }

  void divide() {
    u_.emplace(m_, m_);
    v_.emplace(n_ + 1, n_ + 1);
    if constexpr (kComplex<S>) {
      const PaddedMatrix<T> u(n_, n_), v(n_ + 1, n_ + 1);
      d_ = bidiagonal_vectors(d_, e_, u, v);
      const auto take = [&](const PaddedMatrix<T>& from, const std::vector<Work>& factors,
                            const PaddedMatrix<S>& to) {
        for (int64_t i = 0; i < n_; ++i)
          for (int64_t j = 0; j < n_; ++j) to.row(i)[j] = from.row(i)[j] * convert<S>(factors[j]);
      };
      take(u, turn_left_, *u_);
      take(v, turn_right_, *v_);
    } else {
      d_ = bidiagonal_vectors(d_, e_, *u_, *v_);
    }
    for (int64_t i = n_; i < m_; ++i) u_->row(i)[i] = S{1};
    turn_back(*u_, m_, n_, 0, tau_left_, left_);
    turn_back(*v_, n_, n_ - 1, 1, tau_right_, right_);
    normalize(*u_, m_);
    normalize(*v_, n_);
  }
  static void turn_back(const PaddedMatrix<S>& z, int64_t n, int64_t k, int64_t offset,
                        const std::vector<R>& tau, const PaddedMatrix<Work>& vectors) {
    const PaddedMatrix<S> v(k, n);
    std::vector<T> factors(tau.begin(), tau.end());
    for (int64_t i = 0; i < k; ++i) convert_line(vectors.row(i), n, v.row(i));
    apply_product(z.row(0), z.stride, n, n, v.row(0), v.stride, factors.data(), k, offset, false);
  }

  // Roots of the eigenvalues of B^T B, whose steps need no roots. In double those are right to 1e-8 of the
  // largest, where B itself is known to float.
  void values_of_squares() {
    Tridiagonal t{std::vector<double>(n_), std::vector<double>(n_)};
    for (int64_t i = 0; i < n_; ++i) {
      t.d[i] = d_[i] * d_[i] + (i > 0 ? e_[i - 1] * e_[i - 1] : 0);
      t.e[i] = d_[i] * e_[i];
    }
    d_ = tridiagonal_values(std::move(t), kFine<double>);
    for (double& x : d_) x = std::sqrt(std::max(x, 0.0));
  }

  void iterate(bool vectors) {
    Rotations<T> left(vectors ? &*u_ : nullptr, n_), right(vectors ? &*v_ : nullptr, n_);
    BidiagonalSteps steps(d_.data(), e_.data(), n_);
    apply_while<T>(
        [&] {
          while (!steps.done()) {
            steps.advance(left, right);
            if (right.full()) return true;
          }
          return false;
        },
        {&left, &right});
    if (vectors) {
      normalize(*u_, m_);
      normalize(*v_, n_);
    }
    for (int64_t i = 0; i < n_; ++i)
      if (std::signbit(d_[i])) {
        d_[i] = -d_[i];
        if (vectors)
          for (int64_t j = 0; j < v_->stride; ++j) v_->row(i)[j] = -v_->row(i)[j];
      }
  }

  int64_t m_, n_;
  std::vector<double> d_, e_;
  std::vector<R> tau_left_, tau_right_;
  std::vector<Work> turn_left_, turn_right_;
  PaddedMatrix<Work> left_, right_;  // reflections
  std::optional<PaddedMatrix<S>> u_, v_;
};

// Vector order[j] becomes column j.
template <class S>
void put_columns(const PaddedMatrix<S>& vectors, int64_t length, const std::vector<int64_t>& order, S* out) {
  const auto count = static_cast<int64_t>(order.size());
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < count; first += kTile)
    for (int64_t i = 0; i < length; ++i)
      for (int64_t j = first; j < std::min(count, first + kTile); ++j)
        out[i * count + j] = vectors.row(order[j])[i];
}
// Its conjugate becomes row j.
template <class S>
void put_rows(const PaddedMatrix<S>& vectors, int64_t length, const std::vector<int64_t>& order, S* out) {
  for (size_t j = 0; j < order.size(); ++j)
    for (int64_t i = 0; i < length; ++i)
      out[static_cast<int64_t>(j) * length + i] = conj(vectors.row(order[j])[i]);
}

void run_svd(const linalg::SVD& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1), k = std::min(m, n);
  if (a.size() == 0) {  // vectors of an empty matrix: any basis
    for (size_t which = 0; which < outputs.size(); which += 2) {
      array& out = outputs[which];
      const int64_t size = out.ndim() > 0 ? out.shape(-1) : 0;
      if (!p.vectors || out.size() == 0) continue;
      dispatch_all(out.dtype(), [&]<class T>() {
        for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i)
          out.data<T>()[i] = cast_to<T>(i / size % size == i % size ? 1 : 0);
      });
    }
    return;
  }
  each_matrix(a, 16, [&]<class S>(int64_t i) {
    array& values = outputs[p.vectors ? 1 : 0];
    singular_values("linalg.svd", a.data<S>() + i * m * n, m, n,
                    p.vectors ? outputs[0].data<S>() + i * m * m : nullptr, values.data<Real<S>>() + i * k,
                    p.vectors ? outputs[2].data<S>() + i * n * n : nullptr);
  });
}

// n x m of a matrix of m x n. Of a long one A = Q R, that of R times Q^H: the vectors beside are not needed.
template <class S>
void pseudoinverse(const S* a, int64_t m, int64_t n, S* out) {
  using T = Real<S>;
  const int64_t k = std::min(m, n), rows = std::max(m, n);
  const bool wide = m < n, thin = 2 * rows >= 3 * k;
  const int64_t p = thin ? k : m, q = thin ? k : n;  // of the matrix that is decomposed
  Workspace space((rows * k * 2 + p * p + q * q + p * q + k) * static_cast<int64_t>(sizeof(S)));
  S *across = space.as<S>(), *orthogonal = across + rows * k, *u = orthogonal + rows * k, *vt = u + p * p,
    *r = vt + q * q;
  T* s = reals(r + p * q);
  if (!std::isfinite(largest_modulus(a, m * n)))
    throw invalid("linalg.pinv", "the matrix has an element that is not finite");
  if (thin) {
    if (wide)  // of A^H
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) across[j * m + i] = conj(a[i * n + j]);
    qr_factors(wide ? across : a, rows, k, orthogonal, r);
  }
  singular_values("linalg.pinv", thin ? r : a, p, q, u, s, vt);
  const T least = 10 * static_cast<T>(rows) * std::numeric_limits<T>::epsilon() * s[0];
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < kParts<S> * q; ++j) {
      T& x = reals(vt + i * q)[j];
      x = s[i] > least ? x / s[i] : T{0};
    }
  if (!thin) return multiply_into<S>(out, m, n, m, k, {vt, 1, n, true}, {u, 1, m, true}, 1, 0);
  multiply_into<S>(r, k, k, k, k, {vt, 1, k, true}, {u, 1, k, true}, 1, 0);
  if (wide)
    multiply_into<S>(out, m, n, m, k, {orthogonal, k}, {r, 1, k, true}, 1, 0);
  else
    multiply_into<S>(out, m, n, m, k, {r, k}, {orthogonal, 1, k, true}, 1, 0);
}

void run_pseudoinverse(const linalg::PseudoInverse&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1);
  each_matrix(a, 16, [&]<class S>(int64_t i) {
    pseudoinverse(a.data<S>() + i * m * n, m, n, out.data<S>() + i * n * m);
  });
}

template <class S, class Work>
void singular_values_in(const S* in, int64_t m, int64_t n, int exponent, S* u, Real<S>* s, S* vt) {
  const bool wide = m < n;  // A^H = V S U^H
  const int64_t rows = std::max(m, n), k = std::min(m, n);
  const PaddedMatrix<Work> a(rows, k);
  const PowerOfTwo scale(-exponent);
  if (wide) {
    std::vector<Work> line(n);
    for (int64_t i = 0; i < m; ++i) {
      scale(reals(in + i * n), kParts<S> * n, reals(line.data()));
      for (int64_t j = 0; j < n; ++j) a.row(j)[i] = conj(line[j]);
    }
  } else {
    for (int64_t i = 0; i < m; ++i) scale(reals(in + i * n), kParts<S> * n, reals(a.row(i)));
  }
  const Decomposition<S, Work> result(a, rows, k, u != nullptr);
  const std::vector<double>& w = result.values();
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + k, [&](int64_t i, int64_t j) { return w[i] > w[j]; });
  for (int64_t j = 0; j < k; ++j) s[j] = static_cast<Real<S>>(std::ldexp(w[order[j]], exponent));
  if (!u) return;
  const std::vector<int64_t> short_order(order.begin(), order.begin() + k);
  if (wide) {
    put_columns(result.right(), k, short_order, u);
    put_rows(result.left(), rows, order, vt);
  } else {
    put_columns(result.left(), rows, order, u);
    put_rows(result.right(), k, short_order, vt);
  }
}

const bool registered = kernels(Device::cpu).add<linalg::SVD>(run_svd) &&
                        kernels(Device::cpu).add<linalg::PseudoInverse>(run_pseudoinverse);

}  // namespace

template <class S>
void singular_values(const char* op, const S* in, int64_t m, int64_t n, S* u, Real<S>* s, S* vt) {
  const double largest = largest_modulus(in, m * n);
  if (!std::isfinite(largest)) throw invalid(op, "the matrix has an element that is not finite: ", largest);
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<S>(std::min(m, n),
                     [&]<class Work>() { singular_values_in<S, Work>(in, m, n, exponent, u, s, vt); });
}
template void singular_values<float>(const char*, const float*, int64_t, int64_t, float*, float*, float*);
template void singular_values<double>(const char*, const double*, int64_t, int64_t, double*, double*,
                                      double*);
template void singular_values<C>(const char*, const C*, int64_t, int64_t, C*, float*, C*);

}  // namespace mlx::core::cpu
