// Symmetric matrices to tridiagonal ones, and these to eigenvalues and vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

struct Tridiagonal {
  std::vector<double> d, e;  // the diagonal, and what is beside it (n elements, the last unused)
};

// A symmetric matrix whose rows and columns may be looked at in blocks: a.row(i), i < symmetric_rows(n).
int64_t symmetric_rows(int64_t n);

// Reflections k = 0 ... n - 2 with factors tau_k and vectors v.row(k), 1 at k + 1 and 0 before, make the
// n x n matrix tridiagonal. Its lower triangle and the blocks on its diagonal are looked at and used up.
Tridiagonal tridiagonalize(const PaddedMatrix<double>& a, int64_t n, double* tau,
                           const PaddedMatrix<double>& v);

// The eigenvalues, ascending.
std::vector<double> tridiagonal_values(Tridiagonal t);

// The same; row order[j] of z, which are zeros at first, becomes the vector of eigenvalue j.
template <class T>
std::vector<double> tridiagonal_vectors(Tridiagonal t, const PaddedMatrix<T>& z, std::vector<int64_t>& order);

}  // namespace mlx::core::cpu
