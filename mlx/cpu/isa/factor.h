// Blocks of triangular solves and factorizations: what does not go through the matrix product.
#pragma once

#include <cstdint>
#include <type_traits>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

template <class T>
struct Complex;  // mlx/cpu/linalg/complex.h

constexpr int64_t kSubstitution = 64;
constexpr int64_t kLuColumns = 16;

// S: float, double or complex numbers of floats, T: their parts.
template <class S, class T>
struct FactorKernels {
  // X <- A^-1 X for a triangular A of at most kSubstitution rows, whose element (i, j) is at
  // a[i * row + j * column], or its conjugate; rows of X are contiguous.
  void (*substitute)(const S* a, int64_t row, int64_t column, bool conjugated, int64_t n, bool upper,
                     bool unit, S* x, int64_t stride, int64_t columns);
  // U with U^H U = A in the upper triangle of A. Returns the first row whose pivot is not positive, or n.
  int64_t (*cholesky)(S* a, int64_t n, int64_t stride);
  // P A = L U of m x n, m >= n, n <= kLuColumns, column-major. pivots[j]: the row that row j was exchanged
  // with. Columns (of complex numbers planes of parts, the real ones first) are `stride` elements apart, a
  // multiple of 64 bytes; rows from m on are 0, column n is scratch.
  void (*lu)(T* a, int64_t m, int64_t n, int64_t stride, int64_t* pivots);
};

struct FactorTable {
  FactorKernels<float, float> of_float;
  FactorKernels<double, double> of_double;
  FactorKernels<Complex<float>, float> of_complex;
};

MLX_DECLARE_ISA_TABLE(FactorTable, factor_kernels)

template <class S>
const auto& factor() {
  if constexpr (std::is_same_v<S, float>)
    return factor_kernels().of_float;
  else if constexpr (std::is_same_v<S, double>)
    return factor_kernels().of_double;
  else
    return factor_kernels().of_complex;
}

}  // namespace mlx::core::cpu
