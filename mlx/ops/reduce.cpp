// sum, mean, prod, max, min, any, all: one value for the elements along some axes.
#include "mlx/ops/reduce.h"

#include "mlx/statistics.h"

#include <algorithm>
#include <numeric>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/windows.h"

namespace mlx::core {

Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims) {
  Shape out;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), d);
    if (!reduced)
      out.push_back(shape[d]);
    else if (keepdims)
      out.push_back(1);
  }
  return out;
}

array with_axes(const array& reduced, const Axes& axes, bool keepdims, StreamOrDevice s) {
  return keepdims || axes.empty() ? reduced : expand_dims(reduced, axes, s);
}

namespace {

// Axes that stay, then the reduced ones.
Axes last_order(int ndim, const Axes& axes) {
  Axes order;
  for (int d = 0; d < ndim; ++d)
    if (!std::binary_search(axes.begin(), axes.end(), d)) order.push_back(d);
  order.insert(order.end(), axes.begin(), axes.end());
  return order;
}

}  // namespace

array axes_last(const array& a, const Axes& axes, StreamOrDevice s) {
  const int ndim = static_cast<int>(a.ndim());
  if (axes.size() == 1 && axes[0] == ndim - 1) return a;
  const Axes order = last_order(ndim, axes);
  const array moved = std::is_sorted(order.begin(), order.end()) ? a : transpose(a, order, s);
  if (axes.size() == 1) return moved;
  if (axes.empty()) return expand_dims(moved, -1, s);
  return flatten(moved, ndim - static_cast<int>(axes.size()), ndim - 1, s);
}

array axes_back(const array& last, const Shape& shape, const Axes& axes, StreamOrDevice s) {
  const int ndim = static_cast<int>(shape.size());
  const Axes order = last_order(ndim, axes);
  Shape moved;
  for (int axis : order) moved.push_back(shape[axis]);
  const array unfolded = axes.size() == 1 ? last : reshape(last, moved, s);
  if (std::is_sorted(order.begin(), order.end())) return unfolded;
  Axes inverse(ndim);
  for (int i = 0; i < ndim; ++i) inverse[order[i]] = i;
  return transpose(unfolded, inverse, s);
}

array share_of_extreme(const array& x, const array& extreme, const Axes& axes, StreamOrDevice s) {
  const array at = astype(equal(x, extreme, s), x.dtype(), s);
  return divide(at, sum(at, axes, true, s), s);
}

namespace {

// The product of all other elements, without dividing by one that may be zero.
array product_of_others(const array& x, const Axes& axes, StreamOrDevice s) {
  const array last = axes_last(x, axes, s);
  const array others = multiply(cumprod(last, -1, false, false, s), cumprod(last, -1, true, false, s), s);
  return axes_back(others, x.shape(), axes, s);
}

int64_t reduced_count(const Shape& shape, const Axes& axes) {
  int64_t n = 1;
  for (int axis : axes) n *= shape[axis];
  return n;
}

}  // namespace

Arrays Reduce::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const array& x = primals[0];
  const array g = with_axes(cotangents[0], axes, keepdims, stream());
  switch (kind) {
    case Reduction::sum:
      return {broadcast_like(g, x, stream())};
    case Reduction::mean: {
      const array n = OpenSizes::of(x) ? number_of_elements(x, axes, false, g.dtype(), stream())
                                       : like(g, static_cast<double>(reduced_count(x.shape(), axes)));
      return {broadcast_like(astype(divide(g, n, stream()), x.dtype(), stream()), x, stream())};
    }
    case Reduction::prod:
      fix_sizes("prod", x);
      return {multiply(g, conjugate(product_of_others(x, axes, stream()), stream()), stream())};
    case Reduction::max:
    case Reduction::min: {
      const array y = with_axes(outputs[0], axes, keepdims, stream());
      if (has_extreme_share(x, axes, stream())) return {extreme_share(x, y, g, axes, stream())};
      return {multiply(g, share_of_extreme(x, y, axes, stream()), stream())};
    }
    default:
      return {zeros_of(x)};
  }
}

Arrays Reduce::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const array &x = primals[0], &t = tangents[0];
  switch (kind) {
    case Reduction::sum:
      return {sum(t, axes, keepdims, stream())};
    case Reduction::mean:
      return {mean(t, axes, keepdims, stream())};
    case Reduction::prod:
      return {sum(multiply(t, product_of_others(x, axes, stream()), stream()), axes, keepdims, stream())};
    case Reduction::max:
    case Reduction::min: {
      const array y = kind == Reduction::max ? max(x, axes, true, stream()) : min(x, axes, true, stream());
      return {sum(multiply(t, share_of_extreme(x, y, axes, stream()), stream()), axes, keepdims, stream())};
    }
    default:
      return {zeros(reduced_shape(x.shape(), axes, keepdims), bool_, stream())};
  }
}

namespace {

Axes shifted(const Axes& axes) {
  Axes out = axes;
  for (int& axis : out) ++axis;
  return out;
}

Dtype result_dtype(Reduction kind, Dtype dtype) {
  if (kind == Reduction::any || kind == Reduction::all) return bool_;
  if (kind == Reduction::mean) return promote_to_float(dtype);
  if (kind != Reduction::sum && kind != Reduction::prod) return dtype;
  switch (dtype.val()) {
    case Dtype::Val::bool_:
    case Dtype::Val::int8:
    case Dtype::Val::int16:
      return int32;
    case Dtype::Val::uint8:
    case Dtype::Val::uint16:
      return uint32;
    default:
      return dtype;
  }
}

constexpr const char* names[] = {"sum", "mean", "prod", "max", "min", "any", "all"};

}  // namespace

const char* Reduce::name() const { return names[static_cast<int>(kind)]; }

Batched Reduce::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    const Axes moved = shifted(axes);
    return Arrays{make<Reduce>(reduced_shape(in[0].shape(), moved, keepdims),
                               result_dtype(kind, in[0].dtype()), stream(), {in[0]}, kind, moved, keepdims)};
  });
}
std::vector<Shape> Reduce::output_shapes(const Arrays& inputs) {
  return {reduced_shape(inputs[0].shape(), axes, keepdims)};
}

Arrays Variance::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const array& x = primals[0];
  fix_sizes(name(), x);
  const auto n = static_cast<double>(reduced_count(x.shape(), axes));
  const array mu = with_axes(outputs[0], axes, keepdims, stream());
  const array g_mean = divide(with_axes(cotangents[0], axes, keepdims, stream()), like(x, n), stream());
  const array g_var =
      multiply(with_axes(cotangents[1], axes, keepdims, stream()), like(x, 2 / (n - ddof)), stream());
  return {add(multiply(subtract(x, mu, stream()), g_var, stream()), g_mean, stream())};
}
Arrays Variance::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const array &x = primals[0], &t = tangents[0];
  const auto n = static_cast<double>(reduced_count(x.shape(), axes));
  const array centred = subtract(x, mean(x, axes, true, stream()), stream());
  const array products = sum(multiply(centred, t, stream()), axes, keepdims, stream());
  return {mean(t, axes, keepdims, stream()), multiply(products, like(x, 2 / (n - ddof)), stream())};
}
Batched Variance::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    const Axes moved = shifted(axes);
    const Shape shape = reduced_shape(in[0].shape(), moved, keepdims);
    return array::make_arrays({shape, shape}, {in[0].dtype(), in[0].dtype()},
                              std::make_shared<Variance>(stream(), moved, keepdims, ddof), {in[0]});
  });
}
std::vector<Shape> Variance::output_shapes(const Arrays& inputs) {
  const Shape shape = reduced_shape(inputs[0].shape(), axes, keepdims);
  return {shape, shape};
}

namespace {

array reduce(Reduction kind, const array& a, const Axes& given, bool keepdims, StreamOrDevice s) {
  const Axes axes = checked_axes(names[static_cast<int>(kind)], given, a.shape());
  if (axes.empty()) {
    if (kind == Reduction::mean) return astype(a, promote_to_float(a.dtype()), s);
    return kind == Reduction::any || kind == Reduction::all ? astype(a, bool_, s) : a;
  }
  if ((kind == Reduction::max || kind == Reduction::min) && reduced_count(a.shape(), axes) == 0)
    throw invalid(names[static_cast<int>(kind)], "got an array of shape ", a.shape(),
                  ", expected no reduced axis of size 0");
  return make<Reduce>(reduced_shape(a.shape(), axes, keepdims), result_dtype(kind, a.dtype()), s, {a}, kind,
                      axes, keepdims);
}

// The mean and the variance.
Arrays moments_of(const char* name, const array& a, const Axes& given, bool keepdims, int ddof,
                  StreamOrDevice s) {
  const Axes axes = checked_axes(name, given, a.shape());
  const array x = astype(a, promote_to_float(a.dtype()), s);
  const Shape shape = reduced_shape(x.shape(), axes, keepdims);
  return array::make_arrays({shape, shape}, {x.dtype(), x.dtype()},
                            std::make_shared<Variance>(to_stream(s), axes, keepdims, ddof), {x});
}

array var_of(const char* name, const array& a, const Axes& given, bool keepdims, int ddof, StreamOrDevice s) {
  if (a.dtype() == complex64)  // the mean of |x - mean|^2
    return add(var_of(name, real(a, s), given, keepdims, ddof, s),
               var_of(name, imag(a, s), given, keepdims, ddof, s), s);
  return moments_of(name, a, given, keepdims, ddof, s)[1];
}

}  // namespace

// The four forms of a reduction differ in how they name the axes.
#define MLX_REDUCTION(name)                                                                                 \
  array name(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {                           \
    return reduce(Reduction::name, a, axes, keepdims, s);                                                   \
  }                                                                                                         \
  array name(const array& a, int axis, bool keepdims, StreamOrDevice s) {                                   \
    return reduce(Reduction::name, a, Axes{axis}, keepdims, s);                                             \
  }                                                                                                         \
  array name(const array& a, bool keepdims, StreamOrDevice s) { return name(a, all_axes(a), keepdims, s); } \
  array name(const array& a, StreamOrDevice s) { return name(a, all_axes(a), false, s); }
MLX_REDUCTION(sum)
MLX_REDUCTION(mean)
MLX_REDUCTION(prod)
MLX_REDUCTION(max)
MLX_REDUCTION(min)
MLX_REDUCTION(any)
MLX_REDUCTION(all)
#undef MLX_REDUCTION

array var(const array& a, const Axes& axes, bool keepdims, int ddof, StreamOrDevice s) {
  return var_of("var", a, axes, keepdims, ddof, s);
}
array var(const array& a, int axis, bool keepdims, int ddof, StreamOrDevice s) {
  return var(a, Axes{axis}, keepdims, ddof, s);
}
array var(const array& a, bool keepdims, int ddof, StreamOrDevice s) {
  return var(a, all_axes(a), keepdims, ddof, s);
}
array var(const array& a, StreamOrDevice s) { return var(a, all_axes(a), false, 0, s); }

std::pair<array, array> var_mean(const array& a, const Axes& axes, bool keepdims, int ddof,
                                 StreamOrDevice s) {
  if (a.dtype() == complex64)
    return {var_of("var_mean", a, axes, keepdims, ddof, s), mean(a, axes, keepdims, s)};
  const Arrays moments = moments_of("var_mean", a, axes, keepdims, ddof, s);
  return {moments[1], moments[0]};
}

array std(const array& a, const Axes& axes, bool keepdims, int ddof, StreamOrDevice s) {
  return sqrt(var_of("std", a, axes, keepdims, ddof, s), s);
}
array std(const array& a, int axis, bool keepdims, int ddof, StreamOrDevice s) {
  return std(a, Axes{axis}, keepdims, ddof, s);
}
array std(const array& a, bool keepdims, int ddof, StreamOrDevice s) {
  return std(a, all_axes(a), keepdims, ddof, s);
}
array std(const array& a, StreamOrDevice s) { return std(a, all_axes(a), false, 0, s); }

std::tuple<array, array> minmax(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  return {min(a, axes, keepdims, s), max(a, axes, keepdims, s)};
}
std::tuple<array, array> minmax(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return minmax(a, Axes{axis}, keepdims, s);
}
std::tuple<array, array> minmax(const array& a, bool keepdims, StreamOrDevice s) {
  return minmax(a, all_axes(a), keepdims, s);
}
std::tuple<array, array> minmax(const array& a, StreamOrDevice s) { return minmax(a, all_axes(a), false, s); }

array count_nonzero(const array& a, const Axes& axes, bool keepdims, StreamOrDevice s) {
  const array nonzero = astype(a, bool_, s);
  // Over no axis there is nothing to add up: every element counts for itself.
  return astype(reduce(Reduction::sum, nonzero, checked_axes("count_nonzero", axes, a.shape()), keepdims, s),
                int32, s);
}
array count_nonzero(const array& a, int axis, bool keepdims, StreamOrDevice s) {
  return count_nonzero(a, Axes{axis}, keepdims, s);
}
array count_nonzero(const array& a, bool keepdims, StreamOrDevice s) {
  return count_nonzero(a, all_axes(a), keepdims, s);
}

namespace {

const bool kept_reduce = primitive_table().add<Reduce>("Reduce", 1, [](const Reduce& p, const Arrays& in) {
  return Arrays{reduce(p.kind, in[0], p.axes, p.keepdims, p.stream())};
}) && primitive_table().add<Variance>("Variance", 1, [](const Variance& p, const Arrays& in) {
  check_inputs(p, issubdtype(in[0].dtype(), floating), in);
  return var(in[0], p.axes, p.keepdims, p.ddof, p.stream()).outputs();
});

}  // namespace

}  // namespace mlx::core
