#include "mlx/ops/rules.h"

#include <algorithm>

#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {

int checked_axis(std::string_view op, int axis, const Shape& shape) {
  const int n = static_cast<int>(shape.size());
  if (axis < -n || axis >= n)
    throw std::out_of_range(
        text("[", op, "] axis ", axis, " is outside [", -n, ", ", n, ") of an array of shape ", shape));
  return axis < 0 ? axis + n : axis;
}

Axes checked_axes(std::string_view op, const Axes& axes, const Shape& shape) {
  Axes out;
  for (int axis : axes) out.push_back(checked_axis(op, axis, shape));
  std::sort(out.begin(), out.end());
  const auto twice = std::adjacent_find(out.begin(), out.end());
  if (twice != out.end()) throw invalid(op, "axis ", *twice, " is given twice, expected different axes");
  return out;
}

Axes all_axes(const array& a) {
  Axes axes(a.ndim());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
  return axes;
}

void check_dtype(std::string_view op, const array& a, Dtype::Category category) {
  static constexpr const char* names[] = {"complexfloating", "floating", "inexact", "signedinteger",
                                          "unsignedinteger", "integer",  "number",  "generic"};
  if (!issubdtype(a.dtype(), category))
    throw invalid(op, "got an array of ", a.dtype(), ", expected a dtype of the family ",
                  names[static_cast<int>(category)]);
}

void check_inputs(const Primitive& p, bool fit, const Arrays& inputs) {
  if (fit) return;
  std::ostringstream os;
  for (const array& a : inputs) os << " " << a.dtype() << " " << a.shape();
  throw invalid(p.name(), "got inputs that do not belong together:", os.str());
}
bool alike(const array& a, const array& b) { return a.shape() == b.shape() && a.dtype() == b.dtype(); }

Arrays chosen(const Arrays& all, const Axes& which) {
  Arrays out;
  for (const int i : which) out.push_back(all[static_cast<size_t>(i)]);
  return out;
}
Composition with_only(const Arrays& all, const Axes& which, const Composition& f) {
  return [=](const Arrays& some) {
    Arrays in = all;
    for (size_t i = 0; i < which.size(); ++i) in[static_cast<size_t>(which[i])] = some[i];
    return f(in);
  };
}
Arrays vjp_of(const Composition& f, const Arrays& primals, const Arrays& cotangents, const Axes& argnums) {
  return vjp(with_only(primals, argnums, f), chosen(primals, argnums), cotangents).second;
}
Arrays jvp_of(const Composition& f, const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp(with_only(primals, argnums, f), chosen(primals, argnums), tangents).second;
}

array like(const array& x, double value) { return array(value, x.dtype()); }
array like(const array& x, double real, double imag) {
  if (x.dtype() != complex64) return like(x, real);
  return array(complex64_t(static_cast<float>(real), static_cast<float>(imag)));
}
array zeros_of(const array& x) { return zeros_like(x); }
array ones_of(const array& x) { return ones_like(x); }
array broadcast_like(const array& a, const array& x, StreamOrDevice s) {
  return OpenSizes::of(x) ? where(equal(x, x, s), a, a, s) : broadcast_to(a, x.shape(), s);
}

int batch_size(const Arrays& inputs, const Axes& axes) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (axes[i] >= 0) return inputs[i].shape(axes[i]);
  return 1;
}

array batch_to_front(const array& a, int axis, int size) {
  if (axis == 0) return a;
  if (axis > 0) return moveaxis(a, axis, 0);
  Shape shape = a.shape();
  shape.insert(shape.begin(), size);
  return broadcast_to(expand_dims(a, 0), shape);
}

Batched one_by_one(const Arrays& inputs, const Axes& axes, StreamOrDevice s,
                   const std::function<Arrays(const Arrays&)>& call) {
  const int batch = batch_size(inputs, axes);
  const auto element = [&](size_t j, int i) {
    if (axes[j] < 0) return inputs[j];
    if (batch > 0) return take(inputs[j], i, axes[j], s);
    Shape shape = inputs[j].shape();
    shape.erase(shape.begin() + axes[j]);
    return zeros(shape, inputs[j].dtype(), s);
  };
  std::vector<Arrays> results;
  for (int i = 0; i < std::max(batch, 1); ++i) {
    Arrays in;
    for (size_t j = 0; j < inputs.size(); ++j) in.push_back(element(j, i));
    results.push_back(call(in));
  }
  Arrays out;
  for (size_t j = 0; j < results[0].size(); ++j) {
    Arrays parts;
    for (const Arrays& r : results) parts.push_back(r[j]);
    out.push_back(stack(parts, 0, s));
    if (batch > 0) continue;
    Shape none = out[j].shape();  // of an empty batch the shapes are known, by an element that there is not
    none[0] = 0;
    out[j] = zeros(none, out[j].dtype(), s);
  }
  return {out, Axes(out.size(), 0)};
}

}  // namespace mlx::core
