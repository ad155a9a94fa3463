// Eigenvalues and vectors of complex matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// a, whose elements are about 1, is used up. Rows of `vectors`, zeros at first, become eigenvectors that are
// not normalized; it may be null.
template <class T>
std::vector<Complex<T>> complex_eigen(const PaddedMatrix<Complex<T>>& a, int64_t n,
                                      const PaddedMatrix<Complex<T>>* vectors);

}  // namespace mlx::core::cpu
