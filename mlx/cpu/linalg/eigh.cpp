// Eigenvalues and vectors of symmetric matrices: reflections to a tridiagonal matrix, whose vectors are
// turned back by the same reflections.
#include <algorithm>
#include <cmath>
#include <limits>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/linalg/tridiagonal.h"
#include "mlx/cpu/linalg/wy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kRowByRow = 128;  // rows of matrices whose reflections blocks gain nothing for

// Rows z[order[j]], vectors of the tridiagonal matrix, become vectors of the matrix: columns of `vectors`.
template <class S, class Work>
void turn_back(const PaddedMatrix<S>& z, int64_t n, const std::vector<Real<Work>>& tau,
               const PaddedMatrix<Work>& reflections, const std::vector<int64_t>& order, S* vectors) {
  const PaddedMatrix<S> v(n, n);
  std::vector<Real<S>> factors(tau.begin(), tau.end());
  for (int64_t i = 0; i < n; ++i) convert_line(reflections.row(i), n, v.row(i));
  const auto store = [&](S* to, int64_t stride) {
    constexpr int64_t kTile = 16;
    for (int64_t first = 0; first < n; first += kTile)
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = first; j < std::min(n, first + kTile); ++j) to[i * stride + j] = z.row(order[j])[i];
  };
  if (n <= kRowByRow) {
    normalize(z, n);
    const PaddedMatrix<S> columns(n, n);
    store(columns.row(0), columns.stride);
    reflect_by_rows(columns, v, factors.data(), n - 1, 1, false);
    for (int64_t i = 0; i < n; ++i) std::copy(columns.row(i), columns.row(i) + n, vectors + i * n);
    return;
  }
  apply_product(z.row(0), z.stride, n, n, v.row(0), v.stride, factors.data(), n - 1, 1, false);
  normalize(z, n);
  store(vectors, n);
}

template <class S, class Work>
void decompose_in(const S* in, int64_t n, int exponent, Real<S>* values, S* vectors) {
  using T = Real<S>;
  const PowerOfTwo scale(-exponent);
  const PaddedMatrix<Work> a(symmetric_rows<Work>(n), n), v(n, n);
  for (int64_t i = 0; i < n; ++i) {
    scale(reals(in + i * n), kParts<S> * n, reals(a.row(i)));
    a.row(i)[i] = Work{real_part(a.row(i)[i])};
  }
  std::vector<Real<Work>> tau(n);
  std::vector<Work> turn;  // that makes the tridiagonal matrix of a complex one real
  Tridiagonal t = tridiagonalize(a, n, tau.data(), v, &turn);
  const auto put = [&](const std::vector<double>& w) {
    for (int64_t j = 0; j < n; ++j) values[j] = static_cast<T>(std::ldexp(w[j], exponent));
  };
  if (!vectors) return put(tridiagonal_values(std::move(t), kFine<T>));
  const PaddedMatrix<T> z(n, n);
  std::vector<int64_t> order;
  put(tridiagonal_vectors(std::move(t), z, order));
  if constexpr (kComplex<S>) {
    const PaddedMatrix<S> turned(n, n);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < n; ++i) turned.row(j)[i] = z.row(j)[i] * convert<S>(turn[i]);
    turn_back(turned, n, tau, v, order, vectors);
  } else {
    turn_back(z, n, tau, v, order, vectors);
  }
}

template <class S>
void decompose(const S* in, int64_t n, Real<S>* values, S* vectors) {
  using T = Real<S>;
  const double largest = largest_modulus(in, n * n);
  if (!std::isfinite(largest)) {
    constexpr T nan = std::numeric_limits<T>::quiet_NaN();
    std::fill(values, values + n, nan);
    if (vectors) std::fill(reals(vectors), reals(vectors + n * n), nan);
    return;
  }
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<S>(n, [&]<class Work>() { decompose_in<S, Work>(in, n, exponent, values, vectors); });
}

void eigh(const linalg::Eigh& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) return;
  each_matrix(a, 8, [&]<class S>(int64_t i) {
    decompose(a.data<S>() + i * n * n, n, outputs[0].data<Real<S>>() + i * n,
              p.vectors ? outputs[1].data<S>() + i * n * n : nullptr);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::Eigh>(eigh);

}  // namespace
}  // namespace mlx::core::cpu
