// The singular value decomposition, for the kernels that need one.
#pragma once

#include <cstdint>

#include "mlx/cpu/linalg/complex.h"

namespace mlx::core::cpu {

// Of one row-major matrix, m x n. u (m x m) and vt, V^H (n x n), may be null together. Throws
// std::invalid_argument, naming `op`, where an element is not finite.
template <class S>
void singular_values(const char* op, const S* a, int64_t m, int64_t n, S* u, Real<S>* s, S* vt);

}  // namespace mlx::core::cpu
