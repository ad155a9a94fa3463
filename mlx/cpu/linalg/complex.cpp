// Products of complex matrices: of floats those of the general product, of doubles as real ones, which read
// one operand where it is.
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/linalg/product.h"

namespace mlx::core::cpu {
namespace {

// [Re A; Im A] B, and the halves of that put together: for few rows of A.
void by_planes(Z* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<Z> a, Operand<Z> b, double alpha,
               double beta) {
  Workspace space((2 * m * k + 4 * m * n) * static_cast<int64_t>(sizeof(double)));
  double *re = space.as<double>(), *im = re + m * k, *both = im + m * k;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < k; ++j) {
      const Z x = a.data[i * a.row + j * a.column];
      re[i * k + j] = x.re;
      im[i * k + j] = x.im;
    }
  multiply_into<double>(both, 2 * n, 2 * m, 2 * n, k, {re, k}, {&b.data->re, 2 * b.row}, alpha, 0);
  const double sign = a.conjugated ? -1 : 1;
  for (int64_t i = 0; i < m; ++i) {
    const double *p = both + i * 2 * n, *q = p + m * 2 * n;
    double* to = &c[i * ldc].re;
    if (beta == 0) std::fill(to, to + 2 * n, 0.0);
    for (int64_t j = 0; j < 2 * n; j += 2) {
      to[j] = beta * to[j] + (p[j] - sign * q[j + 1]);
      to[j + 1] = beta * to[j + 1] + (p[j + 1] + sign * q[j]);
    }
  }
}

// Complex rows of A are real ones for a B that has x and i x, or of a conjugated A -i x, as rows.
void by_pairs(Z* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<Z> a, Operand<Z> b, double alpha,
              double beta) {
  const bool whole = a.column == 1;
  Workspace space((4 * k * n + (whole ? 0 : 2 * m * k)) * static_cast<int64_t>(sizeof(double)));
  Z *pairs = space.as<Z>(), *rows = pairs + 2 * k * n;
  for (int64_t i = 0; i < k; ++i) {
    Z *one = pairs + 2 * i * n, *other = one + n;
    for (int64_t j = 0; j < n; ++j) {
      const Z y = b.data[i * b.row + j * b.column], x = b.conjugated ? conj(y) : y;
      one[j] = x;
      other[j] = a.conjugated ? Z{x.im, -x.re} : Z{-x.im, x.re};
    }
  }
  if (!whole)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < k; ++j) rows[i * k + j] = a.data[i * a.row + j * a.column];
  multiply_into<double>(&c->re, 2 * ldc, m, 2 * n, 2 * k,
                        {whole ? &a.data->re : &rows->re, 2 * (whole ? a.row : k)}, {&pairs->re, 2 * n},
                        alpha, beta);
}

// Contiguous rows of conjugate numbers.
Operand<C> conjugated_copy(Operand<C> x, int64_t rows, int64_t columns, C* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[i * columns + j] = conj(x.data[i * x.row + j * x.column]);
  return {to, columns};
}

}  // namespace

template <>
void multiply_into<C>(C* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<C> a, Operand<C> b,
                      double alpha, double beta) {
  if (m == 0 || n == 0) return;
  Workspace space(((a.conjugated ? m * k : 0) + (b.conjugated ? k * n : 0)) *
                  static_cast<int64_t>(sizeof(C)));
  C* copies = space.as<C>();
  if (b.conjugated) b = conjugated_copy(b, k, n, copies + (a.conjugated ? m * k : 0));
  if (a.conjugated) a = conjugated_copy(a, m, k, copies);
  multiply_plain(complex64, c, ldc, m, n, k, a, b, alpha, beta);
}

template <>
void multiply_into<Z>(Z* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<Z> a, Operand<Z> b,
                      double alpha, double beta) {
  if (m == 0 || n == 0) return;
  if (2 * m <= k && b.column == 1 && !b.conjugated)
    by_planes(c, ldc, m, n, k, a, b, alpha, beta);
  else
    by_pairs(c, ldc, m, n, k, a, b, alpha, beta);
}

}  // namespace mlx::core::cpu
