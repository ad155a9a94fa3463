// Reduction to a tridiagonal matrix in panels (J. Dongarra, S. Hammarling, D. Sorensen, "Block reduction of
// matrices to condensed forms for eigenvalue computations", 1989): what the reflections of a panel do to the
// rest of the matrix is one product of matrices at its end, and the products with vectors that find them read
// one triangle only.
#include "mlx/cpu/linalg/tridiagonal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/panel.h"
#include "mlx/cpu/linalg/wy.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kRowsOfUpdate = 128;
constexpr int64_t kManyRows = 640;  // products with vectors are shared among threads from here on
constexpr int64_t kPieces = 4;

// What is beside the diagonal: its modulus, and the factors of rows that make it real.
template <class S>
void keep_real(const std::vector<S>& beside, Tridiagonal& t, [[maybe_unused]] std::vector<S>* factors) {
  if constexpr (kComplex<S>) {
    Z turn{1, 0};
    factors->assign(beside.size(), S{1});
    for (size_t k = 0; k + 1 < beside.size(); ++k) {
      const Z x = convert<Z>(beside[k]);
      t.e[k] = size(x);
      if (t.e[k] > 0) turn = turn * ((1 / t.e[k]) * x);
      (*factors)[k + 1] = convert<S>(turn);
    }
  } else {
    std::copy(beside.begin(), beside.end(), t.e.begin());
  }
}

template <class S>
class Reduction : PanelReduction<S> {
  using PanelReduction<S>::a_, PanelReduction<S>::v_, PanelReduction<S>::n_, PanelReduction<S>::panel_,
      PanelReduction<S>::tau_, PanelReduction<S>::subtract;

 public:
  Reduction(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v)
      : PanelReduction<S>(a, n, tau, v),
        rows_(3 * panel_, n),
        sums_(kPieces, n),
        line_(3, n),
        t_{std::vector<double>(n), std::vector<double>(n)},
        beside_(n) {}

  Tridiagonal run(std::vector<S>* factors) {
    for (int64_t p = 0; p < n_; p += panel_) {
      const int64_t end = std::min(n_, p + panel_);
      for (int64_t j = p; j < end; ++j) column(p, j);
      if (end < n_) update(end);
    }
    keep_real(beside_, t_, factors);
    return std::move(t_);
  }

 private:
  static int64_t round_down(int64_t i) { return i / kDiagonalBlock<S> * kDiagonalBlock<S>; }

  // A panel's w, v and w again: [w v] and [v w] are matrices.
  S* w(int64_t l) const { return rows_.row(l); }
  S* v(int64_t l) const { return rows_.row(panel_ + l); }

  void column(int64_t p, int64_t j) {
    const int64_t known = j - p, from = round_down(j);
    S *x = line_.row(0), *sum = line_.row(1), *f = line_.row(2);
    for (int64_t i = j; i < n_; ++i) x[i] = a_.row(i)[j];
    if (known > 0) {
      gather(w(0), known, j, f);
      subtract(x, v(0), rows_.stride, known, f, from, sum);
      gather(v(0), known, j, f);
      subtract(x, w(0), rows_.stride, known, f, from, sum);
    }
    t_.d[j] = real_part(x[j]);
    if (j + 1 == n_) return;
    const Reflection<S> r = find_reflection(x + j + 1, n_ - j - 1);
    beside_[j] = r.beta;
    tau_[j] = r.tau;
    S *mine = v(known), *product = w(known);
    std::fill(mine, mine + j + 1, S{0});
    std::copy(x + j + 1, x + n_, mine + j + 1);
    std::copy(mine, mine + v_.stride, v_.row(j));
    const int64_t at = round_down(j + 1), length = a_.stride - at;
    multiply(at, mine, product);
    if (known > 0) {
      panels<S>().dots(w(0) + at, rows_.stride, known, mine + at, length, true, f);
      subtract(product, v(0), rows_.stride, known, f, at, sum);
      panels<S>().dots(v(0) + at, rows_.stride, known, mine + at, length, true, f);
      subtract(product, w(0), rows_.stride, known, f, at, sum);
    }
    S dot;
    panels<S>().dots(mine + at, rows_.stride, 1, product + at, length, true, &dot);
    const auto half = static_cast<Real<S>>(Real<S>(0.5) * r.tau * r.tau * real_part(dot));
    for (int64_t i = j + 1; i < n_; ++i) product[i] = r.tau * product[i] - half * mine[i];
    std::fill(product, product + j + 1, S{0});
    std::copy(product, product + rows_.stride, rows_.row(2 * panel_ + known));
  }

  void gather(const S* rows, int64_t count, int64_t j, S* f) const {
    for (int64_t l = 0; l < count; ++l) f[l] = conj(rows[l * rows_.stride + j]);
  }
  // y = A x, of the rows and columns from `at` on.
  void multiply(int64_t at, const S* x, S* y) const {
    const int64_t end = symmetric_rows<S>(n_), rows = end - at;
    std::fill(y + at, y + rows_.stride, S{0});
    const auto product = panels<S>().hermitian_product;
    if (rows < kManyRows) return product(a_.row(0), a_.stride, at, end, at, x, y);
    parallel_for(kPieces, [&](int64_t piece) {
      // Pieces of equal area.
      const auto border = [&](int64_t i) {
        const double part = std::sqrt(static_cast<double>(i) / static_cast<double>(kPieces));
        return at + round_down(static_cast<int64_t>(part * static_cast<double>(rows)));
      };
      S* part = sums_.row(piece);
      std::fill(part + at, part + sums_.stride, S{0});
      product(a_.row(0), a_.stride, border(piece), piece + 1 == kPieces ? end : border(piece + 1), at, x,
              part);
    });
    for (int64_t piece = 0; piece < kPieces; ++piece)
      for (int64_t i = at; i < n_; ++i) y[i] += sums_.row(piece)[i];
  }

  void update(int64_t from) const {
    for (int64_t begin = from; begin < n_; begin += kRowsOfUpdate) {
      const int64_t end = std::min(n_, begin + kRowsOfUpdate);
      multiply_into<S>(a_.row(begin) + from, a_.stride, end - begin, end - from, 2 * panel_,
                       {v(0) + begin, 1, rows_.stride}, {w(0) + from, rows_.stride, 1, true}, -1, 1);
    }
  }

  const PaddedMatrix<S> rows_, sums_, line_;
  Tridiagonal t_;
  std::vector<S> beside_;
};

// One after the other, where panels gain nothing.
template <class S>
Tridiagonal reduce_few(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v,
                       std::vector<S>* factors) {
  Tridiagonal t{std::vector<double>(n), std::vector<double>(n)};
  std::vector<S> beside(n);
  S w[kFewRows<S>];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) a.row(j)[i] = conj(a.row(i)[j]);
  for (int64_t k = 0; k < n; ++k) {
    t.d[k] = real_part(a.row(k)[k]);
    const int64_t from = k + 1;
    if (from == n) break;
    S* x = v.row(k);
    for (int64_t i = from; i < n; ++i) x[i] = conj(a.row(k)[i]);
    const Reflection<S> r = find_reflection(x + from, n - from);
    beside[k] = r.beta;
    tau[k] = r.tau;
    if (r.tau == 0) continue;
    double half = 0;
    for (int64_t i = from; i < n; ++i) {
      S sum{0};
      for (int64_t j = from; j < n; ++j) sum += a.row(i)[j] * x[j];
      w[i] = r.tau * sum;
      half += real_part(conj(x[i]) * w[i]);
    }
    const auto part = static_cast<Real<S>>(half * r.tau / 2);
    for (int64_t i = from; i < n; ++i) w[i] -= part * x[i];
    for (int64_t i = from; i < n; ++i)
      for (int64_t j = from; j < n; ++j) a.row(i)[j] -= x[i] * conj(w[j]) + w[i] * conj(x[j]);
  }
  keep_real(beside, t, factors);
  return t;
}

}  // namespace

template <class S>
Tridiagonal tridiagonalize(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v,
                           std::vector<S>* factors) {
  return n <= kFewRows<S> ? reduce_few(a, n, tau, v, factors) : Reduction<S>(a, n, tau, v).run(factors);
}
template Tridiagonal tridiagonalize<float>(const PaddedMatrix<float>&, int64_t, float*,
                                           const PaddedMatrix<float>&, std::vector<float>*);
template Tridiagonal tridiagonalize<double>(const PaddedMatrix<double>&, int64_t, double*,
                                            const PaddedMatrix<double>&, std::vector<double>*);
template Tridiagonal tridiagonalize<C>(const PaddedMatrix<C>&, int64_t, float*, const PaddedMatrix<C>&,
                                       std::vector<C>*);
template Tridiagonal tridiagonalize<Z>(const PaddedMatrix<Z>&, int64_t, double*, const PaddedMatrix<Z>&,
                                       std::vector<Z>*);

// Of values alone, QL steps with implicit shifts need no roots (K. Pal, J. Walker, W. Kahan; in B. Parlett,
// "The symmetric eigenvalue problem", 1980, section 8.15).
std::vector<double> tridiagonal_values(Tridiagonal t, double eps) {
  std::vector<double>&d = t.d, &e = t.e;
  const auto n = static_cast<int64_t>(d.size());
  for (int64_t i = 0; i + 1 < n; ++i) e[i] *= e[i];
  const auto negligible = [&](int64_t i) {
    const double size = std::abs(d[i]) + std::abs(d[i + 1]);
    return e[i] <= eps * eps * size * size + 1e-280;  // the matrix is about 1
  };
  for (int64_t l = 0; l < n;) {
    int64_t end = l;
    while (end + 1 < n && !negligible(end)) ++end;
    if (end + 1 < n) e[end] = 0;
    // Steps go towards smaller elements.
    if (std::abs(d[end]) < std::abs(d[l])) {
      std::reverse(d.begin() + l, d.begin() + end + 1);
      std::reverse(e.begin() + l, e.begin() + end);
    }
    for (int steps = 0; l <= end;) {
      int64_t m = l;
      while (m < end && !negligible(m)) ++m;
      if (m < end) e[m] = 0;
      if (m == l) {
        ++l;
        steps = 0;
        continue;
      }
      if (++steps > 100) throw std::runtime_error("[linalg.eigvalsh] the iteration did not converge");
      const double root = std::sqrt(e[l]), ratio = (d[l + 1] - d[l]) / (2 * root);
      const double sigma = d[l] - root / (ratio + std::copysign(std::sqrt(ratio * ratio + 1), ratio));
      double c = 1, s = 0, gamma = d[m] - sigma, p = gamma * gamma;
      // Each step waits for one division only, g^2 / (r p) being gamma^2 / c.
      for (int64_t i = m - 1; i >= l; --i) {
        const double bb = e[i], r = p + bb, inverse = 1 / r, before = c, old = gamma, alpha = d[i];
        if (i != m - 1) e[i + 1] = s * r;
        c = p * inverse;
        s = bb * inverse;
        if (p > 1e-140) {
          const double g = p * (alpha - sigma) - bb * old;
          gamma = g * inverse;
          p = g * g / (r * p);
        } else {
          gamma = c * (alpha - sigma) - s * old;
          p = c == 0 ? before * bb : gamma * gamma / c;
        }
        d[i + 1] = old + (alpha - gamma);
      }
      e[l] = s * p;
      d[l] = sigma + gamma;
    }
  }
  std::sort(d.begin(), d.end());
  return std::move(d);
}

}  // namespace mlx::core::cpu
