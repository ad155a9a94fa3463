// interp, gradient, trapezoid: piecewise linear functions, differences and sums of samples.
#include <cmath>

#include "mlx/ops.h"
#include "mlx/ops/rules.h"
#include "mlx/statistics.h"

namespace mlx::core {
namespace {

Dtype widened(Dtype dtype) { return dtype == float16 || dtype == bfloat16 ? float32 : dtype; }

// [begin, end) along an axis; a negative end counts from the behind.
array part(const array& a, int axis, int begin, int end) {
  Shape start(a.ndim(), 0), stop = a.shape();
  start[static_cast<size_t>(axis)] = begin;
  stop[static_cast<size_t>(axis)] = end < 0 ? a.shape(axis) + end : end;
  return slice(a, start, stop);
}
// A vector, or a number, that broadcasts along `axis` of an array with ndim dimensions.
array along(const array& v, int axis, int ndim) {
  if (v.ndim() == 0) return v;
  Shape shape(static_cast<size_t>(ndim), 1);
  shape[static_cast<size_t>(axis)] = v.shape(0);
  return reshape(v, shape);
}

}  // namespace

array interp(const array& x, const array& xp, const array& fp, const std::optional<array>& left,
             const std::optional<array>& right, const std::optional<double>& period, StreamOrDevice s) {
  fix_sizes("interp", {x, xp, fp});
  StreamContext context(s);
  if (xp.ndim() != 1 || fp.ndim() != 1 || xp.shape(0) != fp.shape(0) || xp.shape(0) == 0)
    throw invalid("interp", "got xp of shape ", xp.shape(), " and fp of shape ", fp.shape(),
                  ", expected one dimension of the same size, at least 1");
  const Dtype dtype = promote_to_float(result_type(x, xp, fp));
  if (dtype == complex64) throw invalid("interp", "got complex64, expected real numbers");
  if (period && !(std::abs(*period) > 0 && std::isfinite(*period)))
    throw invalid("interp", "got period = ", *period, ", expected a finite number other than 0");
  const Dtype wide = widened(dtype);
  array at = astype(x, wide), points = astype(xp, wide), values = astype(fp, wide);
  if (period) {
    const array turn = array(std::abs(*period), wide);
    at = remainder(at, turn);
    points = remainder(points, turn);
    const array order = argsort(points, 0);
    points = take(points, order, 0);
    values = take(values, order, 0);
    const int n = points.shape(0);
    points = concatenate({part(points, 0, n - 1, n) - turn, points, part(points, 0, 0, 1) + turn}, 0);
    values = concatenate({part(values, 0, n - 1, n), values, part(values, 0, 0, 1)}, 0);
  }
  const int n = points.shape(0);
  const array first = take(points, 0, 0), last = take(points, n - 1, 0);
  array y = zeros_of(at);
  if (n > 1) {
    const array found = astype(searchsorted(points, at, "right"), int32);
    const array next = clip(found, array(1, int32), array(n - 1, int32)), before = next - array(1, int32);
    const array x0 = take(points, before, 0), y0 = take(values, before, 0);
    const array dx = take(points, next, 0) - x0, dy = take(values, next, 0) - y0;
    const array step = equal(dx, zeros_of(dx));  // two points at one place: the function jumps
    y = y0 + where(step, zeros_of(dx), dy / where(step, ones_of(dx), dx)) * (at - x0);
  }
  const array end = take(values, n - 1, 0), start = take(values, 0, 0);
  const auto given = [&](const std::optional<array>& v, const array& nearest) {
    return v && !period ? astype(*v, wide) : nearest;
  };
  y = where(less_equal(at, first), where(equal(at, first), start, given(left, start)), y);
  if (n == 1 || !period) y = where(equal(at, last), end, where(greater(at, last), given(right, end), y));
  return astype(where(isnan(at), at, y), dtype);
}

namespace {

// Differences along one axis. h: the distance, or the distances between neighbours, shaped to broadcast.
array differences(const array& f, const array& h, bool uniform, int axis, int edge_order) {
  const int n = f.shape(axis);
  const auto at = [&](int i) { return i < 0 ? part(f, axis, n + i, n + i + 1) : part(f, axis, i, i + 1); };
  const auto distance = [&](int i) {
    if (uniform) return h;
    const int m = h.shape(axis);
    return i < 0 ? part(h, axis, m + i, m + i + 1) : part(h, axis, i, i + 1);
  };
  const array two = like(f, 2.0);
  Arrays pieces;
  if (edge_order == 1) {
    pieces.push_back((at(1) - at(0)) / distance(0));
  } else {
    const array p = distance(0), q = distance(1);
    pieces.push_back(at(0) * -((two * p + q) / (p * (p + q))) + at(1) * ((p + q) / (p * q)) -
                     at(2) * (p / (q * (p + q))));
  }
  if (n > 2) {
    const array before = part(f, axis, 0, n - 2), here = part(f, axis, 1, n - 1), after = part(f, axis, 2, n);
    if (uniform) {
      pieces.push_back((after - before) / (two * h));
    } else {
      const array p = part(h, axis, 0, n - 2), q = part(h, axis, 1, n - 1), span = p + q;
      pieces.push_back(before * -(q / (p * span)) + here * ((q - p) / (p * q)) + after * (p / (q * span)));
    }
  }
  if (edge_order == 1) {
    pieces.push_back((at(-1) - at(-2)) / distance(-1));
  } else {
    const array p = distance(-2), q = distance(-1);
    pieces.push_back(at(-3) * (q / (p * (p + q))) - at(-2) * ((p + q) / (p * q)) +
                     at(-1) * ((two * q + p) / (q * (p + q))));
  }
  return concatenate(pieces, axis);
}

}  // namespace

std::vector<array> gradient(const array& a, const std::vector<array>& spacing, const Axes& given,
                            int edge_order, StreamOrDevice s) {
  StreamContext context(s);
  fix_sizes("gradient", a);
  // In the order given: the results are in it, too.
  Axes axes;
  for (const int axis : given) axes.push_back(checked_axis("gradient", axis, a.shape()));
  checked_axes("gradient", given, a.shape());
  if (edge_order != 1 && edge_order != 2)
    throw invalid("gradient", "got edge_order = ", edge_order, ", expected 1 or 2");
  if (spacing.size() > 1 && spacing.size() != axes.size())
    throw invalid("gradient", "got ", spacing.size(), " spacings, expected one, or one for each of ",
                  axes.size(), " axes");
  const Dtype dtype = promote_to_float(a.dtype()), wide = widened(dtype);
  const array f = astype(a, wide);
  const int ndim = static_cast<int>(a.ndim());
  Arrays out;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = axes[i], n = a.shape(axis);
    if (n < edge_order + 1)
      throw invalid("gradient", "got an array of shape ", a.shape(), ", expected at least ", edge_order + 1,
                    " elements along axis ", axis);
    array h = array(1.0, wide);
    if (!spacing.empty()) {
      const array& given_spacing = spacing.size() == 1 ? spacing[0] : spacing[i];
      if (given_spacing.ndim() > 1 || (given_spacing.ndim() == 1 && given_spacing.shape(0) != n))
        throw invalid("gradient", "got a spacing of shape ", given_spacing.shape(),
                      ", expected a number or the coordinates of the ", n, " elements along axis ", axis);
      h = astype(given_spacing, wide);
      if (h.ndim() == 1) h = along(diff(h), axis, ndim);
    }
    const bool uniform = spacing.empty() || (spacing.size() == 1 ? spacing[0] : spacing[i]).ndim() == 0;
    out.push_back(astype(differences(f, h, uniform, axis, edge_order), dtype));
  }
  return out;
}

array trapezoid(const array& y, const std::optional<array>& x, double dx, int axis, StreamOrDevice s) {
  fix_sizes("trapezoid", y);
  StreamContext context(s);
  const int at = checked_axis("trapezoid", axis, y.shape());
  const int n = y.shape(at);
  const Dtype dtype = promote_to_float(x ? promote_types(y.dtype(), x->dtype()) : y.dtype());
  const Dtype wide = widened(dtype);
  array width = array(dx, wide == complex64 ? float32 : wide);
  if (x) {
    const bool vector = x->ndim() == 1;
    if (vector ? x->shape(0) != n : x->ndim() != y.ndim() || x->shape(at) != n)
      throw invalid("trapezoid", "got y of shape ", y.shape(), " and x of shape ", x->shape(), ", expected ",
                    n, " points along axis ", at);
    const array points = astype(*x, wide);
    width = vector ? along(diff(points), at, static_cast<int>(y.ndim())) : diff(points, 1, at);
  }
  if (n == 0) throw invalid("trapezoid", "got y of shape ", y.shape(), ", expected at least one point");
  const array f = astype(y, wide);
  const array heights = part(f, at, 1, n) + part(f, at, 0, n - 1);
  return astype(sum(width * heights, at) * like(f, 0.5), dtype);
}

}  // namespace mlx::core
