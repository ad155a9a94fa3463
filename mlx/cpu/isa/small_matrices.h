// Factorizations of many small matrices: a lane of the vectors is a matrix.
#pragma once

#include <cstdint>
#include <type_traits>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

template <class T>
struct Complex;  // mlx/cpu/linalg/complex.h

constexpr int64_t kSmallMatrix = 8;  // rows, at most
constexpr int64_t kLaneMatrix = 16;  // the same of many matrices
constexpr int64_t kManyMatrices = 8;
constexpr int64_t kSmallColumns = 16;  // right sides, at most
constexpr int64_t kSmallGroup = 16;    // matrices; pieces of batches are multiples of it

// A lane may as well be idle where there is little to do.
constexpr bool in_lanes(int64_t n, int64_t matrices) {
  return n <= kSmallMatrix || (n <= kLaneMatrix && matrices >= kManyMatrices);
}

// `count` matrices of n x n, one after the other. The functions return how many rows have pivots as they ask
// for: count * n, or less.
template <class S>
struct SmallKernels {
  // X = A^-1 B, of `columns` columns; B is the identity where it is null. A is to be regular.
  int64_t (*solve)(const S* a, const S* b, S* x, int64_t count, int64_t n, int64_t columns);
  // A = L L^H or U^H U, of A's lower or upper triangle. A is to be positive definite.
  int64_t (*cholesky)(const S* a, S* out, int64_t count, int64_t n, bool upper);
  // A becomes L and U, pivots[j] the row that row j was exchanged with: n of them for each matrix.
  void (*lu)(S* a, int64_t count, int64_t n, uint32_t* pivots);
};

struct SmallTable {
  SmallKernels<float> of_float;
  SmallKernels<double> of_double;
  SmallKernels<Complex<float>> of_complex;
};

MLX_DECLARE_ISA_TABLE(SmallTable, small_kernels)

template <class S>
const SmallKernels<S>& small() {
  if constexpr (std::is_same_v<S, float>)
    return small_kernels().of_float;
  else if constexpr (std::is_same_v<S, double>)
    return small_kernels().of_double;
  else
    return small_kernels().of_complex;
}

}  // namespace mlx::core::cpu
