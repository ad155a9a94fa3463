#include "mlx/ops/gated_delta.h"

#include <algorithm>

#include "metal/host/elementwise.h"

namespace mlx::core::metal {
namespace {

// As struct Delta and constants of metal/kernels/gated_delta.metal.
struct Parameters {
  uint32_t steps, key_heads, heads, dk, dv;
};
constexpr uint32_t kRows = 4, kMostKeys = 256;

void update(const fast::GatedDeltaUpdate& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  for (array& out : outputs) allocate(out);
  Arrays in;
  for (const array& x : inputs) in.push_back(row_contiguous(x, s));
  const auto size = [&](const array& a, int axis) { return static_cast<uint32_t>(a.shape(axis)); };
  const array &q = in[0], &v = in[2], &gate = in[3];
  const Parameters d{size(v, 1), size(q, 2), size(v, 2), size(q, 3), size(v, 3)};
  if (outputs[1].size() == 0) return fill(array(0, outputs[0].dtype()), outputs[0], s);
  const bool masked = in.size() > 6;
  Dispatch dispatch(
      s, typed_pipeline("gated_delta", v.dtype(), "gated_delta",
                        {{0, gate.ndim() == 4}, {1, masked}, {2, static_cast<int32_t>(ceil_div(d.dk, 32))}}));
  for (size_t i = 0; i < 6; ++i) dispatch.in(in[i]);
  masked ? dispatch.in(in[6]) : dispatch.skip();
  dispatch.out(outputs[0]).out(outputs[1]).value(d);
  const uint32_t groups = ceil_div(d.dv, kRows), simds = std::min<uint32_t>(groups, 8);
  dispatch.groups({ceil_div(groups, simds), size(v, 0) * d.heads, 1}, {32 * simds, 1, 1});
}
bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].shape(-1) <= static_cast<int>(kMostKeys) &&
         inputs[5].dtype() == float32;
}

const bool registered = add_kernel<fast::GatedDeltaUpdate>(update, supports);

}  // namespace
}  // namespace mlx::core::metal
