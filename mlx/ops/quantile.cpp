// quantile, percentile: sorted elements, and a place between two of them for each q. The thirteen methods are
// those of R. Hyndman and Y. Fan, "Sample quantiles in statistical packages", 1996, and NumPy's further four.
#include <algorithm>
#include <array>
#include <string_view>

#include "mlx/ops.h"
#include "mlx/ops/reduce.h"
#include "mlx/statistics.h"

namespace mlx::core {
namespace {

enum class Kind { continuous, averaged, midpoint, lower, higher, nearest, inverted, closest };

struct Method {
  std::string_view name;
  Kind kind;
  double alpha = 1, beta = 1;  // of continuous ones: the place is n q + alpha + q (1 - alpha - beta) - 1
  bool picks() const { return kind >= Kind::lower; }  // an element itself, never a number between two
};
constexpr std::array<Method, 13> kMethods{{
    {"linear", Kind::continuous},
    {"lower", Kind::lower},
    {"higher", Kind::higher},
    {"midpoint", Kind::midpoint},
    {"nearest", Kind::nearest},
    {"inverted_cdf", Kind::inverted},
    {"averaged_inverted_cdf", Kind::averaged},
    {"closest_observation", Kind::closest},
    {"interpolated_inverted_cdf", Kind::continuous, 0, 1},
    {"hazen", Kind::continuous, 0.5, 0.5},
    {"weibull", Kind::continuous, 0, 0},
    {"median_unbiased", Kind::continuous, 1.0 / 3, 1.0 / 3},
    {"normal_unbiased", Kind::continuous, 3.0 / 8, 3.0 / 8},
}};

const Method& method_named(const char* op, const std::string& name) {
  const auto* m =
      std::find_if(kMethods.begin(), kMethods.end(), [&](const Method& x) { return x.name == name; });
  if (m != kMethods.end()) return *m;
  std::string names;
  for (const Method& x : kMethods)
    names += std::string(names.empty() ? "'" : ", '") + std::string(x.name) + "'";
  throw invalid(op, "got method '", name, "', expected one of ", names);
}

// Positions of two neighbours in the sorted order, and how far from the first to the second the result lies.
struct Place {
  array first, second, share;
};

Place place_of(const Method& m, const array& q, int n) {
  const auto number = [&](double x) { return like(q, x); };
  const array span = number(n - 1.0) * q, count = number(n) * q, none = zeros_of(q);
  const auto at = [&](const array& index) { return Place{index, index, none}; };
  switch (m.kind) {
    case Kind::lower:
      return at(floor(span));
    case Kind::higher:
      return at(ceil(span));
    case Kind::nearest:
      return at(round(span));
    case Kind::inverted:
      return at(ceil(count) - number(1));
    case Kind::closest: {
      const array x = count - number(1.5), low = floor(x);
      const array stays = logical_and(equal(x, low), equal(remainder(low, number(2)), number(1)));
      return at(where(stays, low, low + number(1)));
    }
    case Kind::midpoint:
      return {floor(span), ceil(span), number(0.5)};
    case Kind::averaged: {
      const array x = count - number(1), low = floor(x);
      return {low, low + number(1), where(equal(x, low), number(0.5), number(1))};
    }
    default: {
      const array x =
          m.alpha == 1 && m.beta == 1 ? span : count + number(m.alpha - 1) + number(1 - m.alpha - m.beta) * q;
      const array low = floor(x);
      return {low, low + number(1), x - low};
    }
  }
}

// A q that is there already is checked now; one that is yet to be computed gives nan where it is outside.
void check_range(const char* op, const array& q, double most) {
  if (!q.is_available() || q.is_tracer() || q.size() == 0) return;
  const array wide = astype(q, float64);
  const double low = min(wide).item<double>(), high = max(wide).item<double>();
  if (low >= 0 && high <= most) return;
  throw invalid(op, "got q = ", low < 0 ? low : high, ", expected it in [0, ", most, "]");
}

array quantile_of(const char* op, const array& a, const array& given, double scale, const Axes& given_axes,
                  bool keepdims, const std::string& name, StreamOrDevice s) {
  fix_sizes(op, {a, given});
  StreamContext context(s);
  const Method& method = method_named(op, name);
  for (const array* x : {&a, &given})
    if (x->dtype() == complex64) throw invalid(op, "got complex64, expected real numbers");
  check_range(op, given, scale);
  const Axes axes = checked_axes(op, given_axes, a.shape());
  // Over no axis each element is a row of one.
  const array rows = axes.empty() ? expand_dims(a, -1) : axes_last(a, axes, s);
  const int n = rows.shape(-1);
  if (n == 0) throw invalid(op, "got an array of shape ", a.shape(), ", expected no axis of size 0");
  const Dtype dtype = method.picks() ? (a.dtype() == bool_ ? uint8 : a.dtype()) : promote_to_float(a.dtype());
  const bool narrow = dtype == float16 || dtype == bfloat16;
  const array sorted = sort(astype(rows, dtype), -1);

  const array q = flatten(astype(given, float64)) / array(scale, float64);
  const Place place = place_of(method, q, n);
  const auto element = [&](const array& index) {
    const array bounded = clip(index, like(q, 0), like(q, n - 1.0));
    const array x = take(sorted, astype(stop_gradient(bounded), int32), -1);
    return narrow ? astype(x, float32) : x;
  };
  array result = element(place.first);
  if (!method.picks()) {
    const array second = element(place.second), share = astype(place.share, result.dtype());
    const array between = result + (second - result) * share;
    // Not inf - inf between two infinities, or where an infinity has no part in it.
    const array still = logical_or(equal(result, second), equal(share, like(share, 0)));
    result = where(still, result, between);
  }
  result = astype(result, dtype);
  if (issubdtype(dtype, floating)) {
    Shape start(sorted.ndim(), 0);
    start.back() = n - 1;
    const array largest = slice(sorted, start, sorted.shape());  // nan is sorted to the end
    const array inside = logical_and(greater_equal(q, like(q, 0)), less_equal(q, like(q, 1)));
    result = where(logical_and(inside, logical_not(isnan(largest))), result,
                   like(result, std::numeric_limits<double>::quiet_NaN()));
  }
  // (rows..., q) -> (q..., rows...)
  result = moveaxis(result, -1, 0);
  Shape shape = given.shape();
  shape.insert(shape.end(), result.shape().begin() + 1, result.shape().end());
  result = reshape(result, shape);
  if (!keepdims || axes.empty()) return result;
  Axes kept = axes;
  for (int& axis : kept) axis += static_cast<int>(given.ndim());
  return expand_dims(result, kept);
}

}  // namespace

array quantile(const array& a, const array& q, const Axes& axes, bool keepdims, const std::string& method,
               StreamOrDevice s) {
  return quantile_of("quantile", a, q, 1, axes, keepdims, method, s);
}
array quantile(const array& a, const array& q, bool keepdims, const std::string& method, StreamOrDevice s) {
  return quantile(a, q, all_axes(a), keepdims, method, s);
}
array percentile(const array& a, const array& q, const Axes& axes, bool keepdims, const std::string& method,
                 StreamOrDevice s) {
  return quantile_of("percentile", a, q, 100, axes, keepdims, method, s);
}
array percentile(const array& a, const array& q, bool keepdims, const std::string& method, StreamOrDevice s) {
  return percentile(a, q, all_axes(a), keepdims, method, s);
}

}  // namespace mlx::core
