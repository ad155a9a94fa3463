// Triangular solves and factorizations of row-major matrices of floats, doubles or complex floats, in blocks:
// most of the work is matrix products. They run on all threads, or inside an item of a parallel loop on its
// one.
#pragma once

#include <cstdint>

#include "mlx/cpu/linalg/complex.h"

namespace mlx::core::cpu {

// X <- A^-1 X, X of n x columns; only A's triangle is looked at, of a unit one nothing on the diagonal.
template <class T>
void solve_triangle(const T* a, int64_t lda, int64_t n, bool upper, bool unit, T* x, int64_t ldx,
                    int64_t columns);

// The upper triangle of A becomes U with U^H U = A. False where A is not positive definite.
template <class T>
bool cholesky(T* a, int64_t lda, int64_t n);

// A becomes L below the diagonal and U: P A = L U, m x n. pivots[j], j < min(m, n): the row that row j was
// exchanged with, in order.
template <class T>
void lu(T* a, int64_t lda, int64_t m, int64_t n, int64_t* pivots);

// Exchanges rows as lu did.
template <class T>
void exchange_rows(T* a, int64_t lda, int64_t columns, const int64_t* pivots, int64_t begin, int64_t end);

// C <- alpha A B + beta C; A and B may be transposed: elements are `row` and `column` apart; complex ones
// conjugated.
template <class T>
struct Operand {
  const T* data;
  int64_t row, column = 1;
  bool conjugated = false;
};
template <class T>
void multiply_into(T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<T> a, Operand<T> b,
                   double alpha, double beta);
template <>
void multiply_into<C>(C* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<C> a, Operand<C> b,
                      double alpha, double beta);
template <>
void multiply_into<Z>(Z* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<Z> a, Operand<Z> b,
                      double alpha, double beta);

}  // namespace mlx::core::cpu
