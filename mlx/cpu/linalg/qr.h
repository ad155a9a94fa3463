// QR, for the kernels that need one.
#pragma once

#include <cstdint>

namespace mlx::core::cpu {

// Of one row-major matrix, m x n: q (m x k), r (k x n), k = min(m, n). R's diagonal is real.
template <class S>
void qr_factors(const S* a, int64_t m, int64_t n, S* q, S* r);

}  // namespace mlx::core::cpu
