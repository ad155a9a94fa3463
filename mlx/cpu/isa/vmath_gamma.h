// log gamma and its derivative of positive float32 numbers, computed in float64 as vmath_wide.h does.
// Negative numbers are left to vmath_special.h.
#pragma once

#include "mlx/cpu/isa/vmath_double.h"
#include "mlx/cpu/isa/vmath_wide.h"

namespace mlx::core::cpu::MLX_ISA::wide {

// Below 8 by steps of 1 from y in [1.5, 2.5), where log gamma is (y - 2) p(y - 2): each multiplies gamma by
// its argument. Beside the zeros at 1 and 2 nothing cancels but log(x), whose relative error is small at 1,
// against a multiple of itself. From 8 on Stirling's series: 2^-40.
inline double lgamma(double x) {
  const bool large = x >= 8.0;
  const double k = floor(x - 1.5);  // steps: downwards from -1 on, and from -2 on
  const double t = x - (large ? 0.0 : k) - 2.0;
  const double p =
      poly(t, 0.42278433509846713, 0.32246703342417926, -0.0673523010532292, 0.020580808417937014,
           -0.007385551024035531, 0.002890510754597693, -0.0011927541113461399, 0.0005096615038942661,
           -0.00022315098067121392, 9.953507598322332e-05, -4.496276598018552e-05, 2.0108978046456654e-05,
           -9.251959620338238e-06, 5.394245884548036e-06, -2.519110445534239e-06);
  double product = k >= 1.0 ? x - 1.0 : 1.0;
  product *= k >= 2.0 ? x - 2.0 : 1.0;
  product *= k >= 3.0 ? x - 3.0 : 1.0;
  product *= k >= 4.0 ? x - 4.0 : 1.0;
  product *= k >= 5.0 ? x - 5.0 : 1.0;
  product *= k >= 6.0 ? x - 6.0 : 1.0;
  product *= k <= -1.0 ? x : 1.0;
  product *= k <= -2.0 ? x + 1.0 : 1.0;
  const double l = log_positive(large ? x : product);
  const double z = 1.0 / x;
  const double stirling = fma(x - 0.5, l, 0.91893853320467274178 - x) +
                          z * poly(z * z, 1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680);
  const double small = fma(t, p, k < 0.0 ? -l : l);
  const double y = large ? stirling : small;
  const double finite = x == 0.0 ? inf_d : y;
  return x < inf_d ? finite : x;
}

// psi(x + 8), by its asymptotic series, less the sum of 1 / (x + i) for i < 8, of which the first and the
// last, the second and the second last ... have numerators of 2x + 7.
inline double digamma(double x) {
  const bool large = x >= 8.0;
  const double z = large ? x : x + 8.0;
  const double u = x * (x + 7.0);
  const double a = u * (u + 6.0), b = (u + 10.0) * (u + 12.0);
  const double sum = (2.0 * x + 7.0) * (a * (2.0 * u + 22.0) + b * (2.0 * u + 6.0)) / (a * b);
  const double w = 1.0 / z, v = w * w;
  const double tail =
      v * poly(v, 1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12);
  const double series = MLX_ISA::log(z) - 0.5 * w - tail;
  const double y = large ? series : series - sum;
  const double finite = x == 0.0 ? -copysign(inf_d, x) : y;
  return x < inf_d ? finite : x;
}

}  // namespace mlx::core::cpu::MLX_ISA::wide
