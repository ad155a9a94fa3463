// The eigenvalues of D + rho z z^T.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace mlx::core::cpu {

// An eigenvalue as a distance from an element of D, so that gaps to all of them are exact to the last digits.
struct Root {
  double origin = 0, eta = 0;
  double value() const { return origin + eta; }
  // Where eta is a distance of squares.
  double root_of_square() const {
    return origin + eta / (origin + std::sqrt(std::max(0.0, origin * origin + eta)));
  }
};

// Eigenvalue j, between d[j] and d[j + 1] or above the last. d ascends strictly, squares z_i^2 are positive
// and sum up to 1, rho is positive. `of_squares`: D is the square of what d has, and so are the eigenvalues.
// eps: how exactly.
Root secular_root(const double* d, const double* squares, int64_t n, int64_t j, double rho, bool of_squares,
                  double eps);

// near[i], i < n, becomes the z with which D + z z^T has these eigenvalues, up to a factor and signs: for
// them formulas for the vectors are exact (M. Gu, S. Eisenstat, 1995).
void nearby_update(const double* d, int64_t n, const Root* roots, bool of_squares, double* near);

}  // namespace mlx::core::cpu
