// Matrices to Hessenberg form.
#pragma once

#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// Reflections k = 0 ... n - 3 with factors tau_k and vectors v.row(k), 1 at k + 1 and 0 before, from both
// sides. a becomes their result, zeros below the subdiagonal.
template <class S>
void to_hessenberg(const PaddedMatrix<S>& a, int64_t n, Real<S>* tau, const PaddedMatrix<S>& v);

}  // namespace mlx::core::cpu
