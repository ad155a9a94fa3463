// linalg::matrix_rank, cond, lstsq, svdvals: what singular values tell.
#include <algorithm>
#include <cmath>
#include <limits>

#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {
namespace {

array matrices(const char* op, const array& a, StreamOrDevice s) {
  if (a.ndim() < 2) throw invalid(op, "got an array of shape ", a.shape(), ", expected matrices");
  return issubdtype(a.dtype(), inexact) ? a : astype(a, float32, s);
}
// Modulus of eigenvalues where the matrices are Hermitian, which is cheaper; in no particular order then.
array sizes(const char* op, const array& a, bool hermitian, StreamOrDevice s) {
  const array x = matrices(op, a, s);
  return hermitian ? abs(eigvalsh(x, "L", s), s) : svd(x, false, s)[0];
}
array count_above(const array& values, const array& bound, StreamOrDevice s) {
  return sum(astype(greater(values, bound, s), int32, s), -1, false, s);
}
double eps_of(const array& values) { return finfo(values.dtype()).eps; }
double larger_side(const array& a) { return std::max(a.shape(-2), a.shape(-1)); }

}  // namespace

array svdvals(const array& a, StreamOrDevice s) { return svd(a, false, s)[0]; }

array matrix_rank(const array& a, std::optional<double> rtol, bool hermitian, StreamOrDevice s) {
  const array values = sizes("linalg.matrix_rank", a, hermitian, s);
  fix_sizes("rank", values, true);
  if (values.shape(-1) == 0) return zeros(Shape(values.shape().begin(), values.shape().end() - 1), int32, s);
  const array relative = like(values, rtol ? *rtol : larger_side(a) * eps_of(values));
  return count_above(values, multiply(max(values, -1, true, s), relative, s), s);
}
array matrix_rank(const array& a, const array& tol, bool hermitian, StreamOrDevice s) {
  const array values = sizes("linalg.matrix_rank", a, hermitian, s);
  return count_above(values, expand_dims(astype(tol, values.dtype(), s), -1, s), s);
}

namespace {

array square_matrices(const array& a, StreamOrDevice s) {
  const array x = matrices("linalg.cond", a, s);
  check_square("linalg.cond", x);
  if (x.shape(-1) == 0) throw invalid("linalg.cond", "got matrices without elements, of shape ", a.shape());
  return x;
}
// size(a) size(a^-1). Where elimination meets a zero the answer is infinite and the matrix is not inverted.
template <class F>
array by_inverse(const array& x, StreamOrDevice s, F&& size) {
  const array pivots = diagonal(lu_factor(x, s).first, 0, -2, -1, s);
  const array singular = any(equal(pivots, zeros_of(pivots), s), -1, false, s);
  const array at = expand_dims(singular, {-2, -1}, s);
  const array inverse = inv(where(at, eye(x.shape(-1), x.dtype(), s), x, s), s);
  const array product = multiply(size(x), size(inverse), s);
  return where(singular, like(product, std::numeric_limits<double>::infinity()), product, s);
}

}  // namespace

array cond(const array& a, double p, StreamOrDevice s) {
  if (std::abs(p) == 2) {
    const array values = sizes("linalg.cond", a, false, s);
    if (values.shape(-1) == 0)
      throw invalid("linalg.cond", "got matrices without elements, of shape ", a.shape());
    const array most = max(values, -1, false, s), least = min(values, -1, false, s);
    return p > 0 ? divide(most, least, s) : divide(least, most, s);
  }
  const array x = square_matrices(a, s);
  return by_inverse(x, s, [&](const array& m) { return norm(m, p, std::vector<int>{-2, -1}, false, s); });
}
array cond(const array& a, const std::string& p, StreamOrDevice s) {
  const array x = square_matrices(a, s);
  return by_inverse(x, s, [&](const array& m) { return norm(m, p, std::vector<int>{-2, -1}, false, s); });
}

std::vector<array> lstsq(const array& a, const array& b, std::optional<double> rcond, StreamOrDevice s) {
  const char* op = "linalg.lstsq";
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  const array x = astype(a, issubdtype(dtype, inexact) ? dtype : float32, s);
  check_matrices(op, x);
  const bool vector = b.ndim() == 1;
  if (b.ndim() == 0 || b.shape(vector ? 0 : -2) != a.shape(-2))
    throw invalid(op, "got matrices of shape ", a.shape(), " and a right-hand side of shape ", b.shape(),
                  ", expected it to have ", a.shape(-2), " rows");
  const array y = astype(vector ? expand_dims(b, -1, s) : b, x.dtype(), s);
  const array values = svd(x, false, s)[0];
  if (values.shape(-1) == 0) throw invalid(op, "got matrices without elements, of shape ", a.shape());
  const double relative = rcond ? *rcond : 10 * larger_side(x) * eps_of(values);
  const auto bound_of = [&](const array& w) { return multiply(max(w, -1, true, s), like(w, relative), s); };
  array cleaned = x;
  if (rcond) {
    // What is below the bound is taken off, as a constant; the pseudoinverse of the rest, whose rank shows,
    // has the derivatives of one whose rank stays.
    const Arrays parts = svd(stop_gradient(x, s), true, s);
    const array& w = parts[1];
    const int k = w.shape(-1);
    const array small = where(greater(w, bound_of(w), s), zeros_of(w), w, s);
    const array scaled = multiply(columns_of(parts[0], 0, k, s), expand_dims(small, -2, s), s);
    cleaned = subtract(x, matmul(scaled, rows_of(parts[2], 0, k, s), s), s);
  }
  const array solution = matmul(pinv(cleaned, s), y, s);
  const array rest = subtract(matmul(x, solution, s), y, s);
  const array residuals = sum(square(x.dtype() == complex64 ? abs(rest, s) : rest, s), -2, false, s);
  return {vector ? squeeze(solution, -1, s) : solution, residuals, count_above(values, bound_of(values), s),
          values};
}

}  // namespace mlx::core::linalg
