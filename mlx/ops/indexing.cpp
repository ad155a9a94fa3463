// take, gather and their kin: reading.
#include "mlx/ops/indexing.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {
namespace {

void check_index(const char* op, const array& index) {
  if (!issubdtype(index.dtype(), integer))
    throw invalid(op, "got indices of ", index.dtype(), ", expected integers");
}

// Zeros for the gradient of index arrays.
Arrays no_gradients(const Arrays& primals, const Axes& argnums) {
  Arrays grads;
  for (int arg : argnums) grads.push_back(zeros_of(primals[static_cast<size_t>(arg)]));
  return grads;
}

bool differentiates_array(const Axes& argnums) { return !argnums.empty() && argnums[0] == 0; }

}  // namespace

// --- take ---

array take(const array& a, const array& indices, int axis, StreamOrDevice s) {
  const int ax = checked_axis("take", axis, a.shape());
  check_index("take", indices);
  if (indices.size() != 0 && a.shape(ax) == 0)
    throw invalid("take", "got ", indices.size(), " indices into axis ", ax, " of shape ", a.shape(),
                  ", which has no elements");
  return make<Take>(Take(Stream(0, Device::cpu), ax).output_shapes({a, indices})[0], a.dtype(), s,
                    {a, indices}, ax);
}
array take(const array& a, const array& indices, StreamOrDevice s) {
  if (a.size() <= static_cast<size_t>(std::numeric_limits<ShapeElem>::max()))
    return take(flatten(a, s), indices, 0, s);
  // No axis is so long: an index for each axis instead.
  check_index("take", indices);
  const auto number = [](auto n) { return array(static_cast<int64_t>(n), int64); };
  array rest = astype(indices, int64, s);
  rest = where(less(rest, number(0), s), add(rest, number(a.size()), s), rest, s);
  rest = where(less(rest, number(0), s), number(a.size()), rest, s);  // still in front: out of range
  Arrays places;
  Axes axes;
  for (int axis = static_cast<int>(a.ndim()) - 1; axis >= 0; --axis) {
    // What is left for the first axis is not reduced: out of range there if it is out of range.
    places.insert(places.begin(), axis == 0 ? rest : remainder(rest, number(a.shape(axis)), s));
    rest = floor_divide(rest, number(a.shape(axis)), s);
    axes.insert(axes.begin(), axis);
  }
  return reshape(gather(a, places, axes, Shape(a.ndim(), 1), s), indices.shape(), s);
}
array take(const array& a, int index, int axis, StreamOrDevice s) {
  const int ax = checked_axis("take", axis, a.shape());
  const int size = a.shape(ax);
  if (index < -size || index >= size)
    throw std::out_of_range(
        text("[take] index ", index, " is out of range for axis ", ax, " with size ", size));
  Shape start(a.ndim(), 0), stop(a.ndim(), kToEnd);
  start[static_cast<size_t>(ax)] = index;
  if (index != -1) stop[static_cast<size_t>(ax)] = index + 1;
  return squeeze(slice(a, std::move(start), std::move(stop), s), ax, s);
}
array take(const array& a, int index, StreamOrDevice s) { return take(flatten(a, s), index, 0, s); }

std::vector<Shape> Take::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, inputs[1].shape().begin(), inputs[1].shape().end());
  return {shape};
}

Arrays Take::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays grads = no_gradients(primals, argnums);
  if (!differentiates_array(argnums)) return grads;
  // The cotangent as scatter_add wants it: axes of the indices first, the taken axis as one of size 1.
  const int k = static_cast<int>(primals[1].ndim());
  const array& g = cotangents[0];
  Axes order;
  for (int i = 0; i < k; ++i) order.push_back(axis + i);
  for (int i = 0; i < static_cast<int>(g.ndim()); ++i)
    if (i < axis || i >= axis + k) order.push_back(i);
  const array updates = expand_dims(transpose(g, order, stream()), axis + k, stream());
  grads[0] = scatter_add(zeros_of(primals[0]), {primals[1]}, updates, Axes{axis}, stream());
  return grads;
}
Arrays Take::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {
      take(differentiates_array(argnums) ? tangents[0] : zeros_of(primals[0]), primals[1], axis, stream())};
}
Batched Take::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  if (at[1] < 0) return {{take(batch_to_front(inputs[0], at[0], 1), inputs[1], axis + 1, s)}, {0}};
  const array indices = batch_to_front(inputs[1], at[1], 1);
  if (at[0] < 0) return {{take(inputs[0], indices, axis, s)}, {axis}};
  // Both: each index tuple is (batch, index), and the batch axis comes out first.
  const array a = batch_to_front(inputs[0], at[0], 1);
  const int k = static_cast<int>(indices.ndim()) - 1, batch = a.shape(0);
  Shape lead(indices.ndim(), 1);
  lead[0] = batch;
  Shape sizes = a.shape();
  sizes[0] = sizes[static_cast<size_t>(axis + 1)] = 1;
  array out = gather(a, {reshape(arange(0.0, batch, 1.0, int64, s), lead, s), astype(indices, int64, s)},
                     Axes{0, axis + 1}, sizes, s);
  out = squeeze(out, Axes{1 + k, 1 + k + axis + 1}, s);
  Axes order{0};  // batch, axes before the taken one, those of the indices, the rest
  for (int i = 0; i < axis; ++i) order.push_back(1 + k + i);
  for (int i = 0; i < k; ++i) order.push_back(1 + i);
  for (int i = 1 + k + axis; i < static_cast<int>(out.ndim()); ++i) order.push_back(i);
  return {{transpose(out, order, s)}, {0}};
}

// --- gather ---

array gather(const array& a, const std::vector<array>& indices, const std::vector<int>& axes,
             const Shape& slice_sizes, StreamOrDevice s) {
  if (indices.size() != axes.size())
    throw invalid("gather", "got ", indices.size(), " index arrays for ", axes.size(),
                  " axes, expected as many");
  checked_axes("gather", axes, a.shape());
  Axes on;
  for (int axis : axes) on.push_back(checked_axis("gather", axis, a.shape()));
  const bool none = selects_nothing(indices);
  bool fits = slice_sizes.size() == a.ndim();
  for (size_t i = 0; fits && i < a.ndim(); ++i)
    fits = slice_sizes[i] >= 0 && slice_sizes[i] <= std::max(a.shape()[i], none ? 1 : 0);
  if (!fits)
    throw invalid("gather", "got the slice sizes ", slice_sizes, " for an array of shape ", a.shape(),
                  ", expected sizes from 0 to those");
  for (const array& index : indices) check_index("gather", index);
  for (int i = 0; i < static_cast<int>(a.ndim()); ++i)
    if (std::find(on.begin(), on.end(), i) == on.end()) fix_size("gather", a, i);
  Arrays inputs = broadcast_arrays(indices, s);
  inputs.insert(inputs.begin(), a);
  Shape shape = Gather(Stream(0, Device::cpu), on, slice_sizes).output_shapes(inputs)[0];
  return make<Gather>(std::move(shape), a.dtype(), s, std::move(inputs), std::move(on), slice_sizes);
}
array gather(const array& a, const array& indices, int axis, const Shape& slice_sizes, StreamOrDevice s) {
  return gather(a, Arrays{indices}, Axes{axis}, slice_sizes, s);
}

std::vector<Shape> Gather::output_shapes(const Arrays& inputs) {
  Shape shape = inputs.size() > 1 ? inputs[1].shape() : Shape{};
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  return {shape};
}
Arrays Gather::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays grads = no_gradients(primals, argnums);
  if (differentiates_array(argnums))
    grads[0] = scatter_add(zeros_of(primals[0]), Arrays(primals.begin() + 1, primals.end()), cotangents[0],
                           axes, stream());
  return grads;
}
Arrays Gather::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {gather(differentiates_array(argnums) ? tangents[0] : zeros_of(primals[0]),
                 Arrays(primals.begin() + 1, primals.end()), axes, sizes, stream())};
}
Batched Gather::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  const bool array_batched = at[0] >= 0;
  const bool indices_batched = std::any_of(at.begin() + 1, at.end(), [](int axis) { return axis >= 0; });
  const int batch = batch_size(inputs, at);
  Arrays indices(inputs.begin() + 1, inputs.end());
  const int k =
      indices.empty() ? 0 : static_cast<int>(indices[0].ndim()) - (at[1] >= 0);  // axes of I, unbatched
  if (indices_batched)
    for (size_t i = 0; i < indices.size(); ++i) indices[i] = batch_to_front(indices[i], at[i + 1], batch);
  if (!array_batched) return {{gather(inputs[0], indices, axes, sizes, s)}, {0}};
  const array a = batch_to_front(inputs[0], at[0], batch);
  Axes on = axes;
  for (int& axis : on) ++axis;
  Shape box = sizes;
  box.insert(box.begin(), indices_batched ? 1 : batch);
  if (!indices_batched) return {{gather(a, indices, on, box, s)}, {k}};
  Shape lead(static_cast<size_t>(k) + 1, 1);
  lead[0] = batch;
  indices.push_back(reshape(arange(0.0, batch, 1.0, int64, s), lead, s));
  on.push_back(0);
  return {{squeeze(gather(a, indices, on, box, s), k + 1, s)}, {0}};
}

// --- along an axis ---

namespace {
// The shape with `size` on the axis, for broadcasting everything else.
Shape with_axis(const Shape& shape, int axis, ShapeElem size) {
  Shape out = shape;
  out[static_cast<size_t>(axis)] = size;
  return out;
}
}  // namespace

array take_along_axis(const array& a, const array& indices, int axis, StreamOrDevice s) {
  const int ax = checked_axis("take_along_axis", axis, a.shape());
  check_index("take_along_axis", indices);
  if (indices.ndim() != a.ndim())
    throw invalid("take_along_axis", "got indices with ", indices.ndim(), " dimensions for an array with ",
                  a.ndim(), ", expected as many");
  Shape common;
  try {
    common = broadcast_shapes(with_axis(a.shape(), ax, 1), with_axis(indices.shape(), ax, 1));
  } catch (const std::invalid_argument&) {
    throw invalid("take_along_axis", "got indices of shape ", indices.shape(), " for an array of shape ",
                  a.shape(), ", expected sizes that broadcast except on axis ", ax);
  }
  if (common != with_axis(a.shape(), ax, 1) || common != with_axis(indices.shape(), ax, 1))
    fix_sizes("take_along_axis", {a, indices});
  Shape shape = with_axis(common, ax, indices.shape(ax));
  Arrays inputs =
      common == with_axis(a.shape(), ax, 1) && indices.shape() == shape
          ? Arrays{a, indices}
          : Arrays{broadcast_to(a, with_axis(common, ax, a.shape(ax)), s), broadcast_to(indices, shape, s)};
  return make<TakeAlongAxis>(std::move(shape), a.dtype(), s, std::move(inputs), ax);
}

Arrays TakeAlongAxis::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                          const Arrays&) {
  Arrays grads = no_gradients(primals, argnums);
  if (differentiates_array(argnums))
    grads[0] = scatter_add_axis(zeros_of(primals[0]), primals[1], cotangents[0], axis, stream());
  return grads;
}
Arrays TakeAlongAxis::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {take_along_axis(differentiates_array(argnums) ? tangents[0] : zeros_of(primals[0]), primals[1],
                          axis, stream())};
}
Batched TakeAlongAxis::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{take_along_axis(in[0], in[1], axis + 1, stream())};
  });
}

// --- by mask ---

Arrays MaskedSelect::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays&) {
  Arrays grads = no_gradients(primals, argnums);
  if (differentiates_array(argnums))
    grads[0] = masked_scatter(zeros_of(primals[0]), primals[1], cotangents[0], stream());
  return grads;
}
Arrays MaskedSelect::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {make<MaskedSelect>({size}, primals[0].dtype(), stream(),
                             {differentiates_array(argnums) ? tangents[0] : zeros_of(primals[0]), primals[1]},
                             size)};
}
Batched MaskedSelect::vmap(const Arrays& inputs, const Axes& axes) {
  const int batch = batch_size(inputs, axes);
  const array a = batch_to_front(inputs[0], axes[0], batch), mask = batch_to_front(inputs[1], axes[1], batch);
  Arrays rows;
  for (int i = 0; i < batch; ++i)
    rows.push_back(make<MaskedSelect>({size}, a.dtype(), stream(),
                                      {take(a, i, 0, stream()), take(mask, i, 0, stream())}, size));
  return {{stack(rows, 0, stream())}, {0}};
}

namespace {
const bool kept_indexing = primitive_table().add<Take>("Take", 2, [](const Take& p, const Arrays& in) {
  return Arrays{take(in[0], in[1], p.axis, p.stream())};
}) && primitive_table().add<Gather>("Gather", -1, [](const Gather& p, const Arrays& in) {
  check_inputs(p, !in.empty(), in);
  return Arrays{gather(in[0], Arrays(in.begin() + 1, in.end()), p.axes, p.sizes, p.stream())};
}) && primitive_table().add<TakeAlongAxis>("TakeAlongAxis", 2, [](const TakeAlongAxis& p, const Arrays& in) {
  return Arrays{take_along_axis(in[0], in[1], p.axis, p.stream())};
});
}  // namespace

}  // namespace mlx::core
