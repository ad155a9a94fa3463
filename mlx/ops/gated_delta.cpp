// fast::gated_delta_update. S. Yang, J. Kautz, A. Hatamizadeh, "Gated Delta Networks", arXiv:2412.06464.
// Derivatives of derivatives, and jvp, are those of the same steps as separate operations.
#include "mlx/ops/gated_delta.h"

#include <algorithm>

#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core::fast {
namespace {

constexpr const char* kName = "gated_delta_update";
enum Input { kQ, kK, kV, kGate, kBeta, kState, kMask };

// Element t of axis 1.
array at_step(const array& x, int t, StreamOrDevice s) { return take(x, t, 1, s); }
// (B, T, Hk, D) -> (B, T, Hv, D)
array for_each_head(const array& x, int heads, StreamOrDevice s) {
  return x.shape(2) == heads ? x : repeat(x, heads / x.shape(2), 2, s);
}

Arrays unfused(const Arrays& in, StreamOrDevice stream) {
  StreamContext context(stream);
  const StreamOrDevice s = stream;
  const Dtype dtype = in[kState].dtype();
  const int heads = in[kV].shape(2), steps = in[kV].shape(1);
  const array q = for_each_head(astype(in[kQ], dtype), heads, s);
  const array k = for_each_head(astype(in[kK], dtype), heads, s);
  const array v = astype(in[kV], dtype), &gate = in[kGate];
  array state = in[kState];
  Arrays rows;
  for (int t = 0; t < steps; ++t) {
    const array key = expand_dims(at_step(k, t, s), -2), query = expand_dims(at_step(q, t, s), -2);
    const array g = at_step(gate, t, s);
    const array decayed = state * (gate.ndim() == 3 ? expand_dims(g, {-2, -1}) : expand_dims(g, -2));
    const array found = sum(decayed * key, -1);
    const array delta = (at_step(v, t, s) - found) * expand_dims(at_step(in[kBeta], t, s), -1);
    const array next = decayed + expand_dims(delta, -1) * key;
    const array y = sum(next * query, -1);
    if (in.size() > kMask) {
      const array counts = at_step(in[kMask], t, s);
      state = where(expand_dims(counts, {-3, -2, -1}), next, state);
      rows.push_back(where(expand_dims(counts, {-2, -1}), y, zeros_of(y)));
    } else {
      state = next;
      rows.push_back(y);
    }
  }
  const array y =
      rows.empty() ? zeros(in[kV].shape(), in[kV].dtype()) : astype(stack(rows, 1), in[kV].dtype());
  return {y, state};
}

// What the gradient primitive computes, from its inputs.
Arrays unfused_gradients(const Arrays& in, StreamOrDevice s) {
  Arrays forward(in.begin(), in.end() - 2);
  const int heads = in[kV].shape(2);
  const Dtype dtype = in[kState].dtype();
  for (const Input i : {kQ, kK}) forward[i] = for_each_head(astype(forward[i], dtype, s), heads, s);
  forward[kV] = astype(forward[kV], dtype, s);
  const Axes which = {kQ, kK, kV, kGate, kBeta, kState};
  return vjp_of([s](const Arrays& x) { return unfused(x, s); }, forward, {in[in.size() - 2], in.back()},
                which);
}

Arrays forward(const Arrays& in, Stream s) {
  return array::make_arrays({in[kV].shape(), in[kState].shape()}, {in[kV].dtype(), in[kState].dtype()},
                            std::make_shared<GatedDeltaUpdate>(s), in);
}
Arrays gradients(const Arrays& in, Stream s) {
  const auto primitive = std::make_shared<GatedDeltaUpdateGradient>(s);
  return array::make_arrays(primitive->output_shapes(in), std::vector<Dtype>(6, in[kState].dtype()),
                            primitive, in);
}

// (B, T, Hv, D) -> (B, T, Hk, D): the sum over the heads that share one.
array summed_heads(const array& x, int heads, StreamOrDevice s) {
  if (x.shape(2) == heads) return x;
  return sum(unflatten(x, 2, {heads, x.shape(2) / heads}, s), 3, false, s);
}

// A batch axis becomes part of the first axis.
template <class F>
Batched folded(const Arrays& inputs, const Axes& axes, StreamOrDevice s, F&& call) {
  const int batch = batch_size(inputs, axes);
  Arrays in;
  for (size_t i = 0; i < inputs.size(); ++i)
    in.push_back(flatten(batch_to_front(inputs[i], axes[i], batch), 0, 1, s));
  Arrays out = call(in);
  for (array& o : out) o = unflatten(o, 0, {batch, batch ? o.shape(0) / batch : 0}, s);
  return {out, Axes(out.size(), 0)};
}

Axes without_mask(const Axes& argnums, size_t inputs, size_t primals) {
  Axes out;
  for (const int i : argnums)
    if (i < kMask || inputs == primals || static_cast<size_t>(i) + 2 >= primals) out.push_back(i);
  return out;
}

}  // namespace

Arrays GatedDeltaUpdate::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                             const Arrays&) {
  const Stream s = stream();
  Arrays in = primals;
  in.push_back(astype(cotangents[0], cotangents[1].dtype(), s));
  in.push_back(cotangents[1]);
  const Arrays all = gradients(in, s);
  Arrays out;
  for (const int i : argnums) {
    if (i == kMask)
      out.push_back(zeros_of(primals[kMask]));
    else if (i == kQ || i == kK)
      out.push_back(
          astype(summed_heads(all[static_cast<size_t>(i)], primals[kQ].shape(2), s), primals[kQ].dtype(), s));
    else
      out.push_back(astype(all[static_cast<size_t>(i)], primals[static_cast<size_t>(i)].dtype(), s));
  }
  return out;
}

Arrays GatedDeltaUpdate::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Axes real;
  Arrays directions;
  for (size_t i = 0; i < argnums.size(); ++i)
    if (argnums[i] != kMask) real.push_back(argnums[i]), directions.push_back(tangents[i]);
  const Stream s = stream();
  if (real.empty()) return {zeros_like(primals[kV], s), zeros_like(primals[kState], s)};
  return jvp_of([s](const Arrays& in) { return unfused(in, s); }, primals, directions, real);
}

Batched GatedDeltaUpdate::vmap(const Arrays& inputs, const Axes& axes) {
  return folded(inputs, axes, stream(), [&](const Arrays& in) { return forward(in, stream()); });
}

std::vector<Shape> GatedDeltaUpdateGradient::output_shapes(const Arrays& inputs) {
  Shape keys = inputs[kV].shape();
  keys.back() = inputs[kQ].shape(-1);
  return {
      keys, keys, inputs[kV].shape(), inputs[kGate].shape(), inputs[kBeta].shape(), inputs[kState].shape()};
}

Arrays GatedDeltaUpdateGradient::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                                     const Arrays&) {
  const Stream s = stream();
  const Axes real = without_mask(argnums, 8, primals.size());
  Arrays second;
  if (!real.empty())
    second = vjp_of([s](const Arrays& in) { return unfused_gradients(in, s); }, primals, cotangents, real);
  Arrays out;
  size_t next = 0;
  for (const int i : argnums)
    out.push_back(next < real.size() && real[next] == i ? second[next++]
                                                        : zeros_like(primals[static_cast<size_t>(i)], s));
  return out;
}

Arrays GatedDeltaUpdateGradient::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  const Axes real = without_mask(argnums, 8, primals.size());
  Arrays directions;
  for (size_t i = 0, next = 0; i < argnums.size(); ++i)
    if (next < real.size() && real[next] == argnums[i]) directions.push_back(tangents[i]), ++next;
  if (real.empty()) {
    Arrays out;
    for (const Shape& shape : output_shapes(primals)) out.push_back(zeros(shape, primals[kState].dtype(), s));
    return out;
  }
  return jvp_of([s](const Arrays& in) { return unfused_gradients(in, s); }, primals, directions, real);
}

Batched GatedDeltaUpdateGradient::vmap(const Arrays& inputs, const Axes& axes) {
  return folded(inputs, axes, stream(), [&](const Arrays& in) { return gradients(in, stream()); });
}

namespace {

void check_shape(const char* name, const array& x, const Shape& expected, const char* meaning) {
  if (x.shape() != expected)
    throw invalid(kName, "got ", name, " of shape ", x.shape(), ", expected ", expected, ": ", meaning);
}

}  // namespace

std::vector<array> gated_delta_update(const array& queries, const array& keys, const array& values,
                                      const array& gates, const array& beta_,
                                      const std::optional<array>& initial_state,
                                      const std::optional<array>& mask, StreamOrDevice s) {
  for (const array* x : {&queries, &keys, &values})
    if (x->ndim() != 4)
      throw invalid(kName, "got q, k and v of shapes ", queries.shape(), ", ", keys.shape(), " and ",
                    values.shape(), ", expected four dimensions: (batch, steps, heads, features)");
  const int batch = values.shape(0), steps = values.shape(1), heads = values.shape(2), dv = values.shape(3);
  const int key_heads = queries.shape(2), dk = queries.shape(3);
  check_shape("k", keys, queries.shape(), "as q");
  if (queries.shape(0) != batch || queries.shape(1) != steps)
    throw invalid(kName, "got q of shape ", queries.shape(), " and v of shape ", values.shape(),
                  ", expected the same batch and steps");
  if (key_heads == 0 || heads % key_heads != 0)
    throw invalid(kName, "got ", heads, " heads of v and ", key_heads, " of q and k, expected a multiple");
  check_shape("beta", beta_, {batch, steps, heads}, "(batch, steps, heads of v)");
  array gate = gates;
  if (gate.ndim() == 4 && gate.shape(3) == 1) gate = squeeze(gate, 3, s);
  if (gate.shape() != Shape{batch, steps, heads} && gate.shape() != Shape{batch, steps, heads, dk})
    throw invalid(kName, "got gamma of shape ", gates.shape(), ", expected ", Shape{batch, steps, heads},
                  " or ", Shape{batch, steps, heads, dk});
  if (initial_state)
    check_shape("initial_state", *initial_state, {batch, heads, dv, dk},
                "(batch, heads, features of v, of k)");
  if (mask) check_shape("mask", *mask, {batch, steps}, "(batch, steps)");
  const Dtype dtype = promote_to_float(result_type(queries, keys, values));
  Dtype widest = dtype;
  for (const array* x : {&gates, &beta_}) widest = promote_types(widest, x->dtype());
  if (initial_state) widest = promote_types(widest, initial_state->dtype());
  if (widest == complex64) throw invalid(kName, "got an array of complex64, expected real dtypes");

  const Dtype wide = dtype == float64 ? float64 : float32;
  Arrays in = {astype(queries, dtype, s),
               astype(keys, dtype, s),
               astype(values, dtype, s),
               astype(gate, wide, s),
               astype(beta_, wide, s),
               initial_state ? astype(*initial_state, wide, s) : zeros({batch, heads, dv, dk}, wide, s)};
  if (mask) in.push_back(astype(*mask, bool_, s));
  return forward(in, to_stream(s));
}

namespace {

// Inputs of the forward pass go through the public function, which has to find nothing to convert.
Arrays again(const Primitive& p, const Arrays& in) {
  std::optional<array> mask;
  if (in.size() > kMask) mask = in[kMask];
  check_inputs(p, in.size() > kState && in.size() <= kMask + 1, in);
  Arrays out = gated_delta_update(in[kQ], in[kK], in[kV], in[kGate], in[kBeta], in[kState], mask, p.stream());
  const Arrays& made = out[0].inputs();
  bool same = made.size() == in.size();
  for (size_t i = 0; same && i < in.size(); ++i) same = alike(made[i], in[i]);
  check_inputs(p, same, in);
  return out;
}

const bool kept_gated_delta =
    primitive_table().add<GatedDeltaUpdate>(
        "GatedDeltaUpdate", -1, [](const GatedDeltaUpdate& p, const Arrays& in) { return again(p, in); }) &&
    primitive_table().add<GatedDeltaUpdateGradient>(
        "GatedDeltaUpdateGradient", -1, [](const GatedDeltaUpdateGradient& p, const Arrays& in) {
          check_inputs(p, in.size() > kState + 2, in);
          const Arrays out = again(p, Arrays(in.begin(), in.end() - 2));
          const array &result = in[in.size() - 2], &state = in.back();
          check_inputs(
              p, result.shape() == out[0].shape() && result.dtype() == out[1].dtype() && alike(state, out[1]),
              in);
          return gradients(in, p.stream());
        });

}  // namespace

}  // namespace mlx::core::fast
