// softmax(x)_i = exp(x_i - m) / sum_j exp(x_j - m) with m = max x, over one or several axes.
#include "mlx/ops/softmax.h"

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/reduce.h"

namespace mlx::core {
namespace {

array jacobian_times(const array& y, const array& v, StreamOrDevice s) {
  return make<SoftmaxJacobian>(y.shape(), y.dtype(), s, {y, v});
}
// The transposed derivative of y * (v - sum(y v)) with respect to y, times w: w (v - sum(y v)) - v sum(w y).
array jacobian_by_y(const array& y, const array& v, const array& w, StreamOrDevice s) {
  const array centred = subtract(v, sum(multiply(y, v, s), -1, true, s), s);
  return subtract(multiply(w, centred, s), multiply(v, sum(multiply(w, y, s), -1, true, s), s), s);
}

}  // namespace

Arrays Softmax::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  return {jacobian_times(outputs[0], cotangents[0], stream())};
}
Arrays Softmax::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  return {jacobian_times(softmax(primals[0], -1, precise, stream()), tangents[0], stream())};
}
Batched Softmax::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{softmax(in[0], -1, precise, stream())}; });
}

Arrays SoftmaxJacobian::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                            const Arrays&) {
  Arrays out;
  for (int i : argnums)
    out.push_back(i == 0 ? jacobian_by_y(primals[0], primals[1], cotangents[0], stream())
                         : jacobian_times(primals[0], cotangents[0], stream()));
  return out;
}
Arrays SoftmaxJacobian::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const array &y = primals[0], &v = primals[1];
  array out = zeros_of(y);
  for (size_t i = 0; i < argnums.size(); ++i) {
    const array& t = tangents[i];
    if (argnums[i] == 1) {
      out = add(out, jacobian_times(y, t, stream()), stream());
      continue;
    }
    const auto total = [&](const array& a, const array& b) {
      return sum(multiply(a, b, stream()), -1, true, stream());
    };
    const array by_y = subtract(multiply(t, subtract(v, total(y, v), stream()), stream()),
                                multiply(y, total(t, v), stream()), stream());
    out = add(out, by_y, stream());
  }
  return {out};
}
Batched SoftmaxJacobian::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{jacobian_times(in[0], in[1], stream())}; });
}

array softmax(const array& a, const Axes& given, bool precise, StreamOrDevice s) {
  const Axes axes = checked_axes("softmax", given, a.shape());
  const array x = astype(a, promote_to_float(a.dtype()), s);
  if (axes.empty()) return full_like(x, like(x, 1), s);
  if (x.dtype() == complex64) {
    const array e = exp(subtract(x, max(real(x, s), axes, true, s), s), s);
    return divide(e, sum(e, axes, true, s), s);
  }
  if (x.size() == 0 && !OpenSizes::of(x)) return x;
  const array rows = axes_last(x, axes, s);
  return axes_back(make<Softmax>(rows.shape(), rows.dtype(), s, {rows}, precise), x.shape(), axes, s);
}
array softmax(const array& a, int axis, bool precise, StreamOrDevice s) {
  return softmax(a, Axes{axis}, precise, s);
}
array softmax(const array& a, bool precise, StreamOrDevice s) { return softmax(a, all_axes(a), precise, s); }

namespace {
const bool kept_softmax =
    primitive_table().add<Softmax>("Softmax", 1,
                                   [](const Softmax& p, const Arrays& in) {
                                     return Arrays{softmax(in[0], -1, p.precise, p.stream())};
                                   }) &&
    primitive_table().add<SoftmaxJacobian>(
        "SoftmaxJacobian", 2, [](const SoftmaxJacobian& p, const Arrays& in) {
          check_inputs(p, alike(in[0], in[1]) && in[0].ndim() > 0 && issubdtype(in[0].dtype(), floating), in);
          return Arrays{jacobian_times(in[0], in[1], p.stream())};
        });
}  // namespace

}  // namespace mlx::core
