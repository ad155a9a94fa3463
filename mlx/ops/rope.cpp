// fast::rope. Position t turns pair p of the leading `dims` features by scale * (offset + t) * rate[p], with
// rate[p] = base^(-2p / dims) or 1 / freqs[p] (RoFormer, arXiv:2104.09864).
#include "mlx/fast.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/norms.h"

namespace mlx::core::fast {
namespace {

array rotated(const Arrays& in, const RoPE& p, bool inverse) {
  return make<RoPE>(in[0].shape(), in[0].dtype(), p.stream(), in, p.dims, p.traditional, p.base, p.scale,
                    inverse);
}

}  // namespace

// A rotation: its transpose turns back.
Arrays RoPE::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  for (int i : argnums) {
    if (i == 2) throw std::invalid_argument("[rope] the gradient with respect to freqs is not available");
    Arrays in = primals;
    in[0] = cotangents[0];
    out.push_back(i == 0 ? rotated(in, *this, !inverse) : zeros_of(primals[i]));
  }
  return out;
}
Arrays RoPE::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  array out = zeros_of(primals[0]);
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 2)
      throw std::invalid_argument("[rope] the derivative with respect to freqs is not available");
    if (argnums[i] != 0) continue;
    Arrays in = primals;
    in[0] = tangents[i];
    out = rotated(in, *this, inverse);
  }
  return {out};
}
Batched RoPE::vmap(const Arrays& inputs, const Axes& at) {
  if (at.size() > 2 && at[2] >= 0) throw std::invalid_argument("[rope] vmap over freqs is not available");
  const int size = batch_size(inputs, at);
  // The batch axis of the call joins the first axis of x, which has offsets of its own if anything has.
  const array x = batch_to_front(inputs[0], at[0], size);
  Shape flat(x.shape().begin() + 1, x.shape().end());
  const int inner = flat[0];
  flat[0] = safe_cast(static_cast<int64_t>(size) * inner, "rope");
  Arrays in = inputs;
  in[0] = reshape(x, flat, stream());
  array offset = inputs[1];
  if (at[1] >= 0 || offset.size() > 1) {
    offset = batch_to_front(offset, at[1], size);
    offset = reshape(broadcast_to(reshape(offset, {size, -1}, stream()), {size, inner}, stream()), {flat[0]},
                     stream());
  }
  in[1] = offset;
  return {{reshape(rotated(in, *this, inverse), x.shape(), stream())}, {0}};
}

array rope(const array& x, int dims, bool traditional, std::optional<float> base, float scale,
           const array& offset, const std::optional<array>& freqs, StreamOrDevice s) {
  if (x.ndim() < 3)
    throw invalid("rope", "expected an array (batch, ..., length, features) with 3 dimensions or more, got ",
                  x.ndim());
  if (!issubdtype(x.dtype(), floating))
    throw invalid("rope", "got ", x.dtype(), ", expected a real floating dtype");
  if (dims <= 0 || dims % 2 != 0)
    throw invalid("rope", "got dims = ", dims, ", expected a positive multiple of 2");
  if (dims > x.shape(-1))
    throw invalid("rope", "got dims = ", dims, ", expected at most the ", x.shape(-1), " features of x");
  if (base.has_value() == freqs.has_value())
    throw invalid("rope", "got ", base ? "both base and freqs" : "neither base nor freqs",
                  ", expected one of them");
  if (freqs && (freqs->ndim() != 1 || freqs->shape(0) != dims / 2))
    throw invalid("rope", "got freqs of shape ", freqs->shape(), ", expected (", dims / 2, ")");
  if (!issubdtype(offset.dtype(), integer))
    throw invalid("rope", "got an offset of ", offset.dtype(), ", expected integers");
  if (offset.ndim() > 1 || (offset.size() != 1 && static_cast<int>(offset.size()) != x.shape(0)))
    throw invalid("rope", "got an offset of shape ", offset.shape(), ", expected a scalar or (", x.shape(0),
                  ")");
  Arrays in{x, astype(offset, int64, s)};
  if (freqs) in.push_back(astype(*freqs, x.dtype() == float64 ? float64 : float32, s));
  return make<RoPE>(x.shape(), x.dtype(), s, in, dims, traditional, base.value_or(0), scale, false);
}
array rope(const array& x, int dims, bool traditional, std::optional<float> base, float scale, int offset,
           const std::optional<array>& freqs, StreamOrDevice s) {
  return rope(x, dims, traditional, base, scale, array(static_cast<int64_t>(offset), int64), freqs, s);
}

namespace {
const bool kept_rope = primitive_table().add<RoPE>("RoPE", -1, [](const RoPE& p, const Arrays& in) {
  check_inputs(p, in.size() == 2 || in.size() == 3, in);
  const bool given = in.size() == 3;
  const array turned = rope(in[0], p.dims, p.traditional, given ? std::nullopt : std::optional(p.base),
                            p.scale, in[1], given ? std::optional(in[2]) : std::nullopt, p.stream());
  return Arrays{rotated(turned.inputs(), p, p.inverse)};
});
}  // namespace

}  // namespace mlx::core::fast
