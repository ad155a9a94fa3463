// Eigenvalues in double, and vectors in the type of the matrix, of symmetric matrices: reflections to a
// tridiagonal matrix, then QL steps with implicit shifts (Bowdler, Martin, Reinsch, Wilkinson, "The QR and QL
// algorithms for symmetric matrices", 1968).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/linalg/complex.h"
#include "mlx/cpu/linalg/rotations.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

// Vectors are worked on in T.
template <class T>
class Decomposition {
 public:
  // The matrix is n x n and finite; `a` is used up.
  Decomposition(const PaddedMatrix<double>& a, int64_t n, bool vectors)
      : n_(n), d_(n), e_(n), tau_(n), v_(n, n) {
    tridiagonalize(a);
    if (vectors) {
      z_.emplace(n, n);
      accumulate(*z_, n, n - 1, 1, tau_.data(), v_);
    }
    iterate();
  }
  // Of a tridiagonal matrix, times n rows that are filled by `fill`, where vectors are wanted.
  template <class F>
  Decomposition(std::vector<double> d, std::vector<double> e, int64_t length, F&& fill)
      : n_(static_cast<int64_t>(d.size())), d_(std::move(d)), e_(std::move(e)) {
    if (length > 0) {
      z_.emplace(n_, length);
      fill(*z_);
    }
    iterate();
  }
  const std::vector<double>& values() const { return d_; }
  const T* vector(int64_t j) const { return z_->row(j); }

 private:
  void iterate() {
    const bool vectors = z_.has_value();
    Rotations<T> rotations(vectors ? &*z_ : nullptr, n_);
    apply_while<T>(
        [&] {
          while (l_ < n_) {
            step(rotations);
            if (rotations.full()) return true;
          }
          return false;
        },
        {&rotations});
    if (vectors) normalize(*z_, n_);
  }

  // Reflection k clears column k below the subdiagonal. With p = tau A v, A <- A - v w^T - w v^T,
  // w = p - (tau / 2) (p . v) v; the rows of A are read once for that and for the next p.
  void tridiagonalize(const PaddedMatrix<double>& a) {
    const FactorKernels<double>& kernels = factor<double>();
    const PaddedMatrix<double> sums(2, n_);
    double *p = sums.row(0), *w = sums.row(1);
    const double* before = nullptr;
    for (int64_t k = 0; k < n_; ++k) {
      double* row = a.row(k);
      if (before) {  // what the reflection before does to this row
        for (int64_t j = k; j < n_; ++j) row[j] -= before[k] * w[j] + w[k] * before[j];
      }
      d_[k] = row[k];
      const int64_t below = n_ - k - 1, at = PaddedMatrix<double>::even(k + 1), length = a.stride - at;
      if (below == 0) break;
      double* v = v_.row(k);
      std::copy(row + k + 1, row + n_, v + k + 1);
      const Reflection r = find_reflection(v + k + 1, below);
      e_[k] = r.beta;
      tau_[k] = r.tau;
      parallel_ranges(below, std::max<int64_t>(4, (1 << 17) / below / 4 * 4),
                      [&](int64_t begin, int64_t end) {
                        begin += k + 1;
                        end += k + 1;
                        double* some = a.row(begin) + at;
                        if (before)
                          kernels.update(some, a.stride, end - begin, before + begin, w + at, w + begin,
                                         before + at, v + at, length, p + begin);
                        else
                          for (int64_t i = begin; i < end; ++i)
                            p[i] = kernels.dot(a.row(i) + at, v + at, length);
                      });
      for (int64_t i = k + 1; i < n_; ++i) p[i] *= r.tau;
      const double half = 0.5 * r.tau * kernels.dot(v + at, p + at, length);
      w[k] = 0;
      for (int64_t i = k + 1; i < n_; ++i) w[i] = p[i] - half * v[i];
      before = v;
    }
  }

  // A QL step, or on to the next eigenvalue where the subdiagonal element beside this one is negligible.
  void step(Rotations<T>& rotations) {
    constexpr double eps = std::numeric_limits<double>::epsilon();
    const int64_t l = l_;
    int64_t m = l;
    while (m + 1 < n_ && std::abs(e_[m]) > eps * (std::abs(d_[m]) + std::abs(d_[m + 1]))) ++m;
    if (m == l) {
      ++l_;
      steps_ = 0;
      return;
    }
    if (++steps_ > 100) throw std::runtime_error("[linalg.eigh] the iteration did not converge");
    double g = (d_[l + 1] - d_[l]) / (2 * e_[l]);
    g = d_[m] - d_[l] + e_[l] / (g + std::copysign(std::hypot(g, 1.0), g));
    double s = 1, c = 1, p = 0;
    for (int64_t i = m - 1; i >= l; --i) {
      const double f = s * e_[i], b = c * e_[i], r = std::sqrt(f * f + g * g);
      e_[i + 1] = r;
      if (r == 0) {  // the matrix falls into two parts here
        d_[i + 1] -= p;
        e_[m] = 0;
        return;
      }
      s = f / r;
      c = g / r;
      g = d_[i + 1] - p;
      const double t = (d_[i] - g) * s + 2 * c * b;
      p = s * t;
      d_[i + 1] = g + p;
      g = c * t - b;
      rotations.add(i, c, s);
    }
    d_[l] -= p;
    e_[l] = g;
    e_[m] = 0;
  }

  int64_t n_, l_ = 0;
  int steps_ = 0;
  std::vector<double> d_, e_, tau_;
  PaddedMatrix<double> v_{0, 0};
  std::optional<PaddedMatrix<T>> z_;
};

template <class T>
void decompose(const T* in, int64_t n, T* values, T* vectors) {
  double largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n * n; ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(in[i])));
    finite = finite && std::isfinite(in[i]);
  }
  if (!finite) {
    std::fill(values, values + n, std::numeric_limits<T>::quiet_NaN());
    if (vectors) std::fill(vectors, vectors + n * n, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  const PowerOfTwo scale(-exponent);
  const PaddedMatrix<double> a(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) a.row(i)[j] = scale(in[i * n + j]);
  const Decomposition<T> result(a, n, vectors != nullptr);
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const auto& w = result.values();
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return w[i] < w[j]; });
  for (int64_t j = 0; j < n; ++j) values[j] = static_cast<T>(std::ldexp(w[order[j]], exponent));
  if (!vectors) return;
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < n; first += kTile)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = first; j < std::min(n, first + kTile); ++j)
        vectors[i * n + j] = static_cast<T>(result.vector(order[j])[i]);
}

// A Hermitian matrix: complex reflections make it tridiagonal, and factors of modulus 1 real.
void decompose(const complex64_t* in, int64_t n, float* values, complex64_t* vectors) {
  double largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n * n; ++i) {
    largest = std::max({largest, std::abs(double{in[i].real()}), std::abs(double{in[i].imag()})});
    finite = finite && std::isfinite(in[i].real()) && std::isfinite(in[i].imag());
  }
  if (!finite) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    std::fill(values, values + n, nan);
    if (vectors) std::fill(vectors, vectors + n * n, complex64_t(nan, nan));
    return;
  }
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  const PowerOfTwo scale(-exponent);
  std::vector<Z> a(n * n), q(vectors ? n * n : 0);
  for (int64_t i = 0; i < n * n; ++i) a[i] = {scale(in[i].real()), scale(in[i].imag())};
  for (int64_t i = 0; i < n; ++i) a[i * n + i].im = 0;
  for (size_t i = 0; i < q.size(); i += n + 1) q[i].re = 1;
  std::vector<double> d(n), e(n);
  std::vector<Z> v(n), p(n), w(n), turn(n, Z{1, 0});
  for (int64_t k = 0; k < n; ++k) {
    d[k] = a[k * n + k].re;
    if (k + 1 == n) break;
    double rest = 0;
    for (int64_t i = k + 1; i < n; ++i) {
      v[i] = a[i * n + k];
      if (i > k + 1) rest += squared(v[i]);
    }
    const double first = size(v[k + 1]), length = std::sqrt(squared(v[k + 1]) + rest);
    const Z direction = first > 0 ? (1 / first) * v[k + 1] : Z{1, 0};
    e[k] = rest == 0 ? first : length;
    turn[k + 1] = turn[k] * (rest == 0 ? direction : -1.0 * direction);
    if (rest == 0) continue;
    v[k + 1] = v[k + 1] + length * direction;
    const double factor = 1 / (length * (length + first));  // 2 / |v|^2
    double half = 0;
    for (int64_t i = k + 1; i < n; ++i) {
      Z sum;
      for (int64_t j = k + 1; j < n; ++j) sum = sum + a[i * n + j] * v[j];
      p[i] = factor * sum;
      half += 0.5 * factor * (conj(v[i]) * p[i]).re;
    }
    for (int64_t i = k + 1; i < n; ++i) w[i] = p[i] - half * v[i];
    for (int64_t i = k + 1; i < n; ++i)
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] = a[i * n + j] - v[i] * conj(w[j]) - w[i] * conj(v[j]);
    if (!vectors) continue;
    std::fill(p.begin(), p.end(), Z{});
    for (int64_t j = k + 1; j < n; ++j)  // row j of q is column j of the product of reflections
      for (int64_t i = 0; i < n; ++i) p[i] = p[i] + v[j] * q[j * n + i];
    for (int64_t j = k + 1; j < n; ++j) {
      const Z f = factor * conj(v[j]);
      for (int64_t i = 0; i < n; ++i) q[j * n + i] = q[j * n + i] - f * p[i];
    }
  }
  const Decomposition<float> result(std::move(d), std::move(e), vectors ? 2 * n : 0,
                                    [&](const PaddedMatrix<float>& z) {
                                      for (int64_t j = 0; j < n; ++j)
                                        for (int64_t i = 0; i < n; ++i) {
                                          const Z x = turn[j] * q[j * n + i];
                                          z.row(j)[2 * i] = static_cast<float>(x.re);
                                          z.row(j)[2 * i + 1] = static_cast<float>(x.im);
                                        }
                                    });
  const auto& found = result.values();
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return found[i] < found[j]; });
  for (int64_t j = 0; j < n; ++j) {
    values[j] = static_cast<float>(std::ldexp(found[order[j]], exponent));
    if (!vectors) continue;
    const float* x = result.vector(order[j]);
    for (int64_t i = 0; i < n; ++i) vectors[i * n + j] = complex64_t(x[2 * i], x[2 * i + 1]);
  }
}

void eigh(const linalg::Eigh& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) return;
  parallel_for(static_cast<int64_t>(a.size()) / (n * n), [&](int64_t i) {
    const auto one = [&]<class T>(T) {
      decompose(a.data<T>() + i * n * n, n, outputs[0].data<T>() + i * n,
                p.vectors ? outputs[1].data<T>() + i * n * n : nullptr);
    };
    if (a.dtype() == complex64)
      decompose(a.data<complex64_t>() + i * n * n, n, outputs[0].data<float>() + i * n,
                p.vectors ? outputs[1].data<complex64_t>() + i * n * n : nullptr);
    else
      a.dtype() == float64 ? one(double{}) : one(float{});
  });
}

const bool registered = kernels(Device::cpu).add<linalg::Eigh>(eigh);

}  // namespace
}  // namespace mlx::core::cpu
