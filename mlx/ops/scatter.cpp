// scatter and its kin: writing.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/indexing.h"

namespace mlx::core {
namespace {

constexpr const char* kNames[] = {"scatter", "scatter_add", "scatter_prod", "scatter_max", "scatter_min"};

Arrays indices_of(const Arrays& primals) { return Arrays(primals.begin() + 1, primals.end() - 1); }

array tangent_or_zeros(const Arrays& primals, const Arrays& tangents, const Axes& argnums, size_t which) {
  for (size_t i = 0; i < argnums.size(); ++i)
    if (static_cast<size_t>(argnums[i]) == which) return tangents[i];
  return zeros_of(primals[which]);
}

array scatter_with(ScatterReduce reduce, const array& a, const Arrays& indices, const array& updates,
                   const Axes& axes, const StreamOrDevice& s) {
  const char* op = kNames[static_cast<int>(reduce)];
  if (indices.size() != axes.size())
    throw invalid(op, "got ", indices.size(), " index arrays for ", axes.size(), " axes, expected as many");
  checked_axes(op, axes, a.shape());
  Axes on;
  for (int axis : axes) on.push_back(checked_axis(op, axis, a.shape()));
  for (const array& index : indices)
    if (!issubdtype(index.dtype(), integer))
      throw invalid(op, "got indices of ", index.dtype(), ", expected integers");
  Arrays inputs = broadcast_arrays(indices, s);
  const Shape lead = inputs.empty() ? Shape{} : inputs[0].shape();
  bool fits = updates.ndim() == lead.size() + a.ndim();
  for (size_t i = 0; fits && i < lead.size(); ++i) fits = updates.shape()[i] == lead[i];
  const bool none = selects_nothing(indices);
  for (size_t i = 0; fits && i < a.ndim(); ++i)
    fits = updates.shape()[lead.size() + i] <= std::max(a.shape()[i], none ? 1 : 0);
  if (!fits)
    throw invalid(op, "got updates of shape ", updates.shape(), " for indices of shape ", lead,
                  " into an array of shape ", a.shape(),
                  ", expected the indices' shape followed by at most the array's");
  for (int i = 0; i < static_cast<int>(a.ndim()); ++i)
    if (std::find(on.begin(), on.end(), i) == on.end()) fix_size(op, a, i);
  if (updates.size() == 0) return a;
  inputs.insert(inputs.begin(), a);
  inputs.push_back(updates.dtype() == a.dtype() ? updates : astype(updates, a.dtype(), s));
  return make<Scatter>(a.shape(), a.dtype(), s, std::move(inputs), std::move(on), reduce);
}

array element_numbers(const array& like, const Stream& s) {
  fix_sizes("scatter", like);
  return reshape(arange(0.0, static_cast<double>(like.size()), 1.0, int64, s), like.shape(), s);
}

}  // namespace

// --- scatter ---

#define MLX_SCATTER(name, reduce)                                                                      \
  array name(const array& a, const std::vector<array>& indices, const array& updates,                  \
             const std::vector<int>& axes, StreamOrDevice s) {                                         \
    return scatter_with(reduce, a, indices, updates, axes, s);                                         \
  }                                                                                                    \
  array name(const array& a, const array& indices, const array& updates, int axis, StreamOrDevice s) { \
    return scatter_with(reduce, a, {indices}, updates, {axis}, s);                                     \
  }
MLX_SCATTER(scatter, ScatterReduce::none)
MLX_SCATTER(scatter_add, ScatterReduce::sum)
MLX_SCATTER(scatter_prod, ScatterReduce::prod)
MLX_SCATTER(scatter_max, ScatterReduce::max)
MLX_SCATTER(scatter_min, ScatterReduce::min)
#undef MLX_SCATTER

const char* Scatter::name() const { return kNames[static_cast<int>(reduce)]; }

namespace {

// The derivative of a scatter is diagonal: output places get `array` times the operand's tangent, and each
// update contributes `updates` times its own.
struct Coefficients {
  array of_array, of_updates;
};

class ScatterRules {
 public:
  ScatterRules(const Scatter& p, const Arrays& primals)
      : p_(p), s_(p.stream()), a_(primals.front()), u_(primals.back()), indices_(indices_of(primals)) {
    const size_t lead = indices_.empty() ? 0 : indices_[0].ndim();
    box_ = Shape(u_.shape().begin() + static_cast<std::ptrdiff_t>(lead), u_.shape().end());
  }
  array read(const array& x) const { return gather(x, indices_, p_.axes, box_, s_); }
  array write(ScatterReduce reduce, const array& x, const array& values) const {
    return scatter_with(reduce, x, indices_, values, p_.axes, s_);
  }

  // True for the updates that nothing overwrote.
  array survives() const {
    const array numbers = element_numbers(u_, s_);
    return equal(read(write(ScatterReduce::none, full(a_.shape(), array(-1, int64), s_), numbers)), numbers,
                 s_);
  }
  // Several updates at one place are possible.
  bool may_collide() const { return !indices_.empty() && indices_[0].size() > 1; }

  Coefficients coefficients(const array& out) const {
    const array one = like(a_, 1), zero = like(a_, 0);
    if (p_.reduce == ScatterReduce::prod) {
      // Products without the factor itself, also where factors are zero: the product of the others that are
      // not zero, if no other one is.
      const array is_zero = equal(u_, zero, s_);
      const array safe = where(is_zero, one, u_, s_);
      const array rest = read(write(ScatterReduce::prod, a_, safe));
      const array zeros_at =
          read(write(ScatterReduce::sum, zeros(a_.shape(), int32, s_), astype(is_zero, int32, s_)));
      const array none = equal(zeros_at, array(0), s_), single = equal(zeros_at, array(1), s_);
      return {
          write(ScatterReduce::prod, ones_of(a_), u_),
          where(is_zero, where(single, rest, zero, s_), where(none, divide(rest, safe, s_), zero, s_), s_)};
    }
    // Where several elements are the extreme one, they share the derivative.
    const array mine = astype(equal(a_, out, s_), a_.dtype(), s_);
    const array theirs = astype(equal(u_, read(out), s_), a_.dtype(), s_);
    const array count = maximum(write(ScatterReduce::sum, mine, theirs), one, s_);
    return {divide(mine, count, s_), divide(theirs, read(count), s_)};
  }

 private:
  const Scatter& p_;
  Stream s_;
  array a_, u_;
  Arrays indices_;
  Shape box_;
};

}  // namespace

Arrays Scatter::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                    const Arrays& outputs) {
  const Stream s = stream();
  const array& g = cotangents[0];
  const int last = static_cast<int>(primals.size()) - 1;
  const ScatterRules rules(*this, primals);
  const bool weighted =
      reduce == ScatterReduce::prod || reduce == ScatterReduce::max || reduce == ScatterReduce::min;
  std::optional<Coefficients> c;
  if (weighted) c = rules.coefficients(outputs[0]);
  Arrays grads;
  for (int arg : argnums) {
    if (arg != 0 && arg != last) {
      grads.push_back(zeros_of(primals[static_cast<size_t>(arg)]));
    } else if (arg == 0) {
      grads.push_back(weighted ? multiply(g, c->of_array, s)
                      : reduce == ScatterReduce::none
                          ? rules.write(ScatterReduce::none, g, zeros_of(primals.back()))
                          : g);
    } else {
      array grad = rules.read(g);
      if (weighted) grad = multiply(grad, c->of_updates, s);
      if (reduce == ScatterReduce::none && rules.may_collide())
        grad = where(rules.survives(), grad, like(grad, 0), s);
      grads.push_back(grad);
    }
  }
  return grads;
}

Arrays Scatter::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  const array ta = tangent_or_zeros(primals, tangents, argnums, 0);
  const array tu = tangent_or_zeros(primals, tangents, argnums, primals.size() - 1);
  const ScatterRules rules(*this, primals);
  if (reduce == ScatterReduce::none || reduce == ScatterReduce::sum) return {rules.write(reduce, ta, tu)};
  const Coefficients c = rules.coefficients(rules.write(reduce, primals.front(), primals.back()));
  return {rules.write(ScatterReduce::sum, multiply(ta, c.of_array, s), multiply(tu, c.of_updates, s))};
}

Batched Scatter::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  const int batch = batch_size(inputs, at);
  const size_t last = inputs.size() - 1;
  const array a = batch_to_front(inputs[0], at[0], batch);
  array updates = batch_to_front(inputs[last], at[last], batch);
  Arrays indices = indices_of(inputs);
  Axes on = axes;
  for (int& axis : on) ++axis;
  const bool indices_batched = std::any_of(at.begin() + 1, at.end() - 1, [](int axis) { return axis >= 0; });
  const int k = static_cast<int>(updates.ndim()) - static_cast<int>(a.ndim());  // axes of I, unbatched
  if (!indices_batched) return {{scatter_with(reduce, a, indices, moveaxis(updates, 0, k, s), on, s)}, {0}};
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = batch_to_front(indices[i], at[i + 1], batch);
  Shape lead(static_cast<size_t>(k) + 1, 1);
  lead[0] = batch;
  indices.push_back(reshape(arange(0.0, batch, 1.0, int64, s), lead, s));
  on.push_back(0);
  return {{scatter_with(reduce, a, indices, expand_dims(updates, k + 1, s), on, s)}, {0}};
}

// --- along an axis ---

namespace {
array scatter_along(const char* op, ScatterReduce reduce, const array& a, const array& indices,
                    const array& values, int axis, const StreamOrDevice& s) {
  const int ax = checked_axis(op, axis, a.shape());
  if (!issubdtype(indices.dtype(), integer))
    throw invalid(op, "got indices of ", indices.dtype(), ", expected integers");
  if (indices.ndim() != a.ndim())
    throw invalid(op, "got indices with ", indices.ndim(), " dimensions for an array with ", a.ndim(),
                  ", expected as many");
  Shape shape = a.shape();
  shape[static_cast<size_t>(ax)] = 1;
  Shape common;
  bool fits = true;
  try {
    common = broadcast_shapes(broadcast_shapes(shape, indices.shape()), values.shape());
  } catch (const std::invalid_argument&) {
    fits = false;
  }
  for (size_t i = 0; fits && i < a.ndim(); ++i)
    fits = common.size() == a.ndim() && (static_cast<int>(i) == ax || common[i] == a.shape()[i]);
  if (!fits)
    throw invalid(op, "got indices of shape ", indices.shape(), " and values of shape ", values.shape(),
                  " for an array of shape ", a.shape(),
                  ", expected shapes that broadcast to it except on axis ", ax);
  if (elements(common) == 0) return a;
  Arrays inputs{a, broadcast_to(indices, common, s), broadcast_to(astype(values, a.dtype(), s), common, s)};
  return make<ScatterAlongAxis>(a.shape(), a.dtype(), s, std::move(inputs), ax, reduce);
}
}  // namespace

array put_along_axis(const array& a, const array& indices, const array& values, int axis, StreamOrDevice s) {
  return scatter_along("put_along_axis", ScatterReduce::none, a, indices, values, axis, s);
}
array scatter_add_axis(const array& a, const array& indices, const array& values, int axis,
                       StreamOrDevice s) {
  return scatter_along("scatter_add_axis", ScatterReduce::sum, a, indices, values, axis, s);
}

Arrays ScatterAlongAxis::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                             const Arrays&) {
  const Stream s = stream();
  const array& g = cotangents[0];
  const array &a = primals[0], &indices = primals[1], &u = primals[2];
  Arrays grads;
  for (int arg : argnums) {
    if (arg == 1) {
      grads.push_back(zeros_of(indices));
    } else if (arg == 0) {
      grads.push_back(reduce == ScatterReduce::sum ? g : put_along_axis(g, indices, zeros_of(u), axis, s));
    } else {
      array grad = take_along_axis(g, indices, axis, s);
      if (reduce == ScatterReduce::none) {  // only the last of several updates at one place counts
        const array numbers = element_numbers(u, s);
        const array written = put_along_axis(full(a.shape(), array(-1, int64), s), indices, numbers, axis, s);
        grad = where(equal(take_along_axis(written, indices, axis, s), numbers, s), grad, like(grad, 0), s);
      }
      grads.push_back(grad);
    }
  }
  return grads;
}
Arrays ScatterAlongAxis::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {scatter_along(name(), reduce, tangent_or_zeros(primals, tangents, argnums, 0), primals[1],
                        tangent_or_zeros(primals, tangents, argnums, 2), axis, stream())};
}
Batched ScatterAlongAxis::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{scatter_along(name(), reduce, in[0], in[1], in[2], axis + 1, stream())};
  });
}

// --- by mask ---

namespace {

// The mask with trailing axes of size 1 up to a's dimensions, for where().
array aligned(const array& mask, const array& a, const StreamOrDevice& s) {
  Shape shape = mask.shape();
  shape.resize(a.ndim(), 1);
  return reshape(mask, shape, s);
}

void check_mask(const array& a, const array& mask) {
  if (mask.dtype() != bool_)
    throw invalid("masked_scatter", "got a mask of ", mask.dtype(), ", expected bool");
  bool fits = mask.ndim() <= a.ndim();
  for (size_t i = 0; fits && i < mask.ndim(); ++i) fits = mask.shape()[i] == a.shape()[i];
  if (!fits)
    throw invalid("masked_scatter", "got a mask of shape ", mask.shape(), " for an array of shape ",
                  a.shape(), ", expected the array's leading sizes");
}

array masked(const array& a, const array& mask, const array& src, const StreamOrDevice& s) {
  check_mask(a, mask);
  return make<MaskedScatter>(a.shape(), a.dtype(), s, {a, mask, astype(src, a.dtype(), s)});
}

}  // namespace

array masked_scatter(const array& a, const array& mask, const array& src, StreamOrDevice s) {
  return masked(a, mask, src, s);
}

Arrays MaskedScatter::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                          const Arrays&) {
  const Stream s = stream();
  const array& g = cotangents[0];
  Arrays grads;
  for (int arg : argnums) {
    if (arg == 0) {
      grads.push_back(where(aligned(primals[1], g, s), like(g, 0), g, s));
    } else if (arg == 1) {
      grads.push_back(zeros_of(primals[1]));
    } else {
      const int size = static_cast<int>(primals[2].size());
      grads.push_back(
          reshape(make<MaskedSelect>({size}, g.dtype(), s, {g, primals[1]}, size), primals[2].shape(), s));
    }
  }
  return grads;
}
Arrays MaskedScatter::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return {masked(tangent_or_zeros(primals, tangents, argnums, 0), primals[1],
                 tangent_or_zeros(primals, tangents, argnums, 2), stream())};
}
Batched MaskedScatter::vmap(const Arrays& inputs, const Axes& axes) {
  // How much of a source is used depends on the mask's values: one node per element of the batch.
  const int batch = batch_size(inputs, axes);
  Arrays rows;
  Arrays front;
  for (size_t i = 0; i < inputs.size(); ++i) front.push_back(batch_to_front(inputs[i], axes[i], batch));
  for (int i = 0; i < batch; ++i)
    rows.push_back(masked(take(front[0], i, 0, stream()), take(front[1], i, 0, stream()),
                          take(front[2], i, 0, stream()), stream()));
  if (rows.empty()) return {{front[0]}, {0}};
  return {{stack(rows, 0, stream())}, {0}};
}

array nonzero_indices(const array& mask, StreamOrDevice) {
  if (mask.dtype() != bool_)
    throw invalid("nonzero_indices", "got a mask of ", mask.dtype(), ", expected bool");
  array m = contiguous(mask);
  m.eval();
  const bool* data = m.data<bool>();
  const size_t n = m.size();
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) count += data[i];
  const Dtype dtype = n > static_cast<size_t>(std::numeric_limits<int32_t>::max()) ? int64 : int32;
  array out({safe_cast(count, "nonzero_indices")}, dtype, nullptr, {});
  out.set_data(allocator::malloc(count * dtype.size()));
  const auto fill = [&]<class T>(T* to) {
    size_t last = n;
    while (last > 0 && !data[last - 1]) --last;
    for (size_t i = 0; i < last; ++i) {  // each is written, and stays where it counts
      *to = static_cast<T>(i);
      to += data[i];
    }
  };
  if (dtype == int64) {
    fill(out.data<int64_t>());
  } else {
    fill(out.data<int32_t>());
  }
  return out;
}

namespace {
const bool kept_scatter =
    primitive_table().add<Scatter>(
        "Scatter", -1,
        [](const Scatter& p, const Arrays& in) {
          check_inputs(p, in.size() == p.axes.size() + 2, in);
          return Arrays{scatter_with(p.reduce, in[0], indices_of(in), in.back(), p.axes, p.stream())};
        }) &&
    primitive_table().add<ScatterAlongAxis>(
        "ScatterAlongAxis", 3,
        [](const ScatterAlongAxis& p, const Arrays& in) {
          check_inputs(p, p.reduce == ScatterReduce::none || p.reduce == ScatterReduce::sum, in);
          return Arrays{scatter_along(p.name(), p.reduce, in[0], in[1], in[2], p.axis, p.stream())};
        }) &&
    primitive_table().add<MaskedScatter>("MaskedScatter", 3,
                                         [](const MaskedScatter& p, const Arrays& in) {
                                           return Arrays{masked(in[0], in[1], in[2], p.stream())};
                                         }) &&
    primitive_table().add<MaskedSelect>("MaskedSelect", 2, [](const MaskedSelect& p, const Arrays& in) {
      check_mask(in[0], in[1]);
      return Arrays{make<MaskedSelect>({p.size}, in[0].dtype(), p.stream(), in, p.size)};
    });
}  // namespace

}  // namespace mlx::core
