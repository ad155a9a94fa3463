// The singular value decomposition, for the kernels that need one.
#pragma once

#include <cstdint>

namespace mlx::core::cpu {

// Of one row-major matrix, m x n. u (m x m) and vt (n x n) may be null together. Throws
// std::invalid_argument, naming `op`, where an element is not finite.
template <class T>
void singular_values(const char* op, const T* a, int64_t m, int64_t n, T* u, T* s, T* vt);

}  // namespace mlx::core::cpu
