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
template <class T, class Work>
void turn_back(const PaddedMatrix<T>& z, int64_t n, const std::vector<Work>& tau,
               const PaddedMatrix<Work>& reflections, const std::vector<int64_t>& order, T* vectors) {
  const PaddedMatrix<T> v(n, n);
  std::vector<T> factors(tau.begin(), tau.end());
  for (int64_t i = 0; i < n; ++i) std::copy(reflections.row(i), reflections.row(i) + n, v.row(i));
  const auto store = [&](T* to, int64_t stride) {
    constexpr int64_t kTile = 16;
    for (int64_t first = 0; first < n; first += kTile)
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = first; j < std::min(n, first + kTile); ++j) to[i * stride + j] = z.row(order[j])[i];
  };
  if (n <= kRowByRow) {
    normalize(z, n);
    const PaddedMatrix<T> columns(n, n);
    store(columns.row(0), columns.stride);
    reflect_by_rows(columns, v, factors.data(), n - 1, 1, false);
    for (int64_t i = 0; i < n; ++i) std::copy(columns.row(i), columns.row(i) + n, vectors + i * n);
    return;
  }
  apply_product(z.row(0), z.stride, n, n, v.row(0), v.stride, factors.data(), n - 1, 1, false);
  normalize(z, n);
  store(vectors, n);
}

template <class T, class Work>
void decompose_in(const T* in, int64_t n, int exponent, T* values, T* vectors) {
  const PowerOfTwo scale(-exponent);
  const PaddedMatrix<Work> a(symmetric_rows<Work>(n), n), v(n, n);
  for (int64_t i = 0; i < n; ++i) scale(in + i * n, n, a.row(i));
  std::vector<Work> tau(n);
  Tridiagonal t = tridiagonalize(a, n, tau.data(), v);
  const auto put = [&](const std::vector<double>& w) {
    for (int64_t j = 0; j < n; ++j) values[j] = static_cast<T>(std::ldexp(w[j], exponent));
  };
  if (!vectors) return put(tridiagonal_values(std::move(t), kFine<T>));
  const PaddedMatrix<T> z(n, n);
  std::vector<int64_t> order;
  put(tridiagonal_vectors(std::move(t), z, order));
  turn_back(z, n, tau, v, order, vectors);
}

template <class T>
void decompose(const T* in, int64_t n, T* values, T* vectors) {
  const double largest = largest_modulus(in, n * n);
  if (!std::isfinite(largest)) {
    std::fill(values, values + n, std::numeric_limits<T>::quiet_NaN());
    if (vectors) std::fill(vectors, vectors + n * n, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<T>(n, [&]<class Work>() { decompose_in<T, Work>(in, n, exponent, values, vectors); });
}

void decompose(const complex64_t* in, int64_t n, float* values, complex64_t* vectors) {
  const float largest = largest_modulus(reinterpret_cast<const float*>(in), 2 * n * n);
  if (!std::isfinite(largest)) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    std::fill(values, values + n, nan);
    if (vectors) std::fill(vectors, vectors + n * n, complex64_t(nan, nan));
    return;
  }
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  const PowerOfTwo scale(-exponent);
  const PaddedMatrix<Z> a(n, n), v(n, n), q(vectors ? n : 0, n);
  const auto* parts = reinterpret_cast<const float*>(in);
  for (int64_t i = 0; i < n; ++i) {
    scale(parts + 2 * i * n, 2 * n, &a.row(i)->re);
    a.row(i)[i].im = 0;
  }
  std::vector<double> tau(n);
  std::vector<Z> turn;
  Tridiagonal t = tridiagonalize(a, n, tau.data(), v, &turn);
  if (vectors) {
    for (int64_t i = 0; i < n; ++i) q.row(i)[i].re = 1;
    apply_product(q.row(0), q.stride, n, n, v.row(0), v.stride, tau.data(), n - 1, 1, true);
  }
  const auto put = [&](const std::vector<double>& found) {
    for (int64_t j = 0; j < n; ++j) values[j] = static_cast<float>(std::ldexp(found[j], exponent));
  };
  if (!vectors) return put(tridiagonal_values(std::move(t), kFine<float>));
  // Row j of q is column j of the product of reflections; pairs are complex numbers.
  const PaddedMatrix<float> z(n, n), turned(n, 2 * n), product(n, 2 * n);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i) {
      const Z x = turn[j] * q.row(j)[i];
      turned.row(j)[2 * i] = static_cast<float>(x.re);
      turned.row(j)[2 * i + 1] = static_cast<float>(x.im);
    }
  std::vector<int64_t> order;
  put(tridiagonal_vectors(std::move(t), z, order));
  multiply_into<float>(product.row(0), product.stride, n, 2 * n, n, {z.row(0), z.stride},
                       {turned.row(0), turned.stride}, 1, 0);
  normalize(product, n);
  for (int64_t j = 0; j < n; ++j) {
    const float* x = product.row(order[j]);
    for (int64_t i = 0; i < n; ++i) vectors[i * n + j] = complex64_t(x[2 * i], x[2 * i + 1]);
  }
}

void eigh(const linalg::Eigh& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) return;
  if (a.dtype() == complex64)
    return parallel_for(static_cast<int64_t>(a.size()) / (n * n), [&](int64_t i) {
      decompose(a.data<complex64_t>() + i * n * n, n, outputs[0].data<float>() + i * n,
                p.vectors ? outputs[1].data<complex64_t>() + i * n * n : nullptr);
    });
  each_matrix(a, 8, [&]<class T>(int64_t i) {
    decompose(a.data<T>() + i * n * n, n, outputs[0].data<T>() + i * n,
              p.vectors ? outputs[1].data<T>() + i * n * n : nullptr);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::Eigh>(eigh);

}  // namespace
}  // namespace mlx::core::cpu
