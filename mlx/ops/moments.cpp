// cov, corrcoef, and reductions that leave nan out.
#include <cmath>
#include <limits>

#include "mlx/ops.h"
#include "mlx/ops/reduce.h"
#include "mlx/statistics.h"

namespace mlx::core {
namespace {

// Sums of products in 16 bits: float32 within, rounded once.
Dtype widened(Dtype dtype) { return dtype == float16 || dtype == bfloat16 ? float32 : dtype; }

// Variables as rows: (variables, observations).
array as_rows(const char* op, const array& m, bool rowvar) {
  if (m.ndim() > 2)
    throw invalid(op, "got an array of shape ", m.shape(), ", expected at most two dimensions");
  const array rows = atleast_2d(m);
  return rowvar || rows.shape(0) == 1 || m.ndim() < 2 ? rows : transpose(rows);
}

array checked_weights(const char* name, const array& w, int observations) {
  if (w.ndim() != 1 || w.shape(0) != observations)
    throw invalid("cov", "got ", name, " of shape ", w.shape(), ", expected (", observations,
                  "), one for each observation");
  return w;
}

}  // namespace

array cov(const array& m, const std::optional<array>& y, bool rowvar, bool bias,
          const std::optional<int>& ddof, const std::optional<array>& fweights,
          const std::optional<array>& aweights, StreamOrDevice s) {
  fix_sizes("cov", m);
  StreamContext context(s);
  Dtype dtype = promote_to_float(y ? promote_types(m.dtype(), y->dtype()) : m.dtype());
  const Dtype wide = widened(dtype);
  array x = astype(as_rows("cov", m, rowvar), wide);
  if (y) {
    const array below = as_rows("cov", *y, rowvar);
    if (below.shape(1) != x.shape(1))
      throw invalid("cov", "got ", x.shape(1), " observations of m and ", below.shape(1), " of y");
    x = concatenate({x, astype(below, wide)}, 0);
  }
  const int n = x.shape(1);
  if (x.shape(0) == 0) return zeros({0, 0}, dtype);
  const Dtype real_dtype = wide == complex64 ? float32 : wide;
  std::optional<array> w;
  if (fweights) {
    if (issubdtype(fweights->dtype(), inexact))
      throw invalid("cov", "got fweights of ", fweights->dtype(),
                    ", expected integers: how often each was observed");
    w = astype(checked_weights("fweights", *fweights, n), real_dtype);
  }
  if (aweights) {
    const array a = astype(checked_weights("aweights", *aweights, n), real_dtype);
    w = w ? *w * a : a;
  }
  const double taken = ddof ? *ddof : (bias ? 0 : 1);
  const array total = w ? sum(*w) : array(n, real_dtype);
  array divisor = total - array(taken, real_dtype);
  if (w && aweights)
    divisor = total - array(taken, real_dtype) * sum(*w * astype(*aweights, real_dtype)) / total;
  divisor = maximum(divisor, zeros_of(divisor));  // no degrees of freedom are left: infinite or nan, as 0 / 0
  const array mean_of = w ? sum(x * *w, 1, true) / total : mean(x, 1, true);
  const array centred = x - mean_of, weighted = w ? centred * *w : centred;
  const array products = matmul(weighted, conjugate(transpose(centred)));
  const array out = astype(products / divisor, dtype);
  return out.size() == 1 ? reshape(out, Shape{}) : out;
}

array corrcoef(const array& x, const std::optional<array>& y, bool rowvar, StreamOrDevice s) {
  StreamContext context(s);
  const Dtype dtype = promote_to_float(y ? promote_types(x.dtype(), y->dtype()) : x.dtype());
  const array wide = astype(x, widened(dtype));
  const array c = cov(wide, y ? std::optional(astype(*y, widened(dtype))) : std::nullopt, rowvar);
  if (c.ndim() == 0) return astype(c / c, dtype);
  const array deviation = sqrt(real(diagonal(c)));
  const array r = c / expand_dims(deviation, 1) / expand_dims(deviation, 0);
  // Rounding must not take a coefficient out of [-1, 1].
  const auto bounded = [](const array& part) { return clip(part, like(part, -1), like(part, 1)); };
  if (dtype == complex64) return bounded(real(r)) + bounded(imag(r)) * array(complex64_t(0, 1));
  return astype(bounded(r), dtype);
}

// --- without nan ---

namespace {

bool holds_nan(const array& a) { return issubdtype(a.dtype(), inexact); }

// The largest (sign 1) or smallest (-1) of what is no number.
array extreme(const char* op, bool largest, const array& a, const Axes& given, bool keepdims) {
  if (a.dtype() == complex64) throw invalid(op, "got complex64, expected real numbers");
  const Axes axes = checked_axes(op, given, a.shape());
  for (const int axis : axes)
    if (a.shape(axis) == 0)
      throw invalid(op, "got an array of shape ", a.shape(), ", expected no reduced axis of size 0");
  if (!holds_nan(a)) return largest ? max(a, axes, keepdims) : min(a, axes, keepdims);
  const double inf = std::numeric_limits<double>::infinity();
  const array none = isnan(a), x = where(none, like(a, largest ? -inf : inf), a);
  const array y = largest ? max(x, axes, keepdims) : min(x, axes, keepdims);
  return where(all(none, axes, keepdims), like(a, std::numeric_limits<double>::quiet_NaN()), y);
}

}  // namespace

array nansum(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  StreamContext context(s);
  const Axes at = checked_axes("nansum", axes, a.shape());
  return sum(holds_nan(a) ? where(isnan(a), zeros_of(a), a) : a, at, keepdims);
}

array nanmean(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  StreamContext context(s);
  const Axes at = checked_axes("nanmean", axes, a.shape());
  if (!holds_nan(a)) return mean(a, at, keepdims);
  const array x = astype(a, widened(a.dtype())), none = isnan(x);
  const Dtype real_dtype = x.dtype() == complex64 ? float32 : x.dtype();
  const array count = sum(astype(logical_not(none), int32), at, keepdims);
  return astype(sum(where(none, zeros_of(x), x), at, keepdims) / astype(count, real_dtype), a.dtype());
}

array nanmax(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  StreamContext context(s);
  return extreme("nanmax", true, a, axes, keepdims);
}
array nanmin(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  StreamContext context(s);
  return extreme("nanmin", false, a, axes, keepdims);
}

}  // namespace mlx::core
