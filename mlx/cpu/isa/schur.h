// QR steps on Hessenberg matrices: reflections of three neighbouring rows and columns.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// Bulges three apart travel down a window of a Hessenberg matrix together. Rows and columns count from the
// window's first; kBulgePadding columns and 3 rows more than it has, and 1 row more of u, are zeros at first.
constexpr int64_t kBulgePadding = 64;
template <class T>
struct Chase {
  T* h;
  int64_t stride;
  int64_t from, to;       // positions of the rearmost bulge: from, from + 1, ... to - 1
  int64_t begin, end;     // the first and the last row and column of the active block
  int64_t rows, columns;  // of the window
  int64_t bulges;
  // The shifts of a bulge: one and other where they are real, one +- i sqrt(squares) where they are not.
  const T *one, *other, *squares;
  // Columns of the product of all reflections as rows of u_size elements, u_stride and at most a vector
  // apart; column `shift` of the window is the first of the product.
  T* u;
  int64_t u_stride, u_size, shift;
};

template <class T>
struct SchurKernels {
  // A bulge at position k is a reflection of rows and columns k + 1, k + 2, k + 3 that clears column k, and
  // at k = begin - 1 one that makes it.
  void (*chase)(const Chase<T>& c);
  // A step of one bulge from row `first` to row `last` of a block that begins at `begin`, on rows [top, last]
  // and columns [first, right). Rows of z, `length` long, are reflected as columns are; z may be null.
  void (*step)(T* h, int64_t stride, int64_t begin, int64_t first, int64_t last, int64_t top, int64_t right,
               T one, T other, T square, T* z, int64_t z_stride, int64_t length);
  // x, y <- c x + s y, c y - s x
  void (*turn)(T* x, T* y, int64_t n, T c, T s);
  // m = 3 or 4 rows of n elements become those of Q^T times them, or `rows` rows of m elements theirs times
  // Q; q is Q, row by row.
  void (*turn_rows)(T* x, int64_t stride, int64_t n, int64_t m, const T* q);
  void (*turn_columns)(T* x, int64_t stride, int64_t rows, int64_t m, const T* q);
};

struct SchurTable {
  SchurKernels<float> of_float;
  SchurKernels<double> of_double;
};

MLX_DECLARE_ISA_TABLE(SchurTable, schur_kernels)

template <class T>
const SchurKernels<T>& schur() {
  if constexpr (sizeof(T) == 4)
    return schur_kernels().of_float;
  else
    return schur_kernels().of_double;
}

}  // namespace mlx::core::cpu
