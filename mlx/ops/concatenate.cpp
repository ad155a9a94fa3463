// Arrays made of copies of arrays: concatenate, stack, repeat, tile, roll.
#include "mlx/ops/concatenate.h"

#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {

// --- concatenate ---

Arrays Concatenate::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const array& g = cotangents[0];
  const size_t ax = static_cast<size_t>(axis);
  Shape ends;
  for (const array& p : primals) ends.push_back((ends.empty() ? 0 : ends.back()) + p.shape()[ax]);
  Arrays grads;
  for (int arg : argnums) {
    const size_t i = static_cast<size_t>(arg);
    Shape start(g.ndim(), 0), stop = g.shape();
    start[ax] = i == 0 ? 0 : ends[i - 1];
    stop[ax] = ends[i];
    grads.push_back(slice(g, start, stop, stream()));
  }
  return grads;
}
Arrays Concatenate::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays all;
  for (const array& p : primals) all.push_back(zeros_of(p));
  for (size_t i = 0; i < argnums.size(); ++i) all[static_cast<size_t>(argnums[i])] = tangents[i];
  return {concatenate(all, axis, stream())};
}
Batched Concatenate::vmap(const Arrays& inputs, const Axes& axes) {
  return batch_leading(inputs, axes,
                       [&](const Arrays& in) { return Arrays{concatenate(in, axis + 1, stream())}; });
}
std::vector<Shape> Concatenate::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  int64_t total = 0;
  for (const array& a : inputs) total += a.shape(axis);
  shape[static_cast<size_t>(axis)] = safe_cast(total, "concatenate");
  return {shape};
}

array concatenate(std::vector<array> arrays, int axis, StreamOrDevice s) {
  if (arrays.empty()) throw invalid("concatenate", "got no arrays, expected at least one");
  const Shape& first = arrays[0].shape();
  const int ax = checked_axis("concatenate", axis, first);
  const Dtype dtype = result_type(arrays);
  bool one_is_all = false;
  for (const array& a : arrays) {
    if (a.ndim() != first.size())
      throw invalid("concatenate", "got arrays of ", first.size(), " and ", a.ndim(),
                    " dimensions, expected the same number");
    bool fits = true;
    for (size_t i = 0; fits && i < first.size(); ++i)
      fits = static_cast<int>(i) == ax || a.shape()[i] == first[i];
    if (!fits)
      throw invalid("concatenate", "got the shapes ", first, " and ", a.shape(),
                    ", expected ones that differ on axis ", ax, " only");
    one_is_all = arrays.size() == 1;
  }
  for (array& a : arrays)
    if (a.dtype() != dtype) a = astype(a, dtype, s);
  if (one_is_all) return arrays[0];
  Shape shape = Concatenate(Stream(0, Device::cpu), ax).output_shapes(arrays)[0];
  return make<Concatenate>(std::move(shape), dtype, s, std::move(arrays), ax);
}
array concatenate(std::vector<array> arrays, StreamOrDevice s) {
  for (array& a : arrays) a = flatten(a, s);
  return concatenate(std::move(arrays), 0, s);
}

array stack(const Arrays& arrays, int axis, StreamOrDevice s) {
  if (arrays.empty()) throw invalid("stack", "got no arrays, expected at least one");
  const int ax = checked_axis("stack", axis, Shape(arrays[0].ndim() + 1, 1));
  Arrays rows;
  for (const array& a : arrays) {
    if (a.shape() != arrays[0].shape())
      throw invalid("stack", "got the shapes ", arrays[0].shape(), " and ", a.shape(),
                    ", expected the same shape");
    rows.push_back(expand_dims(a, ax, s));
  }
  return concatenate(std::move(rows), ax, s);
}
array stack(const Arrays& arrays, StreamOrDevice s) { return stack(arrays, 0, s); }

// --- repeat and tile: a broadcast axis, flattened into its neighbour. The flattening makes the copies. ---

array repeat(const array& arr, int repeats, int axis, StreamOrDevice s) {
  const int ax = checked_axis("repeat", axis, arr.shape());
  if (repeats < 0) throw invalid("repeat", "got ", repeats, " repeats, expected at least 0");
  if (repeats == 1) return arr;
  fix_sizes("repeat", arr);
  const size_t i = static_cast<size_t>(ax);
  Shape wide = arr.shape(), shape = arr.shape();
  wide.insert(wide.begin() + ax + 1, repeats);
  shape[i] = safe_cast(int64_t{shape[i]} * repeats, "repeat");
  return reshape(broadcast_to(expand_dims(arr, ax + 1, s), wide, s), shape, s);
}
array repeat(const array& arr, int repeats, StreamOrDevice s) {
  return repeat(flatten(arr, s), repeats, 0, s);
}

array tile(const array& arr, std::vector<int> reps, StreamOrDevice s) {
  fix_sizes("tile", arr);
  Shape from = arr.shape();
  if (from.size() < reps.size()) from.insert(from.begin(), reps.size() - from.size(), 1);
  if (reps.size() < from.size()) reps.insert(reps.begin(), from.size() - reps.size(), 1);
  Shape narrow, wide, shape;
  for (size_t i = 0; i < from.size(); ++i) {
    if (reps[i] < 0)
      throw invalid("tile", "got ", reps[i], " repetitions of axis ", i, ", expected at least 0");
    if (reps[i] != 1) {
      narrow.push_back(1);
      wide.push_back(reps[i]);
    }
    narrow.push_back(from[i]);
    wide.push_back(from[i]);
    shape.push_back(safe_cast(int64_t{from[i]} * reps[i], "tile"));
  }
  return reshape(broadcast_to(reshape(arr, narrow, s), wide, s), shape, s);
}

// --- roll ---

namespace {
array roll_axis(const array& a, int64_t shift, int axis, const StreamOrDevice& s) {
  const int size = a.shape(axis);
  fix_size("roll", a, axis);
  if (size == 0) return a;
  const int last = static_cast<int>((shift % size + size) % size);  // elements that move to the front
  if (last == 0) return a;
  Arrays pieces = split(a, Shape{size - last}, axis, s);
  std::swap(pieces[0], pieces[1]);
  return concatenate(std::move(pieces), axis, s);
}
int64_t total(const Shape& shift) {
  int64_t sum = 0;
  for (ShapeElem n : shift) sum += n;
  return sum;
}
}  // namespace

array roll(const array& a, const Shape& shift, const std::vector<int>& axes, StreamOrDevice s) {
  // One shift serves all axes, and several shifts of one axis add up.
  if (axes.size() == 1) return roll(a, shift, axes[0], s);
  if (shift.size() == 1) return roll(a, shift[0], axes, s);
  if (shift.size() != axes.size())
    throw invalid("roll", "got ", shift.size(), " shifts for ", axes.size(), " axes, expected as many");
  array out = a;
  for (size_t i = 0; i < axes.size(); ++i)
    out = roll_axis(out, shift[i], checked_axis("roll", axes[i], a.shape()), s);
  return out;
}
array roll(const array& a, int shift, const std::vector<int>& axes, StreamOrDevice s) {
  return roll(a, Shape(axes.size(), shift), axes, s);
}
array roll(const array& a, int shift, int axis, StreamOrDevice s) {
  return roll_axis(a, shift, checked_axis("roll", axis, a.shape()), s);
}
array roll(const array& a, const Shape& shift, int axis, StreamOrDevice s) {
  return roll_axis(a, total(shift), checked_axis("roll", axis, a.shape()), s);
}
array roll(const array& a, const Shape& shift, StreamOrDevice s) {
  if (a.ndim() == 0) return a;
  fix_sizes("roll", a);
  return reshape(roll_axis(flatten(a, s), total(shift), 0, s), a.shape(), s);
}
array roll(const array& a, int shift, StreamOrDevice s) { return roll(a, Shape{shift}, s); }

namespace {
const bool kept_concatenate = primitive_table().add<Concatenate>(
    "Concatenate", -1,
    [](const Concatenate& p, const Arrays& in) { return Arrays{concatenate(in, p.axis, p.stream())}; });
}  // namespace

}  // namespace mlx::core
