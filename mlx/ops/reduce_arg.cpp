// argmax, argmin: where the extreme lies. logsumexp. median.
#include <limits>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/reduce.h"

namespace mlx::core {

Arrays ArgReduce::vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) {
  return {zeros_of(primals[0])};  // indices do not change with the values
}
Arrays ArgReduce::jvp(const Arrays& primals, const Arrays&, const Axes&) {
  return {zeros(reduced_shape(primals[0].shape(), {axis}, keepdims), uint32, stream())};
}
Batched ArgReduce::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{make<ArgReduce>(reduced_shape(in[0].shape(), {axis + 1}, keepdims), uint32, stream(),
                                  {in[0]}, max, axis + 1, keepdims)};
  });
}
std::vector<Shape> ArgReduce::output_shapes(const Arrays& inputs) {
  return {reduced_shape(inputs[0].shape(), {axis}, keepdims)};
}

// d/dx log sum exp(x) = exp(x - y), the softmax.
Arrays LogSumExp::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const Axes last{-1};
  const array y = keepdims ? outputs[0] : expand_dims(outputs[0], last, stream());
  const array g = keepdims ? cotangents[0] : expand_dims(cotangents[0], last, stream());
  return {multiply(g, exp(subtract(primals[0], y, stream()), stream()), stream())};
}
Arrays LogSumExp::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const array weights = softmax(primals[0], -1, true, stream());
  return {sum(multiply(tangents[0], weights, stream()), -1, keepdims, stream())};
}
Batched LogSumExp::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{make<LogSumExp>(output_shapes(in)[0], in[0].dtype(), stream(), {in[0]}, keepdims)};
  });
}
std::vector<Shape> LogSumExp::output_shapes(const Arrays& inputs) {
  return {reduced_shape(inputs[0].shape(), {static_cast<int>(inputs[0].ndim()) - 1}, keepdims)};
}

namespace {

array arg_reduce(bool max, const array& a, int axis, bool keepdims, StreamOrDevice s) {
  const char* name = max ? "argmax" : "argmin";
  const int at = checked_axis(name, axis, a.shape());
  if (a.shape(at) == 0)
    throw invalid(name, "got an array of shape ", a.shape(), " whose axis ", at,
                  " is empty, expected an element");
  return make<ArgReduce>(reduced_shape(a.shape(), {at}, keepdims), uint32, s, {a}, max, at, keepdims);
}
// Where the extreme of all elements comes first, row by row.
array first_extreme(bool max, const array& a, StreamOrDevice s) {
  if (a.size() <= static_cast<size_t>(std::numeric_limits<ShapeElem>::max()))
    return arg_reduce(max, flatten(a, s), 0, false, s);
  // No axis is so long. The extreme of each row, and then of these.
  const char* name = max ? "argmax" : "argmin";
  if (a.size() - 1 > std::numeric_limits<uint32_t>::max())
    throw invalid(name, "got ", a.size(), " elements, expected at most 4294967296: positions are uint32");
  const array rows = max ? core::max(a, -1, false, s) : core::min(a, -1, false, s);
  const array row = first_extreme(max, rows, s);
  const array within = take(flatten(arg_reduce(max, a, -1, false, s), s), row, 0, s);
  return add(multiply(row, array(static_cast<uint32_t>(a.shape(-1))), s), within, s);
}
array arg_reduce_all(bool max, const array& a, bool keepdims, StreamOrDevice s) {
  if (a.size() == 0)
    throw invalid(max ? "argmax" : "argmin", "got an empty array of shape ", a.shape(),
                  ", expected an element");
  const array index = first_extreme(max, a, s);
  return keepdims ? reshape(index, Shape(a.ndim(), 1), s) : index;
}

array complex_logsumexp(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  array m = max(real(a, s), axes, true, s);
  m = where(isfinite(m, s), m, zeros_of(m), s);
  const array y = add(log(sum(exp(subtract(a, m, s), s), axes, true, s), s), m, s);
  return keepdims ? y : squeeze(y, axes, s);
}

}  // namespace

array argmin(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return arg_reduce(false, a, axis, keepdims, s);
}
array argmin(const array& a, bool keepdims, StreamOrDevice s) {
  return arg_reduce_all(false, a, keepdims, s);
}
array argmin(const array& a, StreamOrDevice s) { return arg_reduce_all(false, a, false, s); }
array argmax(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return arg_reduce(true, a, axis, keepdims, s);
}
array argmax(const array& a, bool keepdims, StreamOrDevice s) { return arg_reduce_all(true, a, keepdims, s); }
array argmax(const array& a, StreamOrDevice s) { return arg_reduce_all(true, a, false, s); }

array logsumexp(const array& a, const Axes& given, bool keepdims, StreamOrDevice s) {
  const Axes axes = checked_axes("logsumexp", given, a.shape());
  const array x = astype(a, promote_to_float(a.dtype()), s);
  if (axes.empty()) return x;
  if (x.size() == 0)
    throw invalid("logsumexp", "got an empty array of shape ", a.shape(), ", expected an element");
  if (x.dtype() == complex64) return complex_logsumexp(x, axes, keepdims, s);
  const array rows = axes_last(x, axes, s);
  const bool kept_last = keepdims && axes.size() == 1 && axes[0] == static_cast<int>(a.ndim()) - 1;
  const Shape shape = reduced_shape(rows.shape(), {static_cast<int>(rows.ndim()) - 1}, kept_last);
  const array y = make<LogSumExp>(shape, x.dtype(), s, {rows}, kept_last);
  return keepdims && !kept_last ? expand_dims(y, axes, s) : y;
}
array logsumexp(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return logsumexp(a, Axes{axis}, keepdims, s);
}
array logsumexp(const array& a, bool keepdims, StreamOrDevice s) {
  return logsumexp(a, all_axes(a), keepdims, s);
}
array logsumexp(const array& a, StreamOrDevice s) { return logsumexp(a, all_axes(a), false, s); }

// The middle of the sorted values, or the mean of the two in the middle. A nan sorts last and wins.
array median(const array& a, const Axes& given, bool keepdims, StreamOrDevice s) {
  const Axes axes = checked_axes("median", given, a.shape());
  const array x = astype(a, promote_to_float(a.dtype()), s);
  if (axes.empty()) return x;
  for (int axis : axes)
    if (a.shape(axis) == 0)
      throw invalid("median", "got an array of shape ", a.shape(), " whose axis ", axis, " is empty");
  for (int axis : axes) fix_size("median", x, axis);
  const array sorted = sort(axes_last(x, axes, s), -1, s);
  const int n = sorted.shape(-1);
  const auto place = [&](int i) {
    Shape start(sorted.ndim(), 0), stop(sorted.ndim(), kToEnd);
    start.back() = i, stop.back() = i + 1;
    return squeeze(slice(sorted, start, stop, s), -1, s);
  };
  array middle = place(n / 2);
  if (n % 2 == 0) {  // halves first: the sum of two large numbers may overflow
    const array half = like(x, 0.5);
    middle = add(multiply(place(n / 2 - 1), half, s), multiply(middle, half, s), s);
  }
  const array largest = place(n - 1);
  const array y = where(isnan(largest, s), largest, middle, s);
  return keepdims ? expand_dims(y, axes, s) : y;
}
array median(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return median(a, Axes{axis}, keepdims, s);
}
array median(const array& a, bool keepdims, StreamOrDevice s) { return median(a, all_axes(a), keepdims, s); }
array median(const array& a, StreamOrDevice s) { return median(a, all_axes(a), false, s); }

namespace {
const bool kept_reduce_arg =
    primitive_table().add<ArgReduce>(
        "ArgReduce", 1,
        [](const ArgReduce& p, const Arrays& in) {
          return Arrays{arg_reduce(p.max, in[0], p.axis, p.keepdims, p.stream())};
        }) &&
    primitive_table().add<LogSumExp>("LogSumExp", 1, [](const LogSumExp& p, const Arrays& in) {
      return Arrays{logsumexp(in[0], -1, p.keepdims, p.stream())};
    });
}  // namespace

}  // namespace mlx::core
