// Eigenvalues and vectors of real matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// Eigenvalues re + i im: real ones, and pairs of neighbours, im > 0 first.
template <class T>
struct RealEigen {
  std::vector<T> re, im;
};

// a, whose elements are about 1, is used up. Rows of `vectors`, zeros at first, become eigenvectors that are
// not normalized; those of a pair are row k + i row k + 1, and its conjugate. `vectors` may be null.
template <class T>
RealEigen<T> real_eigen(const PaddedMatrix<T>& a, int64_t n, const PaddedMatrix<T>* vectors);

}  // namespace mlx::core::cpu
