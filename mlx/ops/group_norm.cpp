// fast::group_norm. On the CPU first derivatives are kernels; what is derived from those, and everything on a
// GPU, goes through the same formulas written in plain operations.
#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/norms.h"
#include "mlx/transforms.h"

namespace mlx::core::fast {
namespace {

// (samples, rows, channels) with the channels' axis taken apart, and which axes a group extends over.
struct Groups {
  int count;
  bool interleaved;
  Shape shape(const array& x) const {
    const int size = x.shape(-1) / count;
    return interleaved ? Shape{x.shape(0), x.shape(1), size, count}
                       : Shape{x.shape(0), x.shape(1), count, size};
  }
  Axes axes() const { return interleaved ? Axes{1, 2} : Axes{1, 3}; }
};

// In the dtype that is computed in.
array rows_of(const array& x, StreamOrDevice s) {
  int rows = 1;
  for (int d = 1; d + 1 < static_cast<int>(x.ndim()); ++d) rows *= x.shape(d);
  return astype(reshape(x, {x.shape(0), rows, x.shape(-1)}, s), norm_dtype(x.dtype()), s);
}

struct Normalised {
  array x, scale;  // with the channels taken apart; 1 / sqrt(var + eps)
};
Normalised normalised(const array& x, const Groups& groups, double eps, StreamOrDevice s) {
  array y = reshape(x, groups.shape(x), s);
  y = subtract(y, mean(y, groups.axes(), true, s), s);
  const array scale = rsqrt(add(mean(square(y, s), groups.axes(), true, s), array(eps, y.dtype()), s), s);
  return {multiply(y, scale, s), scale};
}

// Inputs as GroupNorm has them; weights may have samples too, (samples, 1, channels).
array plain_group_norm(const Arrays& in, const Groups& groups, double eps, bool weighted, bool biased,
                       StreamOrDevice s) {
  const array x = rows_of(in[0], s);
  array y = reshape(normalised(x, groups, eps, s).x, x.shape(), s);
  if (weighted) y = multiply(y, in[1], s);
  if (biased) y = add(y, in.back(), s);
  return astype(reshape(y, in[0].shape(), s), in[0].dtype(), s);
}

// dx, and what dweight and dbias are the sums of, (samples, rows, channels).
Arrays plain_group_norm_parts(const Arrays& in, const Groups& groups, double eps, bool weighted,
                              StreamOrDevice s) {
  const array x = rows_of(in[0], s), g = rows_of(in.back(), s);
  const auto [y, scale] = normalised(x, groups, eps, s);
  const array gw = reshape(weighted ? multiply(g, in[1], s) : g, y.shape(), s);
  array dx = subtract(gw, multiply(y, mean(multiply(gw, y, s), groups.axes(), true, s), s), s);
  dx = multiply(subtract(dx, mean(gw, groups.axes(), true, s), s), scale, s);
  return {astype(reshape(dx, in[0].shape(), s), in[0].dtype(), s), multiply(g, reshape(y, g.shape(), s), s),
          g};
}
Arrays plain_group_norm_vjp(const Arrays& in, const Groups& groups, double eps, bool weighted,
                            StreamOrDevice s) {
  const Arrays parts = plain_group_norm_parts(in, groups, eps, weighted, s);
  return {parts[0], sum(parts[1], Axes{0, 1}, false, s), sum(parts[2], Axes{0, 1}, false, s)};
}

// dx, dweight, dbias of inputs x, (weight,) g.
Arrays group_norm_gradients(const Arrays& in, const GroupNormVjp& p) {
  const array& x = in[0];
  const Dtype wide = norm_dtype(x.dtype());
  const Shape row{x.shape(-1)};
  return array::make_arrays(
      {x.shape(), row, row}, {x.dtype(), wide, wide},
      std::make_shared<GroupNormVjp>(p.stream(), p.groups, p.interleaved, p.eps, p.weighted), in);
}

// Samples of all batches in a row; weights of theirs for each sample.
struct SampleBatch {
  Arrays in;
  int size, samples;
  bool shared = true;  // the weights, by the whole batch
};
SampleBatch samples_of(const Arrays& inputs, const Axes& at, bool last_is_weight, Stream s) {
  SampleBatch b{{}, batch_size(inputs, at), 0};
  const size_t end = last_is_weight ? inputs.size() : inputs.size() - 1;
  for (size_t i = 1; i < end; ++i) b.shared = b.shared && at[i] < 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i > 0 && i < end && b.shared) {
      b.in.push_back(inputs[i]);
      continue;
    }
    array x = batch_to_front(inputs[i], at[i], b.size);
    if (i == 0) b.samples = x.shape(1);
    if (i > 0 && i < end) {
      x = reshape(x, {b.size, 1, 1, x.shape(-1)}, s);
      x = broadcast_to(x, {b.size, b.samples, 1, x.shape(-1)}, s);
    }
    b.in.push_back(flatten(x, 0, 1, s));
  }
  return b;
}

}  // namespace

Arrays GroupNorm::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays in{primals[0]};
  if (weighted) in.push_back(primals[1]);
  in.push_back(cotangents[0]);
  const Arrays parts = group_norm_gradients(in, GroupNormVjp(stream(), groups, interleaved, eps, weighted));
  Arrays out;
  for (int i : argnums) out.push_back(parts[i == 0 ? 0 : weighted && i == 1 ? 1 : 2]);
  return out;
}
Arrays GroupNorm::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of(
      [&](const Arrays& in) {
        return Arrays{plain_group_norm(in, {groups, interleaved}, eps, weighted, biased, stream())};
      },
      primals, tangents, argnums);
}
Batched GroupNorm::vmap(const Arrays& inputs, const Axes& at) {
  const SampleBatch b = samples_of(inputs, at, true, stream());
  const array& x = b.in[0];
  const array y = b.shared ? make<GroupNorm>(x.shape(), x.dtype(), stream(), b.in, groups, interleaved, eps,
                                             weighted, biased)
                           : plain_group_norm(b.in, {groups, interleaved}, eps, weighted, biased, stream());
  return {{unflatten(y, 0, {b.size, b.samples}, stream())}, {0}};
}

Arrays GroupNormVjp::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays&) {
  return vjp_of(
      [&](const Arrays& in) {
        return plain_group_norm_vjp(in, {groups, interleaved}, eps, weighted, stream());
      },
      primals, cotangents, argnums);
}
Arrays GroupNormVjp::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  return jvp_of(
      [&](const Arrays& in) {
        return plain_group_norm_vjp(in, {groups, interleaved}, eps, weighted, stream());
      },
      primals, tangents, argnums);
}
Batched GroupNormVjp::vmap(const Arrays& inputs, const Axes& at) {
  const Stream s = stream();
  const SampleBatch b = samples_of(inputs, at, false, s);
  const Arrays parts = plain_group_norm_parts(b.in, {groups, interleaved}, eps, weighted, s);
  const auto apart = [&](const array& x) { return unflatten(x, 0, {b.size, b.samples}, s); };
  return {{apart(parts[0]), sum(apart(parts[1]), Axes{1, 2}, false, s),
           sum(apart(parts[2]), Axes{1, 2}, false, s)},
          {0, 0, 0}};
}

array group_norm(const array& x, int groups, const std::optional<array>& weight,
                 const std::optional<array>& bias, double eps, bool interleaved, StreamOrDevice stream) {
  constexpr const char* kName = "group_norm";
  const Stream s = to_stream(stream);
  if (x.ndim() < 2) throw invalid(kName, "got x of shape ", x.shape(), ", expected (samples, ..., channels)");
  if (groups < 1 || x.shape(-1) % groups != 0)
    throw invalid(kName, "got ", groups, " groups, expected a divisor of ", x.shape(-1), " channels");
  Dtype dtype = x.dtype();
  Arrays in{x};
  for (const auto& [what, v] : {std::pair{"weight", weight}, std::pair{"bias", bias}}) {
    if (!v) continue;
    if (v->ndim() != 1 || v->shape(0) != x.shape(-1))
      throw invalid(kName, "got ", what, " of shape ", v->shape(), ", expected (", x.shape(-1),
                    ") for x of shape ", x.shape());
    dtype = promote_types(dtype, v->dtype());
    in.push_back(*v);
  }
  if (!issubdtype(dtype, floating)) throw invalid(kName, "got ", dtype, ", expected a real floating dtype");
  in[0] = astype(x, dtype, s);
  for (size_t i = 1; i < in.size(); ++i) in[i] = astype(in[i], norm_dtype(dtype), s);
  if (s.device != Device::cpu)
    return plain_group_norm(in, {groups, interleaved}, eps, weight.has_value(), bias.has_value(), s);
  return make<GroupNorm>(x.shape(), dtype, s, in, groups, interleaved, eps, weight.has_value(),
                         bias.has_value());
}

namespace {

bool is_grouped(const array& x, int groups) {
  return x.ndim() >= 2 && issubdtype(x.dtype(), floating) && groups >= 1 && x.shape(-1) % groups == 0;
}

const bool kept_group_norms =
    primitive_table().add<GroupNorm>(
        "GroupNorm", -1,
        [](const GroupNorm& p, const Arrays& in) {
          bool fit = in.size() == 1u + p.weighted + p.biased && is_grouped(in[0], p.groups);
          for (size_t i = 1; fit && i < in.size(); ++i) fit = is_norm_weight(in[i], in[0]);
          check_inputs(p, fit, in);
          return Arrays{make<GroupNorm>(in[0].shape(), in[0].dtype(), p.stream(), in, p.groups, p.interleaved,
                                        p.eps, p.weighted, p.biased)};
        }) &&
    primitive_table().add<GroupNormVjp>("GroupNormVjp", -1, [](const GroupNormVjp& p, const Arrays& in) {
      check_inputs(p,
                   in.size() == 2u + p.weighted && is_grouped(in[0], p.groups) && alike(in.back(), in[0]) &&
                       (!p.weighted || is_norm_weight(in[1], in[0])),
                   in);
      return group_norm_gradients(in, p);
    });

}  // namespace

}  // namespace mlx::core::fast
