// The eigenvalues of D + rho z z^T.
#pragma once

#include <cstdint>

namespace mlx::core::cpu {

// An eigenvalue as a distance from an element of D, so that gaps to all of them are exact to the last digits.
struct Root {
  double origin = 0, eta = 0;
  double value() const { return origin + eta; }
};

// Eigenvalue j, between d[j] and d[j + 1] or above the last. d ascends strictly, squares z_i^2 are positive
// and sum up to 1, rho is positive.
Root secular_root(const double* d, const double* squares, int64_t n, int64_t j, double rho);

}  // namespace mlx::core::cpu
