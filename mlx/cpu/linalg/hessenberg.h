// Real matrices to Hessenberg form.
#pragma once

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// Reflections k = 0 ... n - 3 with factors tau_k and vectors v.row(k), 1 at k + 1 and 0 before, from both
// sides. a becomes their result, zeros below the subdiagonal.
template <class T>
void to_hessenberg(const PaddedMatrix<T>& a, int64_t n, T* tau, const PaddedMatrix<T>& v);

}  // namespace mlx::core::cpu
