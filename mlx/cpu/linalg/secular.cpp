// Rational interpolation, the poles beside the root fixed and the slopes on both sides met ("the middle way"
// of R.-C. Li, "Solving secular equations stably and efficiently", 1993), kept within a bracket.
#include "mlx/cpu/linalg/secular.h"

#include <algorithm>
#include <cmath>

#include "mlx/cpu/isa/eigen.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

Root secular_root(const double* d, const double* squares, int64_t n, int64_t j, double rho, bool of_squares,
                  double eps) {
  const GapKernels& kernels = of_squares ? eigen_kernels().of_squares : eigen_kernels().plain;
  const auto difference = [&](double a, double b) { return of_squares ? (a - b) * (a + b) : a - b; };
  if (n == 1) return {d[0], rho * squares[0]};
  const bool last = j + 1 == n;
  // f = 1 / rho + sum_i z_i^2 / (d_i - x), with the poles up to `left` apart from those after.
  const int64_t left = last ? n - 1 : j + 1;
  double psi = 0, psi_slope = 0, phi = 0, phi_slope = 0, f = 0;
  Root root{d[j], 0};
  const auto evaluate = [&] {
    kernels.secular(d, squares, left, root.origin, root.eta, &psi, &psi_slope);
    kernels.secular(d + left, squares + left, n - left, root.origin, root.eta, &phi, &phi_slope);
    f = 1 / rho + psi + phi;
  };
  const double width = last ? rho : difference(d[j + 1], d[j]);
  double low = 0, high = width;
  root.eta = width / 2;
  evaluate();
  if (!last) {
    const double a_square = squares[j], b_square = squares[j + 1], middle = width / 2;
    const double c = f + a_square / middle - b_square / middle;
    if (f > 0) {
      high = middle;
      const double a = c * width + a_square + b_square, b = a_square * width;
      const double part = std::sqrt(std::abs(a * a - 4 * b * c));
      root.eta = a > 0 ? 2 * b / (a + part) : (a - part) / (2 * c);
    } else {
      root.origin = d[j + 1];
      low = -middle;
      high = 0;
      const double a = c * width - a_square - b_square, b = b_square * width;
      const double part = std::sqrt(std::abs(a * a + 4 * b * c));
      root.eta = a < 0 ? 2 * b / (a - part) : -(a + part) / (2 * c);
    }
    if (!(root.eta > low && root.eta < high)) root.eta = low + (high - low) / 2;
    evaluate();
  }
  const double pole_left = difference(d[left - 1], root.origin),
               pole_right = difference(d[left], root.origin);
  for (int steps = 0; steps < 100; ++steps) {
    const double noise =
        8 * (1 / rho + std::abs(psi) + std::abs(phi)) + std::abs(root.eta) * (psi_slope + phi_slope);
    if (!(std::abs(f) > eps * noise)) break;
    (f < 0 ? low : high) = root.eta;
    const double x = pole_left - root.eta, y = pole_right - root.eta;
    const double c = f - x * psi_slope - y * phi_slope;
    const double a = (x + y) * f - x * y * (psi_slope + phi_slope), b = x * y * f;
    const double part = std::sqrt(std::max(0.0, a * a - 4 * b * c));
    double step;
    if (last)
      step = a >= 0 ? (a + part) / (2 * c) : 2 * b / (a - part);
    else
      step = a <= 0 ? (a - part) / (2 * c) : 2 * b / (a + part);
    if (!(step * f < 0)) step = -f / (psi_slope + phi_slope);
    double next = root.eta + step;
    if (!(next > low && next < high)) next = low + (high - low) / 2;
    if (next == root.eta || !(next > low && next < high)) break;
    root.eta = next;
    evaluate();
  }
  return root;
}

void nearby_update(const double* d, int64_t n, const Root* roots, bool of_squares, double* near) {
  const GapKernels& kernels = of_squares ? eigen_kernels().of_squares : eigen_kernels().plain;
  const auto difference = [&](double a, double b) { return of_squares ? (a - b) * (a + b) : a - b; };
  parallel_ranges(n, std::max<int64_t>(64, (1 << 16) / n / 8 * 8), [&](int64_t begin, int64_t end) {
    std::fill(near + begin, near + end, 1.0);
    for (int64_t j = 0; j < n; ++j) {
      const Root& r = roots[j];
      const auto some = [&](int64_t from, int64_t to) {
        if (to > from) kernels.ratios(d + from, to - from, r.origin, r.eta, d[j], near + from);
      };
      some(begin, std::min(end, j));
      if (j >= begin && j < end) near[j] *= difference(d[j], r.origin) - r.eta;
      some(std::max(begin, j + 1), end);
    }
    for (int64_t i = begin; i < end; ++i) near[i] = std::sqrt(std::abs(near[i]));
  });
}

}  // namespace mlx::core::cpu
