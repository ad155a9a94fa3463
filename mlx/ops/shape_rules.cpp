// Derivatives and batching rules of the views.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/view.h"

namespace mlx::core {
namespace {

array front(const Arrays& inputs, const Axes& axes) { return batch_to_front(inputs[0], axes[0], 1); }

// Axes of an array that has got a batch axis in front.
Axes behind_batch(const Axes& axes) {
  Axes out = axes;
  for (int& axis : out) ++axis;
  return out;
}

Shape with_batch(int batch, const Shape& shape) {
  Shape out = shape;
  out.insert(out.begin(), batch);
  return out;
}

}  // namespace

// --- copy, stop_gradient, contiguous ---

array Copy::apply(const array& x) const { return x; }
Arrays Copy::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) { return cotangents; }
Batched Copy::vmap(const Arrays& inputs, const Axes& axes) { return {inputs, axes}; }

Arrays StopGradient::vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) {
  return {zeros_of(primals[0])};
}
Arrays StopGradient::jvp(const Arrays& primals, const Arrays&, const Axes&) { return {zeros_of(primals[0])}; }
Batched StopGradient::vmap(const Arrays& inputs, const Axes& axes) {
  return {{stop_gradient(inputs[0], stream())}, axes};
}

array Contiguous::apply(const array& x) const { return contiguous(x, allow_col_major, stream()); }
Arrays Contiguous::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  return cotangents;
}
Batched Contiguous::vmap(const Arrays& inputs, const Axes& axes) {
  return {{contiguous(inputs[0], allow_col_major, stream())}, axes};
}

// --- reshapes ---

array Reshape::apply(const array& x) const { return reshape(x, requested, stream()); }
Arrays Reshape::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {reshape(cotangents[0], primals[0].shape(), stream())};
}
Batched Reshape::vmap(const Arrays& inputs, const Axes& axes) {
  const array a = front(inputs, axes);
  const Shape inner(a.shape().begin() + 1, a.shape().end());
  return {{reshape(a, with_batch(a.shape(0), output_shapes({array(inner, a.dtype(), nullptr, {})})[0]),
                   stream())},
          {0}};
}

array Reaxis::apply(const array& x) const {
  switch (kind) {
    case Kind::flatten:
      return flatten(x, axes[0], axes[1], stream());
    case Kind::unflatten:
      return unflatten(x, axes[0], sizes, stream());
    case Kind::squeeze:
      return squeeze(x, axes, stream());
    default:
      return expand_dims(x, axes, stream());
  }
}
Arrays Reaxis::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  // The inverse names axes as well, where it can: compiled gradients stay true for other shapes too.
  if (kind == Kind::squeeze) return {expand_dims(cotangents[0], axes, stream())};
  if (kind == Kind::expand_dims) return {squeeze(cotangents[0], axes, stream())};
  return {reshape(cotangents[0], primals[0].shape(), stream())};
}
Batched Reaxis::vmap(const Arrays& inputs, const Axes& at) {
  const array a = front(inputs, at);
  if (kind == Kind::flatten && a.ndim() == 1) return {{expand_dims(a, 1, stream())}, {0}};  // of 0-d arrays
  return {{Reaxis(stream(), kind, behind_batch(axes), sizes).apply(a)}, {0}};
}
const char* Reaxis::name() const {
  static constexpr const char* names[] = {"flatten", "unflatten", "squeeze", "expand_dims"};
  return names[static_cast<int>(kind)];
}

// --- transpose, broadcast ---

array Transpose::apply(const array& x) const { return transpose(x, axes, stream()); }
Arrays Transpose::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  Axes inverse(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) inverse[static_cast<size_t>(axes[i])] = static_cast<int>(i);
  return {transpose(cotangents[0], inverse, stream())};
}
Batched Transpose::vmap(const Arrays& inputs, const Axes& at) {
  // The batch axis stays first in the result; wherever it is in the operand, it is one more axis to permute.
  Axes permutation{at[0]};
  for (int axis : axes) permutation.push_back(axis < at[0] ? axis : axis + 1);
  return {{transpose(inputs[0], permutation, stream())}, {0}};
}
std::vector<Shape> Transpose::output_shapes(const Arrays& inputs) {
  Shape shape(axes.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) shape[i] = inputs[0].shape(axes[i]);
  return {shape};
}

array Broadcast::with_shape(const array& x, const Shape& to) const { return broadcast_to(x, to, stream()); }
array Full::with_shape(const array& x, const Shape& to) const { return full(to, x, stream()); }
Arrays BroadcastView::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {sum_to_shape(cotangents[0], primals[0].shape(), stream())};
}
Batched BroadcastView::vmap(const Arrays& inputs, const Axes& axes) {
  array a = front(inputs, axes);
  Shape aligned(shape.size() + 1, 1);
  aligned[0] = a.shape(0);
  std::copy(a.shape().begin() + 1, a.shape().end(),
            aligned.end() - static_cast<std::ptrdiff_t>(a.ndim() - 1));
  return {{with_shape(reshape(a, aligned, stream()), with_batch(a.shape(0), shape))}, {0}};
}

// --- diagonal, as_strided, view ---

array Diagonal::apply(const array& x) const { return diagonal(x, offset, axis1, axis2, stream()); }
Arrays Diagonal::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  // With the two axes last: element (i, j) gets the cotangent of its row where j = i + offset, else zero.
  const array& x = primals[0];
  const array& g = cotangents[0];
  const int rows = x.shape(axis1), columns = x.shape(axis2), last = static_cast<int>(g.ndim()) - 1;
  const int above = std::max(0, -offset);
  if (g.size() == 0) return {zeros_of(x)};
  array by_row =
      pad(g, Axes{last}, Shape{above}, Shape{rows - above - g.shape(last)}, like(g, 0), "constant", stream());
  array grad = where(eye(rows, columns, offset, bool_, stream()), expand_dims(by_row, -1, stream()),
                     like(g, 0), stream());
  Axes back;  // where the axes of x are in grad
  int next = 0;
  for (int i = 0; i < static_cast<int>(x.ndim()); ++i)
    back.push_back(i == axis1 ? last : i == axis2 ? last + 1 : next++);
  return {transpose(grad, back, stream())};
}
Batched Diagonal::vmap(const Arrays& inputs, const Axes& axes) {
  return {{diagonal(front(inputs, axes), offset, axis1 + 1, axis2 + 1, stream())}, {0}};
}

array AsStrided::apply(const array& x) const { return as_strided(x, shape, strides, offset, stream()); }
Arrays AsStrided::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  // The same view of element numbers says where each cotangent belongs; elements seen twice get the sum.
  const array& x = primals[0];
  const Stream s = stream();
  const array numbers = arange(0.0, static_cast<double>(x.size()), 1.0, int64, s);
  const array at = flatten(as_strided(numbers, shape, strides, offset, s), s);
  const array g = reshape(cotangents[0], {static_cast<ShapeElem>(cotangents[0].size()), 1}, s);
  return {reshape(scatter_add(zeros({static_cast<ShapeElem>(x.size())}, x.dtype(), s), at, g, 0, s),
                  x.shape(), s)};
}
Batched AsStrided::vmap(const Arrays& inputs, const Axes& axes) {
  const array a = contiguous(front(inputs, axes), false, stream());
  const int batch = a.shape(0);
  Strides batched = strides;
  batched.insert(batched.begin(), batch == 0 ? 0 : static_cast<int64_t>(a.size()) / batch);
  return {{as_strided(a, with_batch(batch, shape), batched, offset, stream())}, {0}};
}

Arrays View::vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) {
  return {zeros_of(primals[0])};
}
Arrays View::jvp(const Arrays& primals, const Arrays&, const Axes&) {
  return {zeros(shape_of(primals[0]), dtype, stream())};
}
Batched View::vmap(const Arrays& inputs, const Axes& axes) {
  const array a = front(inputs, axes);
  // A batch of scalars must not be packed into larger elements.
  if (a.ndim() == 1) return {{squeeze(core::view(expand_dims(a, 1), dtype, stream()), 1, stream())}, {0}};
  return {{core::view(a, dtype, stream())}, {0}};
}

// --- depends, number_of_elements ---

Arrays Depends::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays grads;
  for (int arg : argnums) {
    const size_t i = static_cast<size_t>(arg);
    grads.push_back(i < cotangents.size() ? cotangents[i] : zeros_of(primals[i]));
  }
  return grads;
}
Arrays Depends::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  // The primitive does not know how many of its inputs are outputs; one tangent each serves all.
  Arrays out;
  for (const array& p : primals) out.push_back(zeros_of(p));
  for (size_t i = 0; i < argnums.size(); ++i) out[static_cast<size_t>(argnums[i])] = tangents[i];
  return out;
}
Batched Depends::vmap(const Arrays& inputs, const Axes& axes) {
  // What batching needs to compute has been computed; only the order is lost.
  return {inputs, axes};
}

double NumberOfElements::value(const Shape& shape) const {
  double n = 1;
  for (int axis : axes) n *= shape[static_cast<size_t>(axis)];
  return inverted ? 1 / n : n;
}
Arrays NumberOfElements::vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) {
  return {zeros_of(primals[0])};
}
Arrays NumberOfElements::jvp(const Arrays&, const Arrays&, const Axes&) {
  return {zeros({}, dtype, stream())};
}
Batched NumberOfElements::vmap(const Arrays& inputs, const Axes& at) {
  Axes shifted = axes;
  for (int& axis : shifted) axis += axis >= at[0];
  return {{number_of_elements(inputs[0], shifted, inverted, dtype, stream())}, {-1}};
}

namespace {

template <class P>
bool keep_view(const char* kind) {
  return primitive_table().add<P>(kind, 1,
                                  [](const P& p, const Arrays& in) { return Arrays{p.apply(in[0])}; });
}

const bool kept_shape_rules =
    primitive_table().add<Copy>(
        "Copy", 1, [](const Copy& p, const Arrays& in) { return Arrays{copy(in[0], p.stream())}; }) &&
    primitive_table().add<StopGradient>(
        "StopGradient", 1,
        [](const StopGradient& p, const Arrays& in) { return Arrays{stop_gradient(in[0], p.stream())}; }) &&
    keep_view<Contiguous>("Contiguous") && keep_view<Reshape>("Reshape") &&
    keep_view<Transpose>("Transpose") && keep_view<Broadcast>("Broadcast") && keep_view<Full>("Full") &&
    keep_view<Diagonal>("Diagonal") && keep_view<AsStrided>("AsStrided") &&
    primitive_table().add<Reaxis>("Reaxis", 1,
                                  [](const Reaxis& p, const Arrays& in) {
                                    const bool flattens = p.kind == Reaxis::Kind::flatten;
                                    check_inputs(p,
                                                 flattens                            ? p.axes.size() == 2
                                                 : p.kind == Reaxis::Kind::unflatten ? p.axes.size() == 1
                                                                                     : true,
                                                 in);
                                    return Arrays{p.apply(in[0])};
                                  }) &&
    primitive_table().add<View>(
        "View", 1,
        [](const View& p, const Arrays& in) { return Arrays{core::view(in[0], p.dtype, p.stream())}; }) &&
    primitive_table().add<Depends>("Depends", -1,
                                   [](const Depends& p, const Arrays& in, size_t outputs) {
                                     check_inputs(p, outputs > 0 && outputs <= in.size(), in);
                                     const auto split = in.begin() + static_cast<std::ptrdiff_t>(outputs);
                                     return depends(Arrays(in.begin(), split), Arrays(split, in.end()));
                                   }) &&
    primitive_table().add<NumberOfElements>(
        "NumberOfElements", 1, [](const NumberOfElements& p, const Arrays& in) {
          return Arrays{number_of_elements(in[0], p.axes, p.inverted, p.dtype, p.stream())};
        });

}  // namespace

}  // namespace mlx::core
