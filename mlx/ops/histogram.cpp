// histogram, bincount, digitize, isin, nonzero, argwhere: places in sorted sequences, and sums at places.
#include <cmath>
#include <limits>
#include <utility>

#include "mlx/ops.h"
#include "mlx/ops/indexing.h"
#include "mlx/ops/rules.h"
#include "mlx/statistics.h"

namespace mlx::core {
namespace {

void check_real(const char* op, const array& a, const char* argument) {
  if (a.dtype() == complex64) throw invalid(op, "got ", argument, " of complex64, expected real numbers");
}
array flat_weights(const char* op, const array& weights, const array& a) {
  if (weights.shape() != a.shape())
    throw invalid(op, "got weights of shape ", weights.shape(), ", expected ", a.shape(),
                  " as the first argument");
  return flatten(weights);
}

// Sums of the weights (ones: int32) at places in [0, n); others are left out: negative ones are large numbers
// without a sign.
array sums_at(const array& places, const std::optional<array>& weights, int n) {
  const Dtype dtype = weights ? promote_to_float(weights->dtype()) : int32;
  // Many small numbers are added up: not in 16 bits.
  const Dtype wide = dtype == float16 || dtype == bfloat16 ? float32 : dtype;
  const array updates = weights ? astype(*weights, wide) : broadcast_to(array(1, int32), places.shape());
  const Dtype index = places.itemsize() <= 4 ? uint32 : uint64;  // half the memory for most
  const array bounded = minimum(astype(places, index), array(n, index));
  const array sums = scatter_add_axis(zeros({n + 1}, wide), bounded, updates, 0);
  return astype(slice(sums, {0}, {n}, {1}), dtype);
}

std::pair<array, array> counted(const array& a, const array& edges, bool density,
                                const std::optional<array>& weights) {
  const int n = edges.shape(0) - 1;
  const Dtype dtype = promote_types(edges.dtype(), a.dtype());
  const array x = astype(flatten(a), dtype), e = astype(edges, dtype);
  const array last = take(e, n, 0);
  // Place k + 1 is behind edge k: elements before the first edge get place -1, and the last edge itself
  // belongs to the last bin. nan is sorted behind everything.
  const array found = astype(searchsorted(e, x, "right"), int32) - array(1, int32);
  const array sums = sums_at(where(equal(x, last), array(n - 1, int32), found), weights, n);
  if (!density) return {sums, edges};
  const array shares = astype(sums, promote_to_float(sums.dtype()));
  return {shares / (sum(shares) * astype(diff(edges), shares.dtype())), edges};
}

// A maximum that must be known to give the result its shape.
int64_t known(const char* op, const array& a, const char* way_out) {
  if (a.is_tracer())
    throw invalid(
        op, "the size of the result depends on values, which a transformation does not know: ", way_out);
  return array(a).item<int64_t>();
}

}  // namespace

std::pair<array, array> histogram(const array& a, int bins,
                                  const std::optional<std::pair<double, double>>& range, bool density,
                                  const std::optional<array>& weights, StreamOrDevice s) {
  StreamContext context(s);
  check_real("histogram", a, "an array");
  if (bins < 1) throw invalid("histogram", "got bins = ", bins, ", expected at least 1");
  const std::optional<array> w =
      weights ? std::optional(flat_weights("histogram", *weights, a)) : std::nullopt;
  const Dtype dtype = a.dtype() == float64 ? float64 : float32;
  array low = array(0.0, dtype), high = array(1.0, dtype);
  if (range) {
    auto [first, last] = *range;
    if (!std::isfinite(first) || !std::isfinite(last) || first > last)
      throw invalid("histogram", "got range (", first, ", ", last,
                    "), expected finite numbers in ascending order");
    if (first == last) first -= 0.5, last += 0.5;
    low = array(first, dtype), high = array(last, dtype);
  } else if (a.size() > 0) {
    const array x = stop_gradient(astype(a, dtype)), half = array(0.5, dtype);
    const array least = min(x), most = max(x), flat = equal(least, most);
    low = where(flat, least - half, least);
    high = where(flat, most + half, most);
  }
  const array number = arange(0.0, bins + 1.0, dtype), count = array(bins, dtype);
  array edges = low + (high - low) * number / count;
  edges = where(equal(number, count), high, edges);  // not rounded away from the largest element
  return counted(a, edges, density, w);
}

std::pair<array, array> histogram(const array& a, const array& edges, bool density,
                                  const std::optional<array>& weights, StreamOrDevice s) {
  StreamContext context(s);
  check_real("histogram", a, "an array");
  check_real("histogram", edges, "edges");
  if (edges.ndim() != 1 || edges.shape(0) < 2)
    throw invalid("histogram", "got edges of shape ", edges.shape(),
                  ", expected one dimension and at least 2");
  return counted(a, edges, density,
                 weights ? std::optional(flat_weights("histogram", *weights, a)) : std::nullopt);
}

namespace {

void check_whole(const array& x) {
  if (x.ndim() != 1)
    throw invalid("bincount", "got an array of shape ", x.shape(), ", expected one dimension");
  if (issubdtype(x.dtype(), inexact))
    throw invalid("bincount", "got ", x.dtype(), ", expected integers or booleans");
}

Dtype without_sign(Dtype dtype) {
  const size_t size = size_of(dtype);
  return size == 1 ? uint8 : size == 2 ? uint16 : size == 4 ? uint32 : uint64;
}

}  // namespace

array bincount(const array& x, const std::optional<array>& weights, int length, StreamOrDevice s) {
  StreamContext context(s);
  check_whole(x);
  if (length < 0) throw invalid("bincount", "got length = ", length, ", expected it not to be negative");
  const std::optional<array> w =
      weights ? std::optional(flat_weights("bincount", *weights, x)) : std::nullopt;
  return sums_at(x, w, length);
}

array bincount(const array& x, const std::optional<array>& weights, StreamOrDevice s) {
  StreamContext context(s);
  check_whole(x);
  if (x.size() == 0) return bincount(x, weights, 0, s);
  constexpr const char* way_out = "give it by length=";
  // As numbers without a sign, negative ones are the largest: one pass, and one result to wait for.
  const bool is_signed = issubdtype(x.dtype(), signedinteger);
  const array places = is_signed ? view(x, without_sign(x.dtype())) : x;
  const int64_t most = known("bincount", astype(max(places), int64), way_out);
  if (is_signed && (most < 0 || most >> (8 * x.itemsize() - 1) != 0)) {
    const int64_t least = known("bincount", astype(min(x), int64), way_out);
    throw invalid("bincount", "got the element ", least, ", expected none to be negative");
  }
  if (most < 0 || most >= std::numeric_limits<int>::max())
    throw invalid("bincount", "got an element of 2^31 - 1 or more, which makes the result too large");
  return bincount(x, weights, static_cast<int>(most) + 1, s);
}

array digitize(const array& x, const array& bins, bool right, StreamOrDevice s) {
  fix_sizes("digitize", {x, bins});
  StreamContext context(s);
  check_real("digitize", x, "an array");
  check_real("digitize", bins, "bins");
  if (bins.ndim() != 1)
    throw invalid("digitize", "got bins of shape ", bins.shape(), ", expected one dimension");
  const int n = bins.shape(0);
  if (n == 0) return zeros(x.shape(), uint32);
  const array falls = greater(take(bins, 0, 0), take(bins, n - 1, 0));
  const array ascending = where(falls, flip(bins, 0), bins);
  const array place = searchsorted(ascending, x, right ? "left" : "right");
  return where(falls, array(static_cast<uint32_t>(n), uint32) - place, place);
}

array isin(const array& element, const array& test_elements, bool invert, StreamOrDevice s) {
  StreamContext context(s);
  Dtype dtype = promote_types(element.dtype(), test_elements.dtype());
  if (dtype == bool_) dtype = uint8;
  array found = zeros(element.shape(), bool_);
  if (test_elements.size() > 0) {
    const array x = astype(element, dtype), among = sort(flatten(astype(test_elements, dtype)), 0);
    const array last(static_cast<uint32_t>(among.shape(0) - 1), uint32);
    found = equal(take(among, minimum(searchsorted(among, x, "left"), last), 0), x);
  }
  return invert ? logical_not(found) : found;
}

namespace {
// Where elements of an array of this shape lie, by their numbers in row-major order.
Arrays coordinates(array flat, const Shape& shape) {
  Arrays out(shape.size(), flat);
  for (size_t d = shape.size(); d-- > 0;) {
    const array extent(std::max(shape[d], 1), flat.dtype());
    out[d] = d == 0 ? flat : remainder(flat, extent);
    flat = floor_divide(flat, extent);
  }
  return out;
}
}  // namespace

std::vector<array> nonzero(const array& a, int size, int fill_value, StreamOrDevice s) {
  StreamContext context(s);
  if (a.ndim() == 0) throw invalid("nonzero", "got an array without dimensions, expected at least one");
  if (size < 0) throw invalid("nonzero", "got size = ", size, ", expected it not to be negative");
  const array is = flatten(astype(a, bool_));
  const Dtype index = a.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ? int64 : int32;
  const auto number = [&](int64_t i) { return array(i, index); };
  // The i-th element that counts goes to place i; all others to one behind the end.
  const array rank = cumsum(astype(is, index), 0) - number(1);
  const array place = where(is, minimum(rank, number(size)), number(size));
  const array own = arange(0.0, static_cast<double>(is.size()), index);
  const array none = full({size + 1}, number(-1), index);
  array flat = slice(put_along_axis(none, place, own, 0), {0}, {size}, {1});
  const array empty = less(flat, number(0));
  Arrays out = coordinates(flat, a.shape());
  for (array& at : out) at = where(empty, number(fill_value), at);
  return out;
}
std::vector<array> nonzero(const array& a, StreamOrDevice s) {
  if (a.ndim() == 0) throw invalid("nonzero", "got an array without dimensions, expected at least one");
  known("nonzero", astype(count_nonzero(a, false, s), int64, s), "give it by size=");  // or cannot be known
  StreamContext context(s);
  return coordinates(nonzero_indices(flatten(astype(a, bool_))), a.shape());
}

array argwhere(const array& a, int size, int fill_value, StreamOrDevice s) {
  if (a.ndim() == 0) throw invalid("argwhere", "got an array without dimensions, expected at least one");
  return stack(nonzero(a, size, fill_value, s), 1, s);
}
array argwhere(const array& a, StreamOrDevice s) {
  if (a.ndim() == 0) throw invalid("argwhere", "got an array without dimensions, expected at least one");
  known("argwhere", astype(count_nonzero(a, false, s), int64, s), "give it by size=");
  return stack(nonzero(a, s), 1, s);
}

namespace {
// Of sorted elements, each that is not the one before it.
array begins_run(const array& sorted) {
  const int n = sorted.shape(0);
  return concatenate(
      {ones({1}, bool_), not_equal(slice(sorted, {1}, {n}, {1}), slice(sorted, {0}, {n - 1}, {1}))}, 0);
}
}  // namespace

int count_unique(const array& a, StreamOrDevice s) {
  StreamContext context(s);
  if (a.size() == 0) return 0;
  const array count = count_nonzero(begins_run(sort(flatten(a), 0)));
  return static_cast<int>(known("unique", astype(count, int64), "give it by size="));
}

array unique_values(const array& a, StreamOrDevice s) {
  StreamContext context(s);
  const array sorted = sort(flatten(a), 0);
  if (a.size() == 0) return sorted;
  const array begins = begins_run(sorted);
  known("unique", astype(count_nonzero(begins), int64), "give it by size=");  // or cannot be known
  return take(sorted, nonzero_indices(begins), 0);
}

}  // namespace mlx::core
