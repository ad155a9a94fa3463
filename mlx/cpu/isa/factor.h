// Blocks of triangular solves and factorizations: what does not go through the matrix product.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

constexpr int64_t kSubstitution = 64;
constexpr int64_t kLuColumns = 16;
template <class T>
constexpr int64_t kDiagonalBlock = 64 / sizeof(T);

template <class T>
struct FactorKernels {
  // X <- A^-1 X for a triangular A of at most kSubstitution rows, whose element (i, j) is at
  // a[i * row + j * column]; rows of X are contiguous.
  void (*substitute)(const T* a, int64_t row, int64_t column, int64_t n, bool upper, bool unit, T* x,
                     int64_t stride, int64_t columns);
  // U with U^T U = A in the upper triangle of A. Returns the first row whose pivot is not positive, or n.
  int64_t (*cholesky)(T* a, int64_t n, int64_t stride);
  // P A = L U of m x n, m >= n, n <= kLuColumns, column-major. pivots[j]: the row that row j was exchanged
  // with. Columns are `stride` elements apart, a multiple of 64 bytes; rows from m on are 0, column n is
  // scratch.
  void (*lu)(T* a, int64_t m, int64_t n, int64_t stride, int64_t* pivots);
  // to[j, i] = from[i, j]; rows are from_stride and to_stride apart.
  void (*transpose)(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
                    int64_t to_stride);
  // The rotations r = 0 ... count - 1, one after the other, of rows at[r] and at[r] + 1 of z:
  //     x, y <- c x - s y, s x + c y
  void (*rotate)(T* z, int64_t stride, int64_t columns, const T* c, const T* s, const int32_t* at,
                 int64_t count);
  // Pairs are complex numbers, n elements of x and y: x, y <- c x + s y, c y - conj(s) x
  void (*rotate_complex)(T* x, T* y, int64_t n, T c, T re, T im);
  // Rotations r = 0 ... count - 1 of complex columns r and r + 1, `rows` rows of pairs that are `stride`
  // reals apart: x, y <- c x + s y, c y - conj(s) x; turns: c, re(s), im(s) of each.
  void (*rotate_columns)(T* x, int64_t stride, int64_t rows, const T* turns, int64_t count);
  T (*dot)(const T* x, const T* y, int64_t n);
  // dots[i] = row i of a . x; n is a multiple of 64 bytes.
  void (*dots)(const T* a, int64_t stride, int64_t rows, const T* x, int64_t n, T* dots);
  double (*squares)(const T* x, int64_t n);  // their sum, in double
  // a[i][c] <- a[i][c] - z[i] u[c]; w[c] = sum_i v[i] a[i][c], of the new elements. z and u may be null.
  void (*combine)(T* a, int64_t stride, int64_t rows, int64_t columns, const T* z, const T* u, const T* v,
                  T* w);
  // Rows i of a, `stride` apart: row <- row - f[i] x - g[i] y; dots[i] = row . next, of the new row. g and y
  // may be null. n is a multiple of 64 bytes.
  void (*update)(T* a, int64_t stride, int64_t rows, const T* f, const T* x, const T* g, const T* y,
                 const T* next, int64_t n, T* dots);
  // y += A x for a symmetric A, rows [begin, end) of its lower triangle and what mirrors them, columns from
  // `at` on. Rows come in blocks of kDiagonalBlock<T>, which `begin`, `end` and `at` are multiples of; of the
  // blocks on the diagonal all elements are there.
  void (*symmetric_product)(const T* a, int64_t stride, int64_t begin, int64_t end, int64_t at, const T* x,
                            T* y);
};

struct FactorTable {
  FactorKernels<float> of_float;
  FactorKernels<double> of_double;
};

MLX_DECLARE_ISA_TABLE(FactorTable, factor_kernels)

template <class T>
const FactorKernels<T>& factor() {
  if constexpr (sizeof(T) == 4)
    return factor_kernels().of_float;
  else
    return factor_kernels().of_double;
}

}  // namespace mlx::core::cpu
