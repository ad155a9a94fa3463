// pad: constant values around an array, or its own elements continued.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/concatenate.h"

namespace mlx::core {
namespace {

Shape padded(const Shape& shape, const Shape& low, const Shape& high) {
  Shape out = shape;
  for (size_t i = 0; i < out.size(); ++i) out[i] = safe_cast(int64_t{out[i]} + low[i] + high[i], "pad");
  return out;
}

// The element that position p stands for; p runs from -low to n + high - 1.
int64_t source_of(const std::string& mode, int64_t p, int64_t n) {
  if (mode == "edge") return std::clamp<int64_t>(p, 0, n - 1);
  const auto modulo = [](int64_t x, int64_t m) { return (x % m + m) % m; };
  if (mode == "reflect") {  // the end is not repeated: period 2n - 2
    if (n == 1) return 0;
    const int64_t x = modulo(p, 2 * n - 2);
    return x < n ? x : 2 * n - 2 - x;
  }
  const int64_t x = modulo(p, 2 * n);  // symmetric
  return x < n ? x : 2 * n - 1 - x;
}

array continued(const array& a, int axis, int low, int high, const std::string& mode,
                const StreamOrDevice& s) {
  fix_size("pad", a, axis);
  const int n = a.shape(axis);
  if (n == 0)
    throw invalid("pad", "axis ", axis, " of shape ", a.shape(), " is empty, mode ", mode, " needs elements");
  // Only the borders are looked up.
  const auto border = [&](int begin, int end) {
    std::vector<int> index;
    for (int p = begin; p < end; ++p) index.push_back(static_cast<int>(source_of(mode, p, n)));
    return take(a, array(index.begin(), {end - begin}, int32), axis, s);
  };
  Arrays parts;
  if (low > 0) parts.push_back(border(-low, 0));
  parts.push_back(a);
  if (high > 0) parts.push_back(border(n, n + high));
  return concatenate(parts, axis, s);
}

}  // namespace

Arrays Pad::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const array& g = cotangents[0];
  Shape stop = low;
  for (size_t i = 0; i < stop.size(); ++i) stop[i] += primals[0].shape()[i];
  Arrays grads;
  for (int arg : argnums) {
    if (arg == 0) {
      grads.push_back(slice(g, low, stop, stream()));
    } else {
      // The border alone: subtracting the inner sum from the whole would round.
      grads.push_back(sum(slice_update(g, zeros_of(primals[0]), low, stop, stream()), false, stream()));
    }
  }
  return grads;
}
Arrays Pad::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays t{zeros_of(primals[0]), zeros_of(primals[1])};
  for (size_t i = 0; i < argnums.size(); ++i) t[static_cast<size_t>(argnums[i])] = tangents[i];
  Axes axes = all_axes(primals[0]);
  return {pad(t[0], axes, low, high, t[1], "constant", stream())};
}
Batched Pad::vmap(const Arrays& inputs, const Axes& axes) {
  const Stream s = stream();
  const int batch = batch_size(inputs, axes);
  const array a = batch_to_front(inputs[0], axes[0], batch);
  Axes behind;
  for (size_t i = 1; i < a.ndim(); ++i) behind.push_back(static_cast<int>(i));
  if (axes[1] < 0) return {{pad(a, behind, low, high, inputs[1], "constant", s)}, {0}};
  // A value for each: where the array is not.
  const array inside = pad(ones({a.shape().begin() + 1, a.shape().end()}, bool_, s),
                           all_axes(ones_of(inputs[0])), low, high, array(false), "constant", s);
  Shape value(a.ndim(), 1);
  value[0] = batch;
  return {
      {where(inside, pad(a, behind, low, high, like(a, 0), "constant", s), reshape(inputs[1], value, s), s)},
      {0}};
}
std::vector<Shape> Pad::output_shapes(const Arrays& inputs) { return {padded(inputs[0].shape(), low, high)}; }

array pad(const array& a, const std::vector<int>& axes, const Shape& low_pad_size, const Shape& high_pad_size,
          const array& pad_value, const std::string& mode, StreamOrDevice s) {
  if (axes.size() != low_pad_size.size() || axes.size() != high_pad_size.size())
    throw invalid("pad", "got ", low_pad_size.size(), " low and ", high_pad_size.size(), " high sizes for ",
                  axes.size(), " axes, expected as many");
  Shape low(a.ndim(), 0), high(a.ndim(), 0);
  bool nothing = true;
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = static_cast<size_t>(checked_axis("pad", axes[i], a.shape()));
    if (low_pad_size[i] < 0 || high_pad_size[i] < 0)
      throw invalid("pad", "got the sizes (", low_pad_size[i], ", ", high_pad_size[i], ") for axis ", axes[i],
                    ", expected none below 0");
    low[axis] = low_pad_size[i];
    high[axis] = high_pad_size[i];
    nothing = nothing && low_pad_size[i] == 0 && high_pad_size[i] == 0;
  }
  if (mode == "constant") {
    if (pad_value.size() != 1)
      throw invalid("pad", "got a value of shape ", pad_value.shape(), ", expected one element");
    if (nothing) return a;
    array value = astype(reshape(pad_value, {}, s), a.dtype(), s);
    return make<Pad>(padded(a.shape(), low, high), a.dtype(), s, {a, std::move(value)}, low, high);
  }
  if (mode != "edge" && mode != "reflect" && mode != "symmetric")
    throw invalid("pad", "got the mode \"", mode,
                  "\", expected \"constant\", \"edge\", \"reflect\" or \"symmetric\"");
  array out = a;
  for (int axis = 0; axis < static_cast<int>(a.ndim()); ++axis) {
    const size_t i = static_cast<size_t>(axis);
    if (low[i] != 0 || high[i] != 0) out = continued(out, axis, low[i], high[i], mode, s);
  }
  return out;
}

array pad(const array& a, const std::vector<std::pair<int, int>>& pad_width, const array& pad_value,
          const std::string& mode, StreamOrDevice s) {
  if (pad_width.size() != a.ndim())
    throw invalid("pad", "got ", pad_width.size(), " pairs of sizes for an array of shape ", a.shape(),
                  ", expected ", a.ndim());
  Shape low, high;
  for (const auto& [before, after] : pad_width) {
    low.push_back(before);
    high.push_back(after);
  }
  return pad(a, all_axes(a), low, high, pad_value, mode, s);
}
array pad(const array& a, const std::pair<int, int>& pad_width, const array& pad_value,
          const std::string& mode, StreamOrDevice s) {
  return pad(a, std::vector<std::pair<int, int>>(a.ndim(), pad_width), pad_value, mode, s);
}
array pad(const array& a, int pad_width, const array& pad_value, const std::string& mode, StreamOrDevice s) {
  return pad(a, std::pair<int, int>(pad_width, pad_width), pad_value, mode, s);
}

namespace {
const bool kept_pad = primitive_table().add<Pad>("Pad", 2, [](const Pad& p, const Arrays& in) {
  return Arrays{pad(in[0], all_axes(in[0]), p.low, p.high, in[1], "constant", p.stream())};
});
}  // namespace

}  // namespace mlx::core
