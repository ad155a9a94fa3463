// QR, for the kernels that need one.
#pragma once

#include <cstdint>

namespace mlx::core::cpu {

// Of one row-major matrix, m x n: q (m x k), r (k x n), k = min(m, n).
template <class T>
void qr_factors(const T* a, int64_t m, int64_t n, T* q, T* r);

}  // namespace mlx::core::cpu
