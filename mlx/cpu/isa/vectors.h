// Real vectors of factorizations: transposes, rotations, sums.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

template <class T>
struct VectorKernels {
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
  double (*squares)(const T* x, int64_t n);  // their sum, in double
};

struct VectorTable {
  VectorKernels<float> of_float;
  VectorKernels<double> of_double;
};

MLX_DECLARE_ISA_TABLE(VectorTable, vector_kernels)

template <class T>
const VectorKernels<T>& real_vectors() {
  if constexpr (sizeof(T) == 4)
    return vector_kernels().of_float;
  else
    return vector_kernels().of_double;
}

}  // namespace mlx::core::cpu
