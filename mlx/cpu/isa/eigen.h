// Inner loops of symmetric eigenvalue problems, in double.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

// Of the eigenvalue origin + eta, or of the singular value whose square is origin^2 + eta: the gaps between
// it and all d_i are (d_i - origin) - eta, or (d_i - origin) (d_i + origin) - eta.
struct GapKernels {
  // sum_i z_i / gap_i and sum_i z_i / gap_i^2
  void (*secular)(const double* d, const double* z, int64_t n, double origin, double eta, double* sum,
                  double* slope);
  // w_i <- w_i gap_i / (d_i - other), or / (d_i^2 - other^2)
  void (*ratios)(const double* d, int64_t n, double origin, double eta, double other, double* w);
  // x_i = z_i / gap_i. Returns |x|^2.
  double (*quotients)(const double* d, const double* z, int64_t n, double origin, double eta, double* x);
};

struct EigenKernels {
  GapKernels plain, of_squares;
};

MLX_DECLARE_ISA_TABLE(EigenKernels, eigen_kernels)

}  // namespace mlx::core::cpu
