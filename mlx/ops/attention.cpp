// O = softmax(scale * Q K^T + mask) V, in one pass over the keys (mlx/cpu/gemm/attention.h), and its
// gradients. What the fused form does not have (float64, derivatives of derivatives, gradients of masks and
// sinks) is composed of other operations.
#include "mlx/ops/attention.h"

#include <algorithm>

#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

constexpr const char* kName = "scaled_dot_product_attention";

struct Scores {
  array scores;  // (B, Nkv, N / Nkv, Tq, Tk), masked
  array values;  // (B, Nkv, 1, Tk, Dv)
};

array split_heads(const array& x, int groups, StreamOrDevice s) {
  return unflatten(x, 1, {groups, x.shape(1) / groups}, s);
}

Scores masked_scores(const Arrays& in, const AttentionParameters& p, StreamOrDevice s) {
  const array &q = in[0], &k = in[1], &v = in[2];
  const int heads = k.shape(1), lq = q.shape(2), lk = k.shape(2);
  const array queries = split_heads(multiply(like(q, p.scale), q, s), heads, s);
  array scores = matmul(queries, expand_dims(swapaxes(k, -1, -2, s), 2, s), s);
  const array least = like(scores, finfo(scores.dtype()).min);
  if (p.causal) {
    const array row = arange(lk - lq, lk, s), column = arange(lk, s);
    scores = where(greater_equal(expand_dims(row, 1, s), column, s), scores, least, s);
  }
  if (p.mask) {
    const array mask = split_heads(in[3], heads, s);
    scores = mask.dtype() == bool_ ? where(mask, scores, least, s) : add(scores, mask, s);
  }
  return {scores, expand_dims(v, 2, s)};
}

// The sinks as one more column of scores.
array sink_column(const array& sinks, const array& scores, StreamOrDevice s) {
  const int heads = scores.shape(1), group = scores.shape(2);
  const array column = reshape(astype(sinks, scores.dtype(), s), {1, heads, group, 1, 1}, s);
  return broadcast_to(column, {scores.shape(0), heads, group, scores.shape(3), 1}, s);
}

array probabilities(const array& scores, const Arrays& in, const AttentionParameters& p, StreamOrDevice s) {
  if (!p.sinks) return softmax(scores, -1, true, s);
  const array sinks = sink_column(in[p.inputs() - 1], scores, s);
  const array all = softmax(concatenate({sinks, scores}, -1, s), -1, true, s);
  Shape start(all.ndim(), 0);
  start[all.ndim() - 1] = 1;
  return slice(all, start, all.shape(), s);
}

array unfused(const Arrays& in, const AttentionParameters& p, StreamOrDevice s) {
  const Scores x = masked_scores(in, p, s);
  return flatten(matmul(probabilities(x.scores, in, p, s), x.values, s), 1, 2, s);
}

// Of the inputs of the gradient primitive (the cotangent is the last).
Arrays unfused_gradients(const Arrays& in, const AttentionParameters& p, StreamOrDevice s) {
  const Axes qkv = {0, 1, 2};
  return vjp_of([&](const Arrays& x) { return Arrays{unfused(x, p, s)}; }, in, {in.back()}, qkv);
}
Axes without_outputs(const Axes& argnums, const AttentionParameters& p) {
  Axes out;
  for (const int i : argnums)
    if (i < static_cast<int>(p.inputs()) || i == static_cast<int>(p.inputs()) + 2) out.push_back(i);
  return out;
}

Arrays inputs_of(const Arrays& all, const AttentionParameters& p) {
  return Arrays(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(p.inputs()));
}

Shape stats_shape(const Shape& q) { return {q[0], q[1], q[2], 2}; }
Shape result_shape(const Shape& q, const Shape& v) { return {q[0], q[1], q[2], v[3]}; }

Arrays forward(const Arrays& in, const AttentionParameters& p, Stream s) {
  return array::make_arrays({result_shape(in[0].shape(), in[2].shape()), stats_shape(in[0].shape())},
                            {in[0].dtype(), float32}, std::make_shared<ScaledDotProductAttention>(s, p), in);
}

Arrays gradients(Arrays in, const Arrays& outputs, const array& g, const AttentionParameters& p, Stream s) {
  const std::vector<Shape> shapes = {in[0].shape(), in[1].shape(), in[2].shape()};
  const std::vector<Dtype> dtypes(3, in[0].dtype());
  in.push_back(outputs[0]);
  in.push_back(outputs[1]);
  in.push_back(g);
  return array::make_arrays(shapes, dtypes, std::make_shared<ScaledDotProductAttentionGradient>(s, p), in);
}

// The batch axis becomes part of the first axis, so that the operation sees four dimensions again.
array folded(const array& a, int axis, int batch, StreamOrDevice s) {
  return flatten(batch_to_front(a, axis, batch), 0, 1, s);
}
template <class F>
Batched batched(const Arrays& inputs, const Axes& axes, const AttentionParameters& p, StreamOrDevice s,
                F&& call) {
  const size_t sinks = p.inputs() - 1;
  // Sinks belong to heads: a batch of them makes more heads, which `folded` cannot express.
  if (p.sinks && axes[sinks] >= 0) return one_by_one(inputs, axes, s, call);
  const int batch = batch_size(inputs, axes);
  Arrays in;
  for (size_t i = 0; i < inputs.size(); ++i)
    in.push_back(p.sinks && i == sinks ? inputs[i] : folded(inputs[i], axes[i], batch, s));
  Arrays out = call(in);
  for (array& o : out) o = unflatten(o, 0, {batch, o.shape(0) / batch}, s);
  return {out, Axes(out.size(), 0)};
}

}  // namespace

// --- rules
// ----------------------------------------------------------------------------------------------------------

std::vector<Shape> ScaledDotProductAttention::output_shapes(const Arrays& inputs) {
  return {result_shape(inputs[0].shape(), inputs[2].shape()), stats_shape(inputs[0].shape())};
}

Arrays ScaledDotProductAttention::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                                      const Arrays& outputs) {
  const Stream s = stream();
  Arrays fused;
  Axes rest;
  for (const int i : argnums)
    if (i >= 3) rest.push_back(i);
  if (rest.size() < argnums.size()) fused = gradients(primals, outputs, cotangents[0], p, s);
  Arrays composed;
  if (!rest.empty())
    composed =
        vjp_of([&](const Arrays& in) { return Arrays{unfused(in, p, s)}; }, primals, {cotangents[0]}, rest);
  Arrays out;
  size_t next = 0;
  for (const int i : argnums) out.push_back(i < 3 ? fused[static_cast<size_t>(i)] : composed[next++]);
  return out;
}

Arrays ScaledDotProductAttention::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Stream s = stream();
  const Arrays out =
      jvp_of([&](const Arrays& in) { return Arrays{unfused(in, p, s)}; }, primals, tangents, argnums);
  return {out[0], zeros(stats_shape(primals[0].shape()), float32, s)};
}

Batched ScaledDotProductAttention::vmap(const Arrays& inputs, const Axes& axes) {
  return batched(inputs, axes, p, stream(), [&](const Arrays& in) { return forward(in, p, stream()); });
}

// As a function of the forward pass's inputs and the cotangent. Its other inputs, the forward pass's outputs,
// are functions of those and have no part of their own in the derivative.
Arrays ScaledDotProductAttentionGradient::vjp(const Arrays& primals, const Arrays& cotangents,
                                              const Axes& argnums, const Arrays&) {
  const Stream s = stream();
  const Axes real = without_outputs(argnums, p);
  Arrays second;
  if (!real.empty())
    second = vjp_of([&](const Arrays& in) { return unfused_gradients(in, p, s); }, primals, cotangents, real);
  Arrays out;
  size_t next = 0;
  for (const int i : argnums)
    out.push_back(next < real.size() && real[next] == i ? second[next++]
                                                        : zeros_like(primals[static_cast<size_t>(i)], s));
  return out;
}

Arrays ScaledDotProductAttentionGradient::jvp(const Arrays& primals, const Arrays& tangents,
                                              const Axes& argnums) {
  const Stream s = stream();
  const Axes real = without_outputs(argnums, p);
  Arrays directions;
  for (size_t i = 0, next = 0; i < argnums.size(); ++i)
    if (next < real.size() && real[next] == argnums[i]) directions.push_back(tangents[i]), ++next;
  if (real.empty()) return {zeros_like(primals[0], s), zeros_like(primals[1], s), zeros_like(primals[2], s)};
  return jvp_of([&](const Arrays& in) { return unfused_gradients(in, p, s); }, primals, directions, real);
}

Batched ScaledDotProductAttentionGradient::vmap(const Arrays& inputs, const Axes& axes) {
  return batched(inputs, axes, p, stream(), [&](const Arrays& in) {
    const size_t n = in.size();
    return gradients(inputs_of(in, p), {in[n - 3], in[n - 2]}, in[n - 1], p, stream());
  });
}

// --- function
// -------------------------------------------------------------------------------------------------------

namespace fast {

array scaled_dot_product_attention(const array& queries, const array& keys, const array& values,
                                   const double scale, const std::string& mask_mode,
                                   std::optional<array> mask_arr, const std::optional<array>& sinks,
                                   bool force_fused, StreamOrDevice s) {
  for (const array* x : {&queries, &keys, &values})
    if (x->ndim() != 4) throw invalid(kName, "input with shape ", x->shape(), " expected to be rank 4");
  if (!mask_mode.empty() && mask_mode != "causal" && mask_mode != "array")
    throw invalid(kName, "invalid mask option '", mask_mode, "'. Must be 'causal', or an array.");
  if (mask_mode == "causal" && mask_arr)
    throw invalid(kName, "got a mask array together with the mask option 'causal'");
  if (mask_mode == "array" && !mask_arr) throw invalid(kName, "the mask option 'array' needs a mask array");
  const int batch = queries.shape(0), heads = queries.shape(1), lq = queries.shape(2), lk = keys.shape(2);
  for (const array* x : {&keys, &values})
    if (x->shape(0) != batch)
      throw invalid(kName, "mismatching batch dimension for input with shape ", x->shape(), ", expected ",
                    batch, ".");
  if (queries.shape(3) != keys.shape(3))
    throw invalid(kName, "query, keys expected to have matching last dimension; found query shape ",
                  queries.shape(), " for keys shape ", keys.shape(), ".");
  if (keys.shape(1) != values.shape(1))
    throw invalid(kName, "keys, values expected to have matching n_kv_heads; found keys with n_heads ",
                  keys.shape(1), " for values with n_heads ", values.shape(1), ".");
  if (keys.shape(2) != values.shape(2))
    throw invalid(kName, "keys, values expected to have the same length; found keys shape ", keys.shape(),
                  " for values shape ", values.shape(), ".");
  if (keys.shape(1) == 0 || heads % keys.shape(1) != 0)
    throw invalid(kName, "n_heads must be a multiple of n_kv_heads, found n_heads ", heads,
                  " for n_kv_heads ", keys.shape(1), ".");
  const Dtype dtype = result_type(queries, keys, values);
  if (!issubdtype(dtype, floating)) throw invalid(kName, "Received unsupported type ", dtype, ".");

  AttentionParameters p;
  p.scale = scale;
  p.causal = mask_mode == "causal";
  Arrays in = {astype(queries, dtype, s), astype(keys, dtype, s), astype(values, dtype, s)};
  if (mask_arr) {
    array mask = *mask_arr;
    if (mask.ndim() > 4)
      throw invalid(kName, "the mask with shape ", mask.shape(), " expected to have at most rank 4.");
    if (mask.dtype() != bool_) {
      if (promote_types(mask.dtype(), dtype) != dtype)
        throw invalid(kName, "Mask type must promote to output type ", dtype, ", got ", mask.dtype(), ".");
      mask = astype(mask, dtype, s);
    }
    in.push_back(broadcast_to(mask, {batch, heads, lq, lk}, s));
    p.mask = true;
  }
  if (sinks) {
    if (promote_types(sinks->dtype(), dtype) != dtype)
      throw invalid(kName, "Type of sinks must promote to output type ", dtype, ", got ", sinks->dtype(),
                    ".");
    if (sinks->ndim() != 1 || sinks->shape(0) != heads)
      throw invalid(kName, "Received invalid shape for sinks ", sinks->shape(), ", expected (", heads, ").");
    in.push_back(astype(*sinks, dtype == float64 ? float64 : float32, s));
    p.sinks = true;
  }
  if (dtype == float64) {
    if (force_fused) throw invalid(kName, "there is no fused kernel for float64");
    return unfused(in, p, s);
  }
  return forward(in, p, to_stream(s))[0];
}

}  // namespace fast

namespace {

// Positions of mask and sinks are those of AttentionParameters.
Arrays checked_forward(const Primitive& primitive, const AttentionParameters& p, const Arrays& in) {
  check_inputs(primitive, in.size() == p.inputs() && !(p.causal && p.mask), in);
  const std::optional<array> mask = p.mask ? std::optional(in[3]) : std::nullopt;
  const std::optional<array> sinks = p.sinks ? std::optional(in.back()) : std::nullopt;
  const array out = fast::scaled_dot_product_attention(in[0], in[1], in[2], p.scale, p.causal ? "causal" : "",
                                                       mask, sinks, false, primitive.stream());
  check_inputs(primitive, in[0].dtype() != float64 && out.dtype() == in[0].dtype(), in);
  return out.outputs();
}

const bool kept_attention =
    primitive_table().add<ScaledDotProductAttention>(
        "ScaledDotProductAttention", -1,
        [](const ScaledDotProductAttention& p, const Arrays& in) { return checked_forward(p, p.p, in); }) &&
    primitive_table().add<ScaledDotProductAttentionGradient>(
        "ScaledDotProductAttentionGradient", -1,
        [](const ScaledDotProductAttentionGradient& p, const Arrays& in) {
          const size_t n = p.p.inputs();
          check_inputs(p, in.size() == n + 3, in);
          const Arrays first(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n));
          const Arrays out = checked_forward(p, p.p, first);
          check_inputs(p,
                       alike(in[n], out[0]) && alike(in[n + 1], out[1]) && alike(in[n + 2], out[0]) &&
                           in[1].dtype() == in[0].dtype() && in[2].dtype() == in[0].dtype(),
                       in);
          return gradients(first, {in[n], in[n + 1]}, in[n + 2], p.p, p.stream());
        });

}  // namespace

}  // namespace mlx::core
