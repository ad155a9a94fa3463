// Complex Hessenberg matrices to triangular ones.
#pragma once

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// H = Q S Q^H with an upper triangle S. h becomes S; rows of z, where it is given, which are columns of a
// matrix Z, become those of Z Q. Without z nothing but the diagonal is found.
template <class T>
void to_triangle(const PaddedMatrix<Complex<T>>& h, int64_t n, const PaddedMatrix<Complex<T>>* z);

}  // namespace mlx::core::cpu
