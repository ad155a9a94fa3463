#include "mlx/ops/slice.h"

#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {

Window window_of(std::string_view op, const Shape& in, const Shape& start, const Shape& stop,
                 const Shape& strides) {
  const size_t n = in.size();
  if (start.size() != n || stop.size() != n || strides.size() != n)
    throw invalid(op, "got ", start.size(), " starts, ", stop.size(), " stops and ", strides.size(),
                  " strides for an array of shape ", in, ", expected ", n, " of each");
  Window w{Shape(n), strides, Shape(n)};
  for (size_t i = 0; i < n; ++i) {
    const int64_t size = in[i], step = strides[i];
    if (step == 0) throw invalid(op, "the stride of axis ", i, " is 0, expected another number");
    const auto position = [&](int64_t p, int64_t low, int64_t high) {
      return std::clamp(p < 0 ? p + size : p, low, high);
    };
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const int64_t from = position(start[i], low, high), to = position(stop[i], low, high);
    const int64_t count = step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
    w.start[i] = static_cast<ShapeElem>(std::max<int64_t>(from, 0));
    w.shape[i] = static_cast<ShapeElem>(std::max<int64_t>(count, 0));
  }
  return w;
}

std::out_of_range no_start(std::string_view op, const std::string& given, size_t axis, const Shape& shape,
                           const Shape& box) {
  return std::out_of_range(text("[", op, "] start ", given, " is out of range for ", box[axis],
                                " elements of axis ", axis, " with size ", shape[axis]));
}

Shape start_of_box(std::string_view op, const array& start, const Axes& axes, const Shape& shape,
                   const Shape& box) {
  Shape out(shape.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = static_cast<size_t>(axes[i]);
    int64_t given = 0;
    dispatch_all(start.dtype(), [&]<class T>() {
      if constexpr (std::is_integral_v<T>)
        given = static_cast<int64_t>(start.data<T>()[static_cast<int64_t>(i) * start.strides(0)]);
    });
    const int64_t first = given < 0 ? given + shape[axis] : given;
    if (first < 0 || first > shape[axis] - box[axis])
      throw no_start(op, std::to_string(given), axis, shape, box);
    out[axis] = static_cast<ShapeElem>(first);
  }
  return out;
}

namespace {

Shape unit_strides(const Shape& start) { return Shape(start.size(), 1); }

Shape with_front(const Shape& shape, ShapeElem first) {
  Shape out = shape;
  out.insert(out.begin(), first);
  return out;
}

// The box's strides and first element inside an array with these strides.
Strides strides_in(const Window& w, const Strides& strides, int64_t& offset) {
  Strides out(strides.size());
  offset = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    out[i] = strides[i] * w.strides[i];
    offset += strides[i] * w.start[i];
  }
  return out;
}

bool is_whole(const Window& w, const Shape& in) {
  if (w.shape != in) return false;
  for (size_t i = 0; i < in.size(); ++i)
    if (w.strides[i] != 1 && in[i] > 1) return false;
  return true;
}

// Everything, whatever the sizes.
bool names_all(const Shape& start, const Shape& stop, const Shape& strides) {
  for (size_t i = 0; i < start.size(); ++i)
    if (start[i] != 0 || stop[i] != kToEnd || strides[i] != 1) return false;
  return true;
}

// Positions of the pieces' starts, the first of them 0.
Shape starts_of(const Shape& ends) { return with_front(ends, 0); }

Arrays with_zeros(const Arrays& primals, const Arrays& tangents, const Axes& argnums, size_t count) {
  Arrays out;
  for (size_t i = 0; i < count; ++i) {
    const auto at = std::find(argnums.begin(), argnums.end(), static_cast<int>(i));
    out.push_back(at == argnums.end() ? zeros_of(primals[i])
                                      : tangents[static_cast<size_t>(at - argnums.begin())]);
  }
  return out;
}

array cast(const array& a, Dtype dtype, const StreamOrDevice& s) {
  return a.dtype() == dtype ? a : astype(a, dtype, s);
}

// `update` cast and broadcast to the box.
array fitted(const char* op, const array& update, const array& src, const Shape& box,
             const StreamOrDevice& s) {
  const array u = cast(update, src.dtype(), s);
  if (u.shape() == box) return u;
  array v = u;
  if (u.ndim() > box.size()) {  // leading axes of size 1 may go
    Axes lead;
    for (size_t i = 0; i < u.ndim() - box.size() && u.shape()[i] == 1; ++i)
      lead.push_back(static_cast<int>(i));
    if (lead.size() == u.ndim() - box.size()) v = squeeze(u, lead, s);
  }
  try {
    if (OpenSizes::of(src))
      broadcast_shapes(v.shape(), box) == box ? void() : throw std::invalid_argument("");
    return OpenSizes::of(src) ? v : broadcast_to(v, box, s);
  } catch (const std::invalid_argument&) {
    throw invalid(op, "the update has shape ", update.shape(), ", expected one that broadcasts to ", box);
  }
}

// Checks the start of a dynamic slice and gives it one dimension.
array checked_start(const char* op, const array& start, const Axes& axes, const StreamOrDevice& s) {
  if (!issubdtype(start.dtype(), integer))
    throw invalid(op, "got start positions of ", start.dtype(), ", expected integers");
  if (start.ndim() > 1 || start.size() != axes.size())
    throw invalid(op, "got start positions of shape ", start.shape(), " for ", axes.size(),
                  " axes, expected as many as axes");
  return start.ndim() == 0 ? expand_dims(start, 0, s) : start;
}

// Axes as given (their order goes with the start's), normalised.
Axes distinct_axes(const char* op, const Axes& axes, const Shape& shape) {
  checked_axes(op, axes, shape);
  Axes out;
  for (int axis : axes) out.push_back(checked_axis(op, axis, shape));
  return out;
}

// For batched starts: index arrays (batch) of each sliced axis, behind one for the batch axis (axis 0).
void batched_indices(const array& start, const Axes& axes, bool with_batch_axis, Arrays& indices, Axes& at,
                     const Stream& s) {
  const int batch = start.shape(0);
  if (with_batch_axis) {
    indices.push_back(arange(0.0, batch, 1.0, int64, s));
    at.push_back(0);
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const int k = static_cast<int>(i);
    indices.push_back(astype(squeeze(slice(start, {0, k}, {batch, k + 1}, s), 1, s), int64, s));
    at.push_back(axes[i] + (with_batch_axis ? 1 : 0));
  }
}

}  // namespace

// --- slice ---

bool Slice::view(const array& in, array& out) const {
  int64_t offset;
  Strides box = strides_in(window_of("slice", in.shape(), start, stop, strides), in.strides(), offset);
  share_view(out, in, std::move(box), offset);
  return true;
}
array Slice::apply(const array& x) const { return slice(x, start, stop, strides, stream()); }
Arrays Slice::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {slice_update(zeros_of(primals[0]), cotangents[0], start, stop, strides, stream())};
}
Batched Slice::vmap(const Arrays& inputs, const Axes& axes) {
  const array a = batch_to_front(inputs[0], axes[0], 1);
  return {{slice(a, with_front(start, 0), with_front(stop, kToEnd), with_front(strides, 1), stream())}, {0}};
}

array slice(const array& a, Shape start, Shape stop, Shape strides, StreamOrDevice s) {
  Window w = window_of("slice", a.shape(), start, stop, strides);
  if (is_whole(w, a.shape()) && (!OpenSizes::of(a) || names_all(start, stop, strides))) return a;
  return make_view<Slice>(std::move(w.shape), a.dtype(), s, a, std::move(start), std::move(stop),
                          std::move(strides));
}
array slice(const array& a, std::initializer_list<int> start, Shape stop, Shape strides, StreamOrDevice s) {
  return slice(a, Shape(start), std::move(stop), std::move(strides), s);
}
array slice(const array& a, Shape start, Shape stop, StreamOrDevice s) {
  Shape ones = unit_strides(start);
  return slice(a, std::move(start), std::move(stop), std::move(ones), s);
}

array flip(const array& a, const Axes& axes, StreamOrDevice s) {
  Shape start(a.ndim(), 0), stop(a.ndim(), kToEnd), strides(a.ndim(), 1);
  for (int axis : checked_axes("flip", axes, a.shape())) {
    const size_t i = static_cast<size_t>(axis);
    start[i] = kToEnd;
    stop[i] = kToFront;
    strides[i] = -1;
  }
  return a.size() == 0 && !OpenSizes::of(a)
             ? a
             : slice(a, std::move(start), std::move(stop), std::move(strides), s);
}
array flip(const array& a, int axis, StreamOrDevice s) { return flip(a, Axes{axis}, s); }
array flip(const array& a, StreamOrDevice s) { return flip(a, all_axes(a), s); }

// --- split ---

void Split::views(const array& in, Arrays& outputs) const {
  const Shape starts = starts_of(ends);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int64_t first = std::min(starts[i], in.shape(axis));
    share_view(outputs[i], in, in.strides(), first * in.strides(axis));
  }
}
std::vector<Shape> Split::output_shapes(const Arrays& inputs) {
  const Shape starts = starts_of(ends);
  const int size = inputs[0].shape(axis);
  std::vector<Shape> shapes(starts.size(), inputs[0].shape());
  for (size_t i = 0; i < starts.size(); ++i) {
    const int end = i < ends.size() ? std::min(ends[i], size) : size;
    shapes[i][static_cast<size_t>(axis)] = std::max(0, end - std::min(starts[i], size));
  }
  return shapes;
}
Arrays Split::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  // Pieces overlap where an end lies before the one in front of it.
  if (std::is_sorted(ends.begin(), ends.end())) return {concatenate(cotangents, axis, stream())};
  array total = zeros_of(primals[0]);
  const Shape starts = starts_of(ends);
  for (size_t i = 0; i < cotangents.size(); ++i) {
    Shape low(total.ndim(), 0), high = total.shape();
    const size_t ax = static_cast<size_t>(axis);
    low[ax] = std::min(starts[i], total.shape(axis));
    high[ax] = low[ax] + cotangents[i].shape(axis);
    total = slice_update_add(total, cotangents[i], low, high, stream());
  }
  return {total};
}
Arrays Split::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return split(tangents[0], ends, axis, stream());
}
Batched Split::vmap(const Arrays& inputs, const Axes& axes) {
  Arrays out = split(batch_to_front(inputs[0], axes[0], 1), ends, axis + 1, stream());
  return {out, Axes(out.size(), 0)};
}

std::vector<array> split(const array& a, const Shape& indices, int axis, StreamOrDevice s) {
  const int ax = checked_axis("split", axis, a.shape());
  if (indices.empty()) return {a};
  Shape ends = indices;
  if (std::any_of(ends.begin(), ends.end(), [&](int end) { return end < 0 || end > a.shape(ax); }))
    fix_size("split", a, ax);
  for (ShapeElem& end : ends) end = std::clamp(end < 0 ? end + a.shape(ax) : end, 0, a.shape(ax));
  Split split(to_stream(s), ax, ends);
  std::vector<Shape> shapes = split.output_shapes({a});
  if (a.is_available() && !a.is_tracer()) {
    Arrays out;
    for (Shape& shape : shapes) out.emplace_back(std::move(shape), a.dtype(), nullptr, Arrays{});
    split.views(a, out);
    for (array& piece : out) piece.set_status(array::Status::available);
    return out;
  }
  const std::vector<Dtype> dtypes(shapes.size(), a.dtype());
  return array::make_arrays(std::move(shapes), dtypes, std::make_shared<Split>(split.stream(), ax, ends),
                            {a});
}
std::vector<array> split(const array& a, const Shape& indices, StreamOrDevice s) {
  return split(a, indices, 0, s);
}
std::vector<array> split(const array& a, int num_splits, int axis, StreamOrDevice s) {
  const int ax = checked_axis("split", axis, a.shape());
  if (num_splits <= 0) throw invalid("split", "got ", num_splits, " pieces, expected at least 1");
  const int size = a.shape(ax);
  if (num_splits > 1) fix_size("split", a, ax);
  if (size % num_splits != 0)
    throw invalid("split", "no ", num_splits, " equal pieces along axis ", axis, " of an array of shape ",
                  a.shape());
  Shape ends;
  for (int i = 1; i < num_splits; ++i) ends.push_back(i * (size / num_splits));
  return split(a, ends, ax, s);
}
std::vector<array> split(const array& a, int num_splits, StreamOrDevice s) {
  return split(a, num_splits, 0, s);
}

std::vector<array> unstack(const array& a, int axis, StreamOrDevice s) {
  const int ax = checked_axis("unstack", axis, a.shape());
  if (a.shape(ax) == 0) return {};
  Arrays out = split(a, a.shape(ax), ax, s);
  for (array& piece : out) piece = squeeze(piece, ax, s);
  return out;
}
std::vector<array> unstack(const array& a, StreamOrDevice s) { return unstack(a, 0, s); }

// --- slice from a position that is an array ---

array slice(const array& a, const array& start, Axes axes, Shape slice_size, StreamOrDevice s) {
  axes = distinct_axes("slice", axes, a.shape());
  array first = checked_start("slice", start, axes, s);
  bool fits = slice_size.size() == a.ndim();
  for (size_t i = 0; fits && i < a.ndim(); ++i) fits = slice_size[i] >= 0 && slice_size[i] <= a.shape()[i];
  if (!fits)
    throw invalid("slice", "got the slice size ", slice_size, " for an array of shape ", a.shape(),
                  ", expected sizes from 0 to those");
  Shape shape = slice_size;
  return make<DynamicSlice>(std::move(shape), a.dtype(), s, {a, std::move(first)}, std::move(axes),
                            std::move(slice_size));
}

Arrays DynamicSlice::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays&) {
  Arrays grads;
  for (int arg : argnums)
    grads.push_back(arg == 0 ? slice_update(zeros_of(primals[0]), cotangents[0], primals[1], axes, stream())
                             : zeros_of(primals[1]));
  return grads;
}
Arrays DynamicSlice::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const array t = with_zeros(primals, tangents, argnums, 1)[0];
  return {slice(t, primals[1], axes, sizes, stream())};
}
Batched DynamicSlice::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  if (at[1] < 0) {
    const array a = batch_to_front(inputs[0], at[0], 1);
    Axes behind = axes;
    for (int& axis : behind) ++axis;
    return {{slice(a, inputs[1], behind, with_front(sizes, a.shape(0)), s)}, {0}};
  }
  const array start = batch_to_front(inputs[1], at[1], 1);
  const bool both = at[0] >= 0;
  Arrays indices;
  Axes on;
  batched_indices(start, axes, both, indices, on, s);
  const array a = both ? batch_to_front(inputs[0], at[0], 1) : inputs[0];
  array out = gather(a, indices, on, both ? with_front(sizes, 1) : sizes, s);
  return {{both ? squeeze(out, 1, s) : out}, {0}};
}

// --- slice_update ---

array slice_update(const array& src, const array& update, Shape start, Shape stop, Shape strides,
                   StreamOrDevice s) {
  const Window w = window_of("slice_update", src.shape(), start, stop, strides);
  array u = fitted("slice_update", update, src, w.shape, s);
  if (OpenSizes::of(src)) {
    u = broadcast_like(u, slice(src, start, stop, strides, s), s);
    if (names_all(start, stop, strides)) return u;
  } else {
    if (is_whole(w, src.shape())) return u;
    if (u.size() == 0) return src;
  }
  return make<SliceUpdate>(src.shape(), src.dtype(), s, {src, std::move(u)}, std::move(start),
                           std::move(stop), std::move(strides));
}
array slice_update(const array& src, const array& update, Shape start, Shape stop, StreamOrDevice s) {
  Shape ones = unit_strides(start);
  return slice_update(src, update, std::move(start), std::move(stop), std::move(ones), s);
}

Arrays SliceUpdate::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const array& g = cotangents[0];
  Arrays grads;
  for (int arg : argnums)
    grads.push_back(arg == 0 ? slice_update(g, zeros_of(primals[1]), start, stop, strides, stream())
                             : slice(g, start, stop, strides, stream()));
  return grads;
}
Arrays SliceUpdate::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Arrays t = with_zeros(primals, tangents, argnums, 2);
  return {slice_update(t[0], t[1], start, stop, strides, stream())};
}
Batched SliceUpdate::vmap(const Arrays& inputs, const Axes& axes) {
  return batch_leading(inputs, axes, [&](const Arrays& in) {
    return Arrays{slice_update(in[0], in[1], with_front(start, 0), with_front(stop, kToEnd),
                               with_front(strides, 1), stream())};
  });
}

array slice_update(const array& src, const array& update, const array& start, Axes axes, StreamOrDevice s) {
  axes = distinct_axes("slice_update", axes, src.shape());
  array first = checked_start("slice_update", start, axes, s);
  // Axes that the update lacks are those in front; an axis without a start is updated whole.
  Shape box = src.shape();
  const size_t lead = src.ndim() < update.ndim() ? 0 : src.ndim() - update.ndim();
  for (int axis : axes) {
    const size_t i = static_cast<size_t>(axis);
    const size_t shift = update.ndim() > src.ndim() ? update.ndim() - src.ndim() : 0;
    box[i] = i < lead ? 1 : std::min(src.shape()[i], update.shape()[i - lead + shift]);
  }
  array u = fitted("slice_update", update, src, box, s);
  return make<DynamicSliceUpdate>(src.shape(), src.dtype(), s, {src, std::move(u), std::move(first)},
                                  std::move(axes));
}

Arrays DynamicSliceUpdate::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                               const Arrays&) {
  const array& g = cotangents[0];
  Arrays grads;
  for (int arg : argnums) {
    if (arg == 0) {
      grads.push_back(slice_update(g, zeros_of(primals[1]), primals[2], axes, stream()));
    } else if (arg == 1) {
      grads.push_back(slice(g, primals[2], axes, primals[1].shape(), stream()));
    } else {
      grads.push_back(zeros_of(primals[2]));
    }
  }
  return grads;
}
Arrays DynamicSliceUpdate::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Arrays t = with_zeros(primals, tangents, argnums, 2);
  return {slice_update(t[0], t[1], primals[2], axes, stream())};
}
Batched DynamicSliceUpdate::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  const int batch = batch_size(inputs, at);
  const array src = batch_to_front(inputs[0], at[0], batch), update = batch_to_front(inputs[1], at[1], batch);
  if (at[2] < 0) {
    Axes behind = axes;
    for (int& axis : behind) ++axis;
    return {{slice_update(src, update, inputs[2], behind, s)}, {0}};
  }
  Arrays indices;
  Axes on;
  batched_indices(batch_to_front(inputs[2], at[2], batch), axes, true, indices, on, s);
  return {{scatter(src, indices, expand_dims(update, 1, s), on, s)}, {0}};
}

// --- slice_update with arithmetic: the box is read, combined and written back. The last two steps happen in
// place where nobody else holds the source. ---

namespace {
array combine(const char* op, array (*function)(const array&, const array&, StreamOrDevice), const array& src,
              const array& update, const Shape& start, const Shape& stop, const Shape& strides,
              const StreamOrDevice& s) {
  const array box = slice(src, start, stop, strides, s);
  const array u = fitted(op, update, src, box.shape(), s);
  return slice_update(src, function(box, u, s), start, stop, strides, s);
}
}  // namespace

#define MLX_SLICE_UPDATE(name, function)                                                         \
  array name(const array& src, const array& update, Shape start, Shape stop, Shape strides,      \
             StreamOrDevice s) {                                                                 \
    return combine(#name, function, src, update, start, stop, strides, s);                       \
  }                                                                                              \
  array name(const array& src, const array& update, Shape start, Shape stop, StreamOrDevice s) { \
    return combine(#name, function, src, update, start, stop, unit_strides(start), s);           \
  }
MLX_SLICE_UPDATE(slice_update_add, add)
MLX_SLICE_UPDATE(slice_update_prod, multiply)
MLX_SLICE_UPDATE(slice_update_max, maximum)
MLX_SLICE_UPDATE(slice_update_min, minimum)
#undef MLX_SLICE_UPDATE

namespace {
const bool kept_slice =
    primitive_table().add<Slice>("Slice", 1,
                                 [](const Slice& p, const Arrays& in) { return Arrays{p.apply(in[0])}; }) &&
    primitive_table().add<Split>(
        "Split", 1,
        [](const Split& p, const Arrays& in) { return split(in[0], p.ends, p.axis, p.stream()); }) &&
    primitive_table().add<DynamicSlice>("DynamicSlice", 2,
                                        [](const DynamicSlice& p, const Arrays& in) {
                                          return Arrays{slice(in[0], in[1], p.axes, p.sizes, p.stream())};
                                        }) &&
    primitive_table().add<SliceUpdate>(
        "SliceUpdate", 2,
        [](const SliceUpdate& p, const Arrays& in) {
          return Arrays{slice_update(in[0], in[1], p.start, p.stop, p.strides, p.stream())};
        }) &&
    primitive_table().add<DynamicSliceUpdate>(
        "DynamicSliceUpdate", 3, [](const DynamicSliceUpdate& p, const Arrays& in) {
          return Arrays{slice_update(in[0], in[1], in[2], p.axes, p.stream())};
        });
}  // namespace

}  // namespace mlx::core
