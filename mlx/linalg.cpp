#include "mlx/linalg.h"

#include <cmath>
#include <limits>

#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core::linalg {
namespace {

array real_modulus(const array& a, StreamOrDevice s) {
  const array x = issubdtype(a.dtype(), inexact) ? a : astype(a, float32, s);
  return abs(x, s);
}

array root_of_squares(const array& a, const std::vector<int>& axes, bool keepdims, StreamOrDevice s) {
  const bool is_complex = a.dtype() == complex64;
  const array x = is_complex || !issubdtype(a.dtype(), inexact) ? real_modulus(a, s) : a;
  return sqrt(sum(square(x, s), axes, keepdims, s), s);
}

// The singular values of matrices along the two axes, in the order of the other axes; float32 where they are
// not of a floating type.
array singular_values(const array& a, int row, int column, StreamOrDevice s) {
  const array x = issubdtype(a.dtype(), inexact) ? a : astype(a, float32, s);
  const array wide = x.dtype() == float64 || x.dtype() == complex64 ? x : astype(x, float32, s);
  const array values =
      svd(moveaxis(moveaxis(wide, row, -1, s), column > row ? column - 1 : column, -1, s), false, s)[0];
  return x.dtype() == complex64 ? values : astype(values, x.dtype(), s);
}
array kept(const array& a, int row, int column, bool keepdims, StreamOrDevice s) {
  return keepdims ? expand_dims(a, std::vector<int>{row, column}, s) : a;
}

// Largest or smallest singular value (ord ±2), sum of moduli over columns (ord ±1) or rows (ord ±inf).
array matrix_norm(const array& a, double ord, int row, int column, bool keepdims, StreamOrDevice s) {
  const double size = std::abs(ord);
  if (size == 2.0) {
    const array values = singular_values(a, row, column, s);
    return kept(ord > 0 ? max(values, -1, false, s) : min(values, -1, false, s), row, column, keepdims, s);
  }
  if (size != 1.0 && !std::isinf(size))
    throw invalid("linalg.norm",
                  "ord of a matrix norm must be 1, -1, 2, -2, inf, -inf, \"fro\" or \"nuc\", got ", ord);
  const array sums = sum(real_modulus(a, s), size == 1.0 ? row : column, true, s);
  const std::vector<int> both{row, column};
  return ord > 0 ? max(sums, both, keepdims, s) : min(sums, both, keepdims, s);
}

}  // namespace

array vector_norm(const array& a, double ord, const std::vector<int>& axes, bool keepdims, StreamOrDevice s) {
  const array x = real_modulus(a, s);
  if (ord == 0.0) return astype(sum(not_equal(x, zeros_like(x, s), s), axes, keepdims, s), x.dtype(), s);
  if (ord == 1.0) return sum(x, axes, keepdims, s);
  if (ord == 2.0) return root_of_squares(a, axes, keepdims, s);
  if (ord == std::numeric_limits<double>::infinity()) return max(x, axes, keepdims, s);
  if (ord == -std::numeric_limits<double>::infinity()) return min(x, axes, keepdims, s);
  const array p = array(ord, x.dtype());
  return power(sum(power(x, p, s), axes, keepdims, s), array(1.0 / ord, x.dtype()), s);
}

array norm(const array& a, const double ord, const std::optional<std::vector<int>>& axis, bool keepdims,
           StreamOrDevice s) {
  const std::vector<int> axes = axis.value_or(all_axes(a));
  if (axes.size() == 1) return vector_norm(a, ord, axes, keepdims, s);
  if (axes.size() == 2)
    return matrix_norm(a, ord, checked_axis("linalg.norm", axes[0], a.shape()),
                       checked_axis("linalg.norm", axes[1], a.shape()), keepdims, s);
  throw invalid("linalg.norm", "ord ", ord, " is defined over one axis or two, got ", axes.size());
}

array norm(const array& a, const std::string& ord, const std::optional<std::vector<int>>& axis, bool keepdims,
           StreamOrDevice s) {
  const std::vector<int> axes = axis.value_or(all_axes(a));
  if (axes.size() != 2)
    throw invalid("linalg.norm", "ord \"", ord, "\" is defined over two axes, got ", axes.size());
  if (ord == "f" || ord == "fro") return root_of_squares(a, axes, keepdims, s);
  if (ord == "nuc") {
    const int row = checked_axis("linalg.norm", axes[0], a.shape());
    const int column = checked_axis("linalg.norm", axes[1], a.shape());
    return kept(sum(singular_values(a, row, column, s), -1, false, s), row, column, keepdims, s);
  }
  throw invalid("linalg.norm", "ord must be a number, \"fro\" or \"nuc\", got \"", ord, "\"");
}

array norm(const array& a, const std::optional<std::vector<int>>& axis, bool keepdims, StreamOrDevice s) {
  return root_of_squares(a, axis.value_or(all_axes(a)), keepdims, s);
}

array norm(const array& a, const double ord, int axis, bool keepdims, StreamOrDevice s) {
  return norm(a, ord, std::vector<int>{axis}, keepdims, s);
}
array norm(const array& a, const std::string& ord, int axis, bool keepdims, StreamOrDevice s) {
  return norm(a, ord, std::vector<int>{axis}, keepdims, s);
}
array norm(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return norm(a, std::vector<int>{axis}, keepdims, s);
}

}  // namespace mlx::core::linalg
