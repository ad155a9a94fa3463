// Products of Householder reflections in blocks: H_0 ... H_{k-1} = 1 - V T V^H with an upper triangle T (R.
// Schreiber, C. Van Loan, "A storage-efficient WY representation", 1989). Vectors are rows here: row i of v
// is the vector of H_i = 1 - tau_i v_i v_i^H.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

constexpr int64_t kReflections = 32;  // of a block
template <class S>
constexpr int64_t kFewRows = kComplex<S> ? 16 : 24;  // that blocks gain nothing for

// T of k vectors with `length` elements; t's rows are k apart.
template <class T>
void block_triangle(const T* v, int64_t ldv, int64_t k, int64_t length, const Real<T>* tau, T* t) {
  std::fill(t, t + k * k, T{0});
  std::vector<T> gram(k * k);
  multiply_into<T>(gram.data(), k, k, k, length, {v, ldv}, {v, 1, ldv, true}, 1, 0);
  // Column j: -tau_j T (V^H v_j) of the reflections before.
  for (int64_t j = 0; j < k; ++j) {
    t[j * k + j] = T{tau[j]};
    for (int64_t i = 0; i < j; ++i) {
      T sum{0};
      for (int64_t l = i; l < j; ++l) sum += t[i * k + l] * gram[j * k + l];
      t[i * k + j] = -tau[j] * sum;
    }
  }
}

// Every row x of z becomes (1 - V T V^H) x, or (1 - V T^H V^H) x.
template <class T>
void reflect_rows(T* z, int64_t ldz, int64_t rows, int64_t length, const T* v, int64_t ldv, int64_t k,
                  const T* t, int64_t ldt, bool transposed) {
  if (rows <= 0) return;
  Workspace space(2 * rows * k * static_cast<int64_t>(sizeof(T)));
  T *w = space.as<T>(), *turned = w + rows * k;
  multiply_into<T>(w, k, rows, k, length, {z, ldz}, {v, 1, ldv, true}, 1, 0);
  const Operand<T> triangle = transposed ? Operand<T>{t, ldt, 1, true} : Operand<T>{t, 1, ldt};
  multiply_into<T>(turned, k, rows, k, k, {w, k}, triangle, 1, 0);
  multiply_into<T>(z, ldz, rows, length, k, {turned, k}, {v, ldv}, -1, 1);
}

// Rows of z become the product of reflections 0 ... k - 1 times them; vector i is zero before element
// i + offset. `unit`: row j of z is the unit vector j; reflections that leave it alone are left out.
template <class T>
void apply_product(T* z, int64_t ldz, int64_t rows, int64_t length, const T* v, int64_t ldv,
                   const Real<T>* tau, int64_t k, int64_t offset, bool unit) {
  if (length <= kFewRows<T>) {
    for (int64_t r = 0; r < rows; ++r) {
      T* x = z + r * ldz;
      for (int64_t i = std::min(k, unit ? r - offset + 1 : k) - 1; i >= 0; --i) {
        const T* one = v + i * ldv;
        T sum{0};
        for (int64_t j = i + offset; j < length; ++j) sum += conj(one[j]) * x[j];
        sum = tau[i] * sum;
        for (int64_t j = i + offset; j < length; ++j) x[j] -= sum * one[j];
      }
    }
    return;
  }
  std::vector<T> t(kReflections * kReflections);
  for (int64_t first = (k - 1) / kReflections * kReflections; first >= 0 && k > 0; first -= kReflections) {
    const int64_t count = std::min(kReflections, k - first), at = first + offset;
    const T* some = v + first * ldv + at;
    block_triangle(some, ldv, count, length - at, tau + first, t.data());
    // Unit vectors before `at` are orthogonal to these reflections' vectors.
    const int64_t skip = unit ? std::min(at, rows) : 0;
    reflect_rows(z + skip * ldz + at, ldz, rows - skip, length - at, some, ldv, count, t.data(), count,
                 false);
  }
}

// Columns of a become the product of reflections 0 ... k - 1 times them, row by row: of few rows, without
// sums across vectors. `unit`: columns are unit vectors, column j that with element j, up to factors.
template <class S>
void reflect_by_rows(const PaddedMatrix<S>& a, const PaddedMatrix<S>& v, const Real<S>* tau, int64_t k,
                     int64_t offset, bool unit) {
  const PaddedMatrix<S> lines(3, std::max(a.rows, a.stride));
  S *z = lines.row(0), *w = lines.row(1), *next = lines.row(2);
  for (int64_t j = k - 1; j >= 0; --j) {
    // a - z w^T is what the reflection before leaves.
    const int64_t from = j + offset, at = unit ? PaddedMatrix<S>::even(from) : 0;
    panels<S>().combine(a.row(from) + at, a.stride, a.rows - from, a.stride - at, z + from, w + at,
                        v.row(j) + from, true, next + at);
    for (int64_t i = from; i < a.rows; ++i) z[i] = tau[j] * v.row(j)[i];
    std::swap(w, next);
  }
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t c = 0; c < a.stride; ++c) a.row(i)[c] -= z[i] * w[c];
}

}  // namespace mlx::core::cpu
