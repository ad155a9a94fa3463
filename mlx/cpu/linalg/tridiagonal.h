// Symmetric matrices to tridiagonal ones, and these to eigenvalues and vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

struct Tridiagonal {
  std::vector<double> d, e;  // the diagonal, and what is beside it (n elements, the last unused)
};

// A symmetric matrix whose rows and columns may be looked at in blocks: a.row(i), i < symmetric_rows<T>(n).
template <class T>
int64_t symmetric_rows(int64_t n) {
  return (n + kDiagonalBlock<T> - 1) / kDiagonalBlock<T> * kDiagonalBlock<T>;
}

// Reflections k = 0 ... n - 2 with factors tau_k and vectors v.row(k), 1 at k + 1 and 0 before, make the
// n x n matrix tridiagonal. It is used up: its lower triangle and the blocks on its diagonal. Numbers of
// modulus 1, row j by factors[j], make a complex one real.
template <class S>
Tridiagonal tridiagonalize(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v,
                           std::vector<S>* factors = nullptr);

// The eigenvalues, ascending. Elements beside the diagonal are 0 where they are less than `eps` of those on
// it.
std::vector<double> tridiagonal_values(Tridiagonal t, double eps);

// The same; row order[j] of z, which are zeros at first, becomes the vector of eigenvalue j.
template <class T>
std::vector<double> tridiagonal_vectors(Tridiagonal t, const PaddedMatrix<T>& z, std::vector<int64_t>& order);

}  // namespace mlx::core::cpu
