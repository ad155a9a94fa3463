// Functions that look at an array in another shape. An operation that would change nothing returns its
// operand, so that chains of them cost nothing.
#include <algorithm>

#include "mlx/ops.h"
#include "mlx/ops/view.h"

namespace mlx::core {
namespace {

Axes reversed_axes(const array& a) {
  Axes axes(a.ndim());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(axes.size() - 1 - i);
  return axes;
}

// Puts the size of a -1 into the shape and checks that the sizes fit.
Shape resolved(const char* op, const array& a, const Shape& requested) {
  Shape shape = requested;
  std::ptrdiff_t unknown = -1;
  size_t known = 1;
  bool valid = true;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      if (unknown >= 0) throw invalid(op, "got the shape ", requested, ", expected at most one -1");
      unknown = static_cast<std::ptrdiff_t>(i);
    } else {
      valid = valid && shape[i] >= 0;
      known *= static_cast<size_t>(shape[i]);
    }
  }
  if (valid && unknown >= 0) {
    if (known == 0)
      throw invalid(op, "got the shape ", requested, ", which leaves the size at -1 open for an array of ",
                    a.size(), " elements");
    shape[static_cast<size_t>(unknown)] = safe_cast(a.size() / known, op);
    known *= a.size() / known;
  }
  if (!valid || known != a.size())
    throw invalid(op, "an array of shape ", a.shape(), " with ", a.size(), " elements cannot have the shape ",
                  requested);
  return shape;
}

array reaxis(const array& a, Reaxis::Kind kind, Axes axes, Shape sizes, const StreamOrDevice& s) {
  Shape shape = Reaxis(Stream(0, Device::cpu), kind, axes, sizes).shape_of(a.shape());
  return make_view<Reaxis>(std::move(shape), a.dtype(), s, a, kind, std::move(axes), std::move(sizes));
}

}  // namespace

std::vector<Shape> Reshape::output_shapes(const Arrays& inputs) {
  return {resolved("reshape", inputs[0], requested)};
}

Shape Reaxis::shape_of(const Shape& in) const {
  Shape out;
  switch (kind) {
    case Kind::flatten: {
      const auto first = in.begin() + axes[0], last = in.begin() + axes[1] + 1;
      out = Shape(in.begin(), first);
      out.push_back(safe_cast(elements(Shape(first, last)), "flatten"));
      out.insert(out.end(), last, in.end());
      return out;
    }
    case Kind::unflatten: {
      const auto at = in.begin() + axes[0];
      out = Shape(in.begin(), at);
      const Shape inner = resolved("unflatten", array(Shape{*at}, bool_, nullptr, {}), sizes);
      out.insert(out.end(), inner.begin(), inner.end());
      out.insert(out.end(), at + 1, in.end());
      return out;
    }
    case Kind::squeeze: {
      size_t next = 0;
      for (size_t i = 0; i < in.size(); ++i) {
        if (next < axes.size() && axes[next] == static_cast<int>(i)) {
          if (in[i] != 1)
            throw invalid("squeeze", "axis ", i, " of shape ", in, " has size ", in[i], ", expected 1");
          ++next;
        } else {
          out.push_back(in[i]);
        }
      }
      return out;
    }
    default: {
      out = in;
      for (int axis : axes) out.insert(out.begin() + axis, 1);
      return out;
    }
  }
}

array copy(array a, StreamOrDevice s) { return make_view<Copy>(a.shape(), a.dtype(), s, a); }
array stop_gradient(const array& a, StreamOrDevice s) {
  return make_view<StopGradient>(a.shape(), a.dtype(), s, a);
}

array contiguous(const array& a, bool allow_col_major, StreamOrDevice s) {
  if (a.is_available() && (a.flags().row_contiguous || (allow_col_major && a.flags().col_contiguous)))
    return a;
  return make<Contiguous>(a.shape(), a.dtype(), s, {a}, allow_col_major);
}

array reshape(const array& a, Shape shape, StreamOrDevice s) {
  if (a.shape() == shape) {
    fix_sizes("reshape", a);
    return a;
  }
  Shape out = resolved("reshape", a, shape);
  if (a.shape() == out && !OpenSizes::of(a)) return a;
  return make_view<Reshape>(std::move(out), a.dtype(), s, a, std::move(shape));
}

array unflatten(const array& a, int axis, Shape shape, StreamOrDevice s) {
  if (shape.empty()) throw invalid("unflatten", "got an empty shape, expected at least one size");
  const int ax = checked_axis("unflatten", axis, a.shape());
  return reaxis(a, Reaxis::Kind::unflatten, {ax}, std::move(shape), s);
}

array flatten(const array& a, int start_axis, int end_axis, StreamOrDevice s) {
  const int n = static_cast<int>(a.ndim());
  if (n == 0) return expand_dims(a, 0, s);
  const auto clamped = [&](int axis) { return std::clamp(axis < 0 ? axis + n : axis, 0, n - 1); };
  const int start = start_axis < 0 ? start_axis + n : start_axis,
            end = end_axis < 0 ? end_axis + n : end_axis;
  if (start > end || start >= n || end < 0)
    throw invalid("flatten", "got the axes ", start_axis, " to ", end_axis, " of shape ", a.shape(),
                  ", expected the first to be at most the second, and in range");
  const int first = clamped(start_axis), last = clamped(end_axis);
  if (first == last) return a;
  return reaxis(a, Reaxis::Kind::flatten, {first, last}, {}, s);
}
array flatten(const array& a, StreamOrDevice s) { return flatten(a, 0, -1, s); }

array squeeze(const array& a, const Axes& axes, StreamOrDevice s) {
  if (axes.empty()) return a;
  return reaxis(a, Reaxis::Kind::squeeze, checked_axes("squeeze", axes, a.shape()), {}, s);
}
array squeeze(const array& a, int axis, StreamOrDevice s) {
  return reaxis(a, Reaxis::Kind::squeeze, {checked_axis("squeeze", axis, a.shape())}, {}, s);
}
array squeeze(const array& a, StreamOrDevice s) {
  Axes axes;
  fix_sizes("squeeze", a, true);
  for (int i = 0; i < static_cast<int>(a.ndim()); ++i)
    if (a.shape(i) == 1) axes.push_back(i);
  return squeeze(a, axes, s);
}

array expand_dims(const array& a, const Axes& axes, StreamOrDevice s) {
  if (axes.empty()) return a;
  // Axes count in the result.
  return reaxis(a, Reaxis::Kind::expand_dims,
                checked_axes("expand_dims", axes, Shape(a.ndim() + axes.size(), 1)), {}, s);
}
array expand_dims(const array& a, int axis, StreamOrDevice s) { return expand_dims(a, Axes{axis}, s); }

array transpose(const array& a, Axes axes, StreamOrDevice s) {
  if (axes.size() != a.ndim())
    throw invalid("transpose", "got ", axes.size(), " axes for an array of shape ", a.shape(), ", expected ",
                  a.ndim());
  Shape shape(axes.size(), -1);
  bool identity = true;
  SmallVector<int> seen(axes.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    axes[i] = checked_axis("transpose", axes[i], a.shape());
    if (seen[static_cast<size_t>(axes[i])]++)
      throw invalid("transpose", "axis ", axes[i], " is given twice, expected each axis once");
    shape[i] = a.shape()[static_cast<size_t>(axes[i])];
    identity = identity && axes[i] == static_cast<int>(i);
  }
  if (identity) return a;
  return make_view<Transpose>(std::move(shape), a.dtype(), s, a, std::move(axes));
}
array transpose(const array& a, std::initializer_list<int> axes, StreamOrDevice s) {
  return transpose(a, Axes(axes), s);
}
array transpose(const array& a, StreamOrDevice s) { return transpose(a, reversed_axes(a), s); }

array matrix_transpose(const array& a, StreamOrDevice s) {
  if (a.ndim() < 2)
    throw invalid("matrix_transpose", "got an array of shape ", a.shape(),
                  ", expected at least two dimensions");
  return swapaxes(a, -1, -2, s);
}

array swapaxes(const array& a, int axis1, int axis2, StreamOrDevice s) {
  const int i = checked_axis("swapaxes", axis1, a.shape()), j = checked_axis("swapaxes", axis2, a.shape());
  if (i == j) return a;
  Axes axes = all_axes(a);
  std::swap(axes[static_cast<size_t>(i)], axes[static_cast<size_t>(j)]);
  return transpose(a, std::move(axes), s);
}

array moveaxis(const array& a, int source, int destination, StreamOrDevice s) {
  const int from = checked_axis("moveaxis", source, a.shape()),
            to = checked_axis("moveaxis", destination, a.shape());
  if (from == to) return a;
  Axes axes = all_axes(a);
  axes.erase(axes.begin() + from);
  axes.insert(axes.begin() + to, from);
  return transpose(a, std::move(axes), s);
}

array broadcast_to(const array& a, const Shape& shape, StreamOrDevice s) {
  if (a.shape() == shape) {
    fix_sizes("broadcast_to", a);
    return a;
  }
  bool fits = a.ndim() <= shape.size();
  for (size_t i = 0; fits && i < a.ndim(); ++i) {
    const ShapeElem from = a.shape()[a.ndim() - 1 - i], to = shape[shape.size() - 1 - i];
    fits = from == to || from == 1;
  }
  for (ShapeElem n : shape) fits = fits && n >= 0;
  if (!fits)
    throw invalid("broadcast_to", "an array of shape ", a.shape(), " cannot be broadcast to ", shape);
  return make_view<Broadcast>(shape, a.dtype(), s, a, shape);
}

std::vector<array> broadcast_arrays(const Arrays& inputs, StreamOrDevice s) {
  Shape shape;
  for (const array& a : inputs) shape = broadcast_shapes(shape, a.shape());
  for (const array& a : inputs)
    if (a.shape() != shape) fix_sizes("broadcast_arrays", inputs);
  Arrays out;
  for (const array& a : inputs) out.push_back(a.shape() == shape ? a : broadcast_to(a, shape, s));
  return out;
}

array diagonal(const array& a, int offset, int axis1, int axis2, StreamOrDevice s) {
  if (a.ndim() < 2)
    throw invalid("diagonal", "got an array of shape ", a.shape(), ", expected at least two dimensions");
  const int i = checked_axis("diagonal", axis1, a.shape()), j = checked_axis("diagonal", axis2, a.shape());
  if (i == j) throw invalid("diagonal", "axis1 and axis2 are both ", i, ", expected different axes");
  Shape shape = Diagonal(Stream(0, Device::cpu), offset, i, j).shape_of(a.shape());
  return make_view<Diagonal>(std::move(shape), a.dtype(), s, a, offset, i, j);
}

array diag(const array& a, int k, StreamOrDevice s) {
  if (a.ndim() == 2) return diagonal(a, k, 0, 1, s);
  if (a.ndim() != 1)
    throw invalid("diag", "got an array with ", a.ndim(), " dimensions, expected one or two");
  fix_sizes("diag", a);
  const int n = a.shape(0), size = n + std::abs(k);
  if (size > 46340) {  // more elements than an axis has
    // Row i holds a[i - above].
    const int above = std::max(0, -k);
    const array rows = expand_dims(pad(a, {above, std::max(0, k)}, like(a, 0), "constant", s), 1, s);
    return where(eye(size, size, k, bool_, s), rows, like(a, 0), s);
  }
  if (n == 0) return zeros({size, size}, a.dtype(), s);
  // Row by row, elements of the diagonal are a row and a place apart.
  const int first = std::max(0, k) + std::max(0, -k) * size, step = size + 1;
  const array flat =
      slice_update(zeros({size * size}, a.dtype(), s), a, {first}, {first + (n - 1) * step + 1}, {step}, s);
  return reshape(flat, {size, size}, s);
}

array trace(const array& a, int offset, int axis1, int axis2, Dtype dtype, StreamOrDevice s) {
  if (a.ndim() < 2)
    throw invalid("trace", "got an array of shape ", a.shape(), ", expected at least two dimensions");
  return sum(astype(diagonal(a, offset, axis1, axis2, s), dtype, s), -1, false, s);
}
array trace(const array& a, int offset, int axis1, int axis2, StreamOrDevice s) {
  return trace(a, offset, axis1, axis2, a.dtype(), s);
}
array trace(const array& a, StreamOrDevice s) { return trace(a, 0, 0, 1, a.dtype(), s); }

array as_strided(array a, Shape shape, Strides strides, size_t offset, StreamOrDevice s) {
  if (shape.size() != strides.size())
    throw invalid("as_strided", "got ", shape.size(), " sizes and ", strides.size(),
                  " strides, expected as many");
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  int64_t lowest = static_cast<int64_t>(offset), highest = lowest;
  bool countable = lowest >= 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t reach;
    countable = countable && !__builtin_mul_overflow(strides[i], int64_t{shape[i]} - 1, &reach);
    if (!countable) break;
    int64_t& end = reach < 0 ? lowest : highest;
    countable = !__builtin_add_overflow(end, reach, &end);
  }
  if (!empty && (!countable || lowest < 0 || highest >= static_cast<int64_t>(a.size())))
    throw invalid("as_strided", "shape ", shape, ", strides ", strides, " and offset ", offset,
                  " reach elements ", lowest, " to ", highest, " of an array that has ", a.size());
  Shape out = shape;
  return make_view<AsStrided>(std::move(out), a.dtype(), s, a, std::move(shape), std::move(strides), offset);
}

array view(const array& a, const Dtype& dtype, StreamOrDevice s) {
  if (a.dtype() == dtype) return a;
  return make_view<View>(View(Stream(0, Device::cpu), dtype).shape_of(a), dtype, s, a, dtype);
}

std::vector<array> depends(const Arrays& inputs, const Arrays& dependencies) {
  if (inputs.empty()) return {};
  Arrays all = inputs;
  all.insert(all.end(), dependencies.begin(), dependencies.end());
  std::vector<Shape> shapes;
  std::vector<Dtype> dtypes;
  for (const array& a : inputs) {
    shapes.push_back(a.shape());
    dtypes.push_back(a.dtype());
  }
  return array::make_arrays(std::move(shapes), dtypes, std::make_shared<Depends>(to_stream({})), all);
}

array atleast_1d(const array& a, StreamOrDevice s) { return a.ndim() == 0 ? expand_dims(a, 0, s) : a; }
array atleast_2d(const array& a, StreamOrDevice s) {
  return a.ndim() == 0 ? expand_dims(a, {0, 1}, s) : a.ndim() == 1 ? expand_dims(a, 0, s) : a;
}
array atleast_3d(const array& a, StreamOrDevice s) {
  if (a.ndim() == 0) return expand_dims(a, {0, 1, 2}, s);
  if (a.ndim() == 1) return expand_dims(a, {0, 2}, s);
  return a.ndim() == 2 ? expand_dims(a, 2, s) : a;
}
namespace {
Arrays for_each(const Arrays& arrays, array (*f)(const array&, StreamOrDevice), const StreamOrDevice& s) {
  Arrays out;
  for (const array& a : arrays) out.push_back(f(a, s));
  return out;
}
}  // namespace
std::vector<array> atleast_1d(const Arrays& a, StreamOrDevice s) { return for_each(a, atleast_1d, s); }
std::vector<array> atleast_2d(const Arrays& a, StreamOrDevice s) { return for_each(a, atleast_2d, s); }
std::vector<array> atleast_3d(const Arrays& a, StreamOrDevice s) { return for_each(a, atleast_3d, s); }

array number_of_elements(const array& a, Axes axes, bool inverted, Dtype dtype, StreamOrDevice s) {
  for (int& axis : axes) axis = checked_axis("number_of_elements", axis, a.shape());
  return make<NumberOfElements>({}, dtype, s, {a}, std::move(axes), inverted, dtype);
}

}  // namespace mlx::core
