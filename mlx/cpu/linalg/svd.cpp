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
#include "mlx/cpu/linalg/complex.h"
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

// Vectors are worked on in T.
template <class T, class Work>
class Decomposition {
 public:
  // The matrix is m x n, m >= n, and used up.
  Decomposition(const PaddedMatrix<Work>& a, int64_t m, int64_t n, bool vectors)
      : m_(m), n_(n), d_(n), e_(n), tau_left_(n), tau_right_(n), left_(n, m), right_(n, n) {
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
    }
    if (!vectors && sizeof(Work) == 4)
      values_of_squares();
    else
      iterate(vectors);
  }
  // Of a bidiagonal matrix with vectors that `fill` writes, of twice as many reals, where they are wanted.
  template <class F>
  Decomposition(std::vector<double> d, std::vector<double> e, int64_t m, bool vectors, F&& fill)
      : m_(m), n_(static_cast<int64_t>(d.size())), d_(std::move(d)), e_(std::move(e)) {
    if (vectors) {
      u_.emplace(m_, 2 * m_);
      v_.emplace(n_, 2 * n_);
      fill(*u_, *v_);
    }
    iterate(vectors);
  }
  const std::vector<double>& values() const { return d_; }
  const PaddedMatrix<T>& left() const { return *u_; }  // a vector is a row
  const PaddedMatrix<T>& right() const { return *v_; }

 private:
  // Step k clears column k below the diagonal and row k right of the superdiagonal. What the reflection of
  // row k does to the rows below is done as step k + 1 reads them.
  void bidiagonalize(const PaddedMatrix<Work>& a) {
    const FactorKernels<Work>& kernels = factor<Work>();
    const PaddedMatrix<Work> sums(2, m_);
    Work *w = sums.row(0), *z = sums.row(1);
    const Work* before = nullptr;  // the vector of that reflection
    for (int64_t k = 0; k < n_; ++k) {
      Work *v = left_.row(k), *u = right_.row(k), *row = a.row(k);
      for (int64_t i = k; i < m_; ++i) v[i] = a.row(i)[k] - (before ? z[i] * before[k] : 0);
      const Reflection<Work> l = find_reflection(v + k, m_ - k);
      d_[k] = l.beta;
      tau_left_[k] = l.tau;
      const int64_t right = n_ - k - 1, at = PaddedMatrix<Work>::even(k + 1), length = a.stride - at;
      if (right == 0) continue;
      parallel_ranges(
          length, std::max<int64_t>(32, (1 << 17) / (m_ - k) / 32 * 32), [&](int64_t begin, int64_t end) {
            const int64_t first = at + begin;
            kernels.combine(a.row(k) + first, a.stride, m_ - k, end - begin, before ? z + k : nullptr,
                            before ? before + first : nullptr, v + k, w + first);
          });
      for (int64_t j = k + 1; j < n_; ++j) w[j] *= l.tau;
      for (int64_t j = k + 1; j < n_; ++j) u[j] = row[j] - w[j];
      const Reflection<Work> r = find_reflection(u + k + 1, right);
      e_[k] = r.beta;
      tau_right_[k] = r.tau;
      parallel_ranges(m_ - k - 1, std::max<int64_t>(4, (1 << 17) / right / 4 * 4),
                      [&](int64_t begin, int64_t end) {
                        begin += k + 1;
                        end += k + 1;
                        kernels.update(a.row(begin) + at, a.stride, end - begin, v + begin, w + at, nullptr,
                                       nullptr, u + at, length, z + begin);
                        for (int64_t i = begin; i < end; ++i) z[i] *= r.tau;
                      });
      before = u;
    }
  }

  void divide() {
    u_.emplace(m_, m_);
    v_.emplace(n_ + 1, n_ + 1);
    d_ = bidiagonal_vectors(d_, e_, *u_, *v_);
    for (int64_t i = n_; i < m_; ++i) u_->row(i)[i] = 1;
    turn_back(*u_, m_, n_, 0, tau_left_, left_);
    turn_back(*v_, n_, n_ - 1, 1, tau_right_, right_);
    normalize(*u_, m_);
    normalize(*v_, n_);
  }
  static void turn_back(const PaddedMatrix<T>& z, int64_t n, int64_t k, int64_t offset,
                        const std::vector<Work>& tau, const PaddedMatrix<Work>& vectors) {
    const PaddedMatrix<T> v(k, n);
    std::vector<T> factors(tau.begin(), tau.end());
    for (int64_t i = 0; i < k; ++i) std::copy(vectors.row(i), vectors.row(i) + n, v.row(i));
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
  std::vector<Work> tau_left_, tau_right_;
  PaddedMatrix<Work> left_{0, 0}, right_{0, 0};  // reflections
  std::optional<PaddedMatrix<T>> u_, v_;
};

// Vector order[j] becomes column j.
template <class T>
void put_columns(const PaddedMatrix<T>& vectors, int64_t length, const std::vector<int64_t>& order, T* out) {
  const auto count = static_cast<int64_t>(order.size());
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < count; first += kTile)
    for (int64_t i = 0; i < length; ++i)
      for (int64_t j = first; j < std::min(count, first + kTile); ++j)
        out[i * count + j] = static_cast<T>(vectors.row(order[j])[i]);
}
template <class T>
void put_rows(const PaddedMatrix<T>& vectors, int64_t length, const std::vector<int64_t>& order, T* out) {
  for (size_t j = 0; j < order.size(); ++j)
    for (int64_t i = 0; i < length; ++i)
      out[static_cast<int64_t>(j) * length + i] = static_cast<T>(vectors.row(order[j])[i]);
}

// A complex matrix: reflections make it bidiagonal, and factors of modulus 1 real. A wide one is A^H = V S
// U^H.
void complex_singular_values(const complex64_t* in, int64_t m, int64_t n, complex64_t* u, float* s,
                             complex64_t* vt) {
  const bool wide = m < n;
  const int64_t rows = std::max(m, n), k = std::min(m, n);
  const float largest = largest_modulus(reinterpret_cast<const float*>(in), 2 * m * n);
  if (!std::isfinite(largest)) throw invalid("linalg.svd", "the matrix has an element that is not finite");
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  const PowerOfTwo scale(-exponent);
  std::vector<Z> a(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const Z x{scale(in[i * n + j].real()), scale(in[i * n + j].imag())};
      a[wide ? j * k + i : i * k + j] = wide ? conj(x) : x;
    }
  // Row c of each: the vector of reflection c.
  const PaddedMatrix<Z> left_vectors(k, rows), right_vectors(k, k);
  std::vector<double> d(k), e(k), left_tau(k), right_tau(k);
  std::vector<Z> sums(k), turn_left(rows, Z{1, 0}), turn_right(k, Z{1, 0});
  const auto phase = [](Z x) { return roughly(x) == 0 ? Z{1, 0} : (1 / size(x)) * x; };
  for (int64_t c = 0; c < k; ++c) {
    Z *v = left_vectors.row(c), *w = right_vectors.row(c);
    for (int64_t i = c; i < rows; ++i) v[i] = a[i * k + c];
    const Reflection<Z> l = find_reflection(v + c, rows - c);
    left_tau[c] = l.tau;
    if (l.tau != 0) {
      std::fill(sums.begin(), sums.end(), Z{});
      for (int64_t i = c; i < rows; ++i)
        for (int64_t j = c + 1; j < k; ++j) sums[j] += conj(v[i]) * a[i * k + j];
      for (int64_t i = c; i < rows; ++i) {
        const Z f = l.tau * v[i];
        for (int64_t j = c + 1; j < k; ++j) a[i * k + j] -= f * sums[j];
      }
    }
    d[c] = size(l.beta);
    turn_left[c] = phase(l.beta * turn_right[c]);
    if (c + 1 == k) break;
    for (int64_t j = c + 1; j < k; ++j) w[j] = conj(a[c * k + j]);
    const Reflection<Z> r = find_reflection(w + c + 1, k - c - 1);
    right_tau[c] = r.tau;
    if (r.tau != 0) {
      for (int64_t i = c + 1; i < rows; ++i) {
        Z sum;
        for (int64_t j = c + 1; j < k; ++j) sum = sum + a[i * k + j] * w[j];
        sum = r.tau * sum;
        for (int64_t j = c + 1; j < k; ++j) a[i * k + j] -= sum * conj(w[j]);
      }
    }
    e[c] = size(r.beta);
    turn_right[c + 1] = turn_left[c] * phase(r.beta);
  }
  const auto put = [](const PaddedMatrix<Z>& vectors, const std::vector<double>& tau, int64_t count,
                      int64_t offset, const std::vector<Z>& turn, int64_t n, const PaddedMatrix<float>& to) {
    const PaddedMatrix<Z> q(n, n);  // rows are columns of the product of reflections
    for (int64_t j = 0; j < n; ++j) q.row(j)[j].re = 1;
    apply_product(q.row(0), q.stride, n, n, vectors.row(0), vectors.stride, tau.data(), count, offset, true);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < n; ++i) {
        const Z x = turn[j] * q.row(j)[i];
        to.row(j)[2 * i] = static_cast<float>(x.re);
        to.row(j)[2 * i + 1] = static_cast<float>(x.im);
      }
  };
  const Decomposition<float, double> result(std::move(d), std::move(e), rows, u != nullptr,
                                            [&](const PaddedMatrix<float>& x, const PaddedMatrix<float>& y) {
                                              put(left_vectors, left_tau, k, 0, turn_left, rows, x);
                                              put(right_vectors, right_tau, k - 1, 1, turn_right, k, y);
                                            });
  const std::vector<double>& found = result.values();
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + k,
                   [&](int64_t i, int64_t j) { return found[i] > found[j]; });
  for (int64_t j = 0; j < k; ++j) s[j] = static_cast<float>(std::ldexp(found[order[j]], exponent));
  if (!u) return;
  const PaddedMatrix<float>&of_u = wide ? result.right() : result.left(),
        &of_v = wide ? result.left() : result.right();
  for (int64_t j = 0; j < m; ++j)
    for (int64_t i = 0; i < m; ++i)
      u[i * m + j] = complex64_t(of_u.row(order[j])[2 * i], of_u.row(order[j])[2 * i + 1]);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i)
      vt[j * n + i] = complex64_t(of_v.row(order[j])[2 * i], -of_v.row(order[j])[2 * i + 1]);
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
  if (a.dtype() == complex64)
    return parallel_for(static_cast<int64_t>(a.size()) / (m * n), [&](int64_t i) {
      complex_singular_values(a.data<complex64_t>() + i * m * n, m, n,
                              p.vectors ? outputs[0].data<complex64_t>() + i * m * m : nullptr,
                              outputs[p.vectors ? 1 : 0].data<float>() + i * k,
                              p.vectors ? outputs[2].data<complex64_t>() + i * n * n : nullptr);
    });
  each_matrix(a, 16, [&]<class T>(int64_t i) {
    array& values = outputs[p.vectors ? 1 : 0];
    singular_values("linalg.svd", a.data<T>() + i * m * n, m, n,
                    p.vectors ? outputs[0].data<T>() + i * m * m : nullptr, values.data<T>() + i * k,
                    p.vectors ? outputs[2].data<T>() + i * n * n : nullptr);
  });
}

// n x m of a matrix of m x n. Of a long one A = Q R, that of R times Q^T: the vectors beside are not needed.
template <class T>
void pseudoinverse(const T* a, int64_t m, int64_t n, T* out) {
  const int64_t k = std::min(m, n), rows = std::max(m, n);
  const bool wide = m < n, thin = 2 * rows >= 3 * k;
  const int64_t p = thin ? k : m, q = thin ? k : n;  // of the matrix that is decomposed
  Workspace space((rows * k * 2 + p * p + q * q + p * q + k) * static_cast<int64_t>(sizeof(T)));
  T *across = space.as<T>(), *orthogonal = across + rows * k, *u = orthogonal + rows * k, *vt = u + p * p,
    *r = vt + q * q, *s = r + p * q;
  if (!std::isfinite(largest_modulus(a, m * n)))
    throw invalid("linalg.pinv", "the matrix has an element that is not finite");
  if (thin) {
    if (wide)  // of A^T
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) across[j * m + i] = a[i * n + j];
    qr_factors(wide ? across : a, rows, k, orthogonal, r);
  }
  singular_values("linalg.pinv", thin ? r : a, p, q, u, s, vt);
  const T least = 10 * static_cast<T>(rows) * std::numeric_limits<T>::epsilon() * s[0];
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < q; ++j) vt[i * q + j] = s[i] > least ? vt[i * q + j] / s[i] : T{0};
  if (!thin) return multiply_into<T>(out, m, n, m, k, {vt, 1, n}, {u, 1, m}, 1, 0);
  multiply_into<T>(r, k, k, k, k, {vt, 1, k}, {u, 1, k}, 1, 0);
  if (wide)
    multiply_into<T>(out, m, n, m, k, {orthogonal, k}, {r, 1, k}, 1, 0);
  else
    multiply_into<T>(out, m, n, m, k, {r, k}, {orthogonal, 1, k}, 1, 0);
}

void run_pseudoinverse(const linalg::PseudoInverse&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1);
  each_matrix(a, 16, [&]<class T>(int64_t i) {
    pseudoinverse(a.data<T>() + i * m * n, m, n, out.data<T>() + i * n * m);
  });
}

template <class T, class Work>
void singular_values_in(const T* in, int64_t m, int64_t n, int exponent, T* u, T* s, T* vt) {
  const bool wide = m < n;  // A^T = V S U^T
  const int64_t rows = std::max(m, n), k = std::min(m, n);
  const PaddedMatrix<Work> a(rows, k);
  const PowerOfTwo scale(-exponent);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      a.row(wide ? j : i)[wide ? i : j] = static_cast<Work>(scale(double{in[i * n + j]}));
  const Decomposition<T, Work> result(a, rows, k, u != nullptr);
  const std::vector<double>& w = result.values();
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + k, [&](int64_t i, int64_t j) { return w[i] > w[j]; });
  for (int64_t j = 0; j < k; ++j) s[j] = static_cast<T>(std::ldexp(w[order[j]], exponent));
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

template <class T>
void singular_values(const char* op, const T* in, int64_t m, int64_t n, T* u, T* s, T* vt) {
  const double largest = largest_modulus(in, m * n);
  if (!std::isfinite(largest)) throw invalid(op, "the matrix has an element that is not finite: ", largest);
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<T>(std::min(m, n),
                     [&]<class Work>() { singular_values_in<T, Work>(in, m, n, exponent, u, s, vt); });
}
template void singular_values<float>(const char*, const float*, int64_t, int64_t, float*, float*, float*);
template void singular_values<double>(const char*, const double*, int64_t, int64_t, double*, double*,
                                      double*);

}  // namespace mlx::core::cpu
