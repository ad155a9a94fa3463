// Arrays from numbers. full, zeros and ones cost no memory and nothing to read where element-wise operations
// take them in (Full in mlx/ops/view.h).
#include "mlx/ops/creation.h"

#include <array>
#include <cmath>
#include <numbers>

#include "mlx/ops.h"
#include "mlx/ops/open_sizes.h"
#include "mlx/ops/view.h"

namespace mlx::core {
namespace {

// The 0-d arrays behind zeros and ones, made once. They are never donated: the table holds them.
const array& constant(Dtype dtype, bool one) {
  static const auto table = [] {
    std::vector<array> all;
    for (int i = 0; i < kDtypes; ++i)
      for (int value = 0; value < 2; ++value)
        all.push_back(dispatch_all(Dtype(static_cast<Dtype::Val>(i), 0), [&]<class T>() {
          return array(cast_to<T>(value), Dtype(static_cast<Dtype::Val>(i), sizeof(T)));
        }));
    return all;
  }();
  return table[static_cast<size_t>(dtype.val()) * 2 + one];
}

void check_shape(const char* op, const Shape& shape) {
  for (ShapeElem n : shape)
    if (n < 0) throw invalid(op, "got the shape ", shape, ", expected no negative size");
}

// Never `value` itself, which others hold: numpy writes into the arrays that it is given.
array filled(const array& value, const Shape& shape, const StreamOrDevice& s) {
  if (value.ndim() > 0) broadcast_to(value, shape, s);  // throws where it does not fit
  return make<Full>(shape, value.dtype(), s, {value}, shape);
}
array filled_like(const array& value, const array& x, const StreamOrDevice& s) {
  return OpenSizes::of(x) ? broadcast_like(value, x, s) : filled(value, x.shape(), s);
}

array constants(const char* op, const Shape& shape, Dtype dtype, bool one, const StreamOrDevice& s) {
  check_shape(op, shape);
  return filled(constant(dtype, one), shape, s);
}

bool same_ramp(const Generator& a, const Generator& b) { return a.shape == b.shape && a.dtype == b.dtype; }

}  // namespace

bool Arange::is_equivalent(const Primitive& other) const {
  const auto* p = same_kind(*this, other);
  return p && same_ramp(*this, *p) && p->start == start && p->step == step;
}
bool Linspace::is_equivalent(const Primitive& other) const {
  const auto* p = same_kind(*this, other);
  return p && same_ramp(*this, *p) && p->start == start && p->stop == stop && p->intervals == intervals;
}
bool Eye::is_equivalent(const Primitive& other) const {
  const auto* p = same_kind(*this, other);
  return p && same_ramp(*this, *p) && p->k == k;
}

// --- ramps ---

array arange(double start, double stop, double step, Dtype dtype, StreamOrDevice s) {
  if (dtype == bool_) throw invalid("arange", "got bool, expected a dtype of numbers");
  if (std::isnan(start) || std::isnan(stop) || std::isnan(step))
    throw invalid("arange", "got start ", start, ", stop ", stop, " and step ", step, ", expected numbers");
  if (std::isinf(start) || std::isinf(stop))
    throw invalid("arange", "got start ", start, " and stop ", stop, ", expected finite numbers");
  if (step == 0) throw invalid("arange", "got a step of zero, expected another number");
  const double length = std::max(0.0, std::ceil((stop - start) / step));
  if (length > std::numeric_limits<ShapeElem>::max())
    throw invalid("arange", "from ", start, " to ", stop, " in steps of ", step, " are ", length,
                  " elements, expected at most 2147483647");
  const Shape shape{static_cast<ShapeElem>(length)};
  return make<Arange>(shape, dtype, s, {}, shape, dtype, start, step);
}
array arange(double start, double stop, double step, StreamOrDevice s) {
  return arange(start, stop, step, float32, s);
}
array arange(double start, double stop, Dtype dtype, StreamOrDevice s) {
  return arange(start, stop, 1.0, dtype, s);
}
array arange(double start, double stop, StreamOrDevice s) { return arange(start, stop, 1.0, float32, s); }
array arange(double stop, Dtype dtype, StreamOrDevice s) { return arange(0.0, stop, 1.0, dtype, s); }
array arange(double stop, StreamOrDevice s) { return arange(0.0, stop, 1.0, float32, s); }
array arange(int start, int stop, int step, StreamOrDevice s) {
  return arange(static_cast<double>(start), static_cast<double>(stop), static_cast<double>(step), int32, s);
}
array arange(int start, int stop, StreamOrDevice s) { return arange(start, stop, 1, s); }
array arange(int stop, StreamOrDevice s) { return arange(0, stop, 1, s); }

array linspace(double start, double stop, int num, bool endpoint, Dtype dtype, StreamOrDevice s) {
  if (num < 0) throw invalid("linspace", "got ", num, " samples, expected at least 0");
  const int intervals = std::max(1, endpoint ? num - 1 : num);
  return make<Linspace>({num}, dtype, s, {}, Shape{num}, dtype, start, stop, intervals);
}
array linspace(double start, double stop, int num, Dtype dtype, StreamOrDevice s) {
  return linspace(start, stop, num, true, dtype, s);
}

// --- constants ---

array full(Shape shape, array vals, Dtype dtype, StreamOrDevice s) {
  check_shape("full", shape);
  return filled(astype(std::move(vals), dtype, s), shape, s);
}
array full(Shape shape, array vals, StreamOrDevice s) {
  const Dtype dtype = vals.dtype();
  return full(std::move(shape), std::move(vals), dtype, s);
}
array full_like(const array& a, array vals, Dtype dtype, StreamOrDevice s) {
  return filled_like(astype(std::move(vals), dtype, s), a, s);
}
array full_like(const array& a, array vals, StreamOrDevice s) {
  return full_like(a, std::move(vals), a.dtype(), s);
}
array zeros(const Shape& shape, Dtype dtype, StreamOrDevice s) {
  return constants("zeros", shape, dtype, false, s);
}
array zeros(const Shape& shape, StreamOrDevice s) { return zeros(shape, float32, s); }
array zeros_like(const array& a, StreamOrDevice s) { return zeros_like(a, a.dtype(), s); }
array zeros_like(const array& a, Dtype dtype, StreamOrDevice s) {
  return filled_like(constant(dtype, false), a, s);
}
array ones(const Shape& shape, Dtype dtype, StreamOrDevice s) {
  return constants("ones", shape, dtype, true, s);
}
array ones(const Shape& shape, StreamOrDevice s) { return ones(shape, float32, s); }
array ones_like(const array& a, StreamOrDevice s) { return ones_like(a, a.dtype(), s); }
array ones_like(const array& a, Dtype dtype, StreamOrDevice s) {
  return filled_like(constant(dtype, true), a, s);
}

// --- matrices ---

array eye(int n, int m, int k, Dtype dtype, StreamOrDevice s) {
  if (n < 0 || m < 0) throw invalid("eye", "got ", n, " rows and ", m, " columns, expected at least 0");
  return make<Eye>({n, m}, dtype, s, {}, Shape{n, m}, dtype, k);
}
array eye(int n, Dtype dtype, StreamOrDevice s) { return eye(n, n, 0, dtype, s); }
array eye(int n, int m, StreamOrDevice s) { return eye(n, m, 0, float32, s); }
array eye(int n, int m, int k, StreamOrDevice s) { return eye(n, m, k, float32, s); }
array eye(int n, StreamOrDevice s) { return eye(n, n, 0, float32, s); }
array identity(int n, Dtype dtype, StreamOrDevice s) { return eye(n, n, 0, dtype, s); }
array identity(int n, StreamOrDevice s) { return eye(n, n, 0, float32, s); }

array tri(int n, int m, int k, Dtype type, StreamOrDevice s) {
  const array rows = expand_dims(arange(k, std::max(n, 0) + k, 1, s), 1, s);
  return astype(greater_equal(rows, arange(std::max(m, 0), s), s), type, s);
}
array tri(int n, Dtype type, StreamOrDevice s) { return tri(n, n, 0, type, s); }

array tril(array x, int k, StreamOrDevice s) {
  fix_sizes("tril", x);
  if (x.ndim() < 2)
    throw invalid("tril", "got an array of shape ", x.shape(), ", expected at least two dimensions");
  return where(tri(x.shape(-2), x.shape(-1), k, bool_, s), x, like(x, 0), s);
}
array triu(array x, int k, StreamOrDevice s) {
  fix_sizes("triu", x);
  if (x.ndim() < 2)
    throw invalid("triu", "got an array of shape ", x.shape(), ", expected at least two dimensions");
  return where(tri(x.shape(-2), x.shape(-1), k - 1, bool_, s), like(x, 0), x, s);
}

std::vector<array> meshgrid(const Arrays& arrays, bool sparse, const std::string& indexing,
                            StreamOrDevice s) {
  fix_sizes("meshgrid", arrays);
  if (indexing != "xy" && indexing != "ij")
    throw invalid("meshgrid", "got the indexing \"", indexing, "\", expected \"xy\" or \"ij\"");
  const size_t n = arrays.size();
  Arrays out;
  for (size_t i = 0; i < n; ++i) {
    // "xy" swaps the first two axes.
    const size_t axis = indexing == "xy" && n > 1 && i < 2 ? 1 - i : i;
    Shape shape(n, 1);
    shape[axis] = safe_cast(arrays[i].size(), "meshgrid");
    out.push_back(reshape(arrays[i], shape, s));
  }
  return sparse ? out : broadcast_arrays(out, s);
}

// --- windows ---

namespace {
template <class F>
array window(int M, F&& at) {
  if (M < 1) return zeros({0}, float32);
  std::vector<float> values(static_cast<size_t>(M), 1.0f);
  for (int i = 0; M > 1 && i < M; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>(at(static_cast<double>(i) / (M - 1)));
  return array(values.begin(), {M}, float32);
}
double cosine(double turns) { return std::cos(2 * std::numbers::pi * turns); }
}  // namespace

array hanning(int M, StreamOrDevice) {
  return window(M, [](double x) { return 0.5 - 0.5 * cosine(x); });
}
array hamming(int M, StreamOrDevice) {
  return window(M, [](double x) { return 0.54 - 0.46 * cosine(x); });
}
array bartlett(int M, StreamOrDevice) {
  return window(M, [](double x) { return 1 - std::abs(2 * x - 1); });
}
array blackman(int M, StreamOrDevice) {
  return window(M, [](double x) { return std::max(0.0, 0.42 - 0.5 * cosine(x) + 0.08 * cosine(2 * x)); });
}

}  // namespace mlx::core
