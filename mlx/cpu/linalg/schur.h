// Real Hessenberg matrices to Schur form.
#pragma once

#include <stdexcept>

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

struct NotConverged : std::runtime_error {
  NotConverged() : std::runtime_error("[linalg.eig] the iteration did not converge") {}
};

// H = Q S Q^T with 1 x 1 and 2 x 2 blocks on the diagonal of S and zeros below; elements of a 2 x 2 block on
// the diagonal are equal, those beside it differ in sign. h becomes S; rows of z, where it is given, which
// are columns of a matrix Z, become those of Z Q. Without z nothing but the blocks is found.
template <class T>
void to_schur_form(const PaddedMatrix<T>& h, int64_t n, const PaddedMatrix<T>* z);

// a + i b and a - i b of the 2 x 2 block that begins at row i; b: 0 of one of one row.
template <class T>
T imaginary_part(const PaddedMatrix<T>& h, int64_t i) {
  return std::sqrt(std::abs(h.row(i)[i + 1])) * std::sqrt(std::abs(h.row(i + 1)[i]));
}

}  // namespace mlx::core::cpu
