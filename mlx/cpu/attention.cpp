// Attention of arrays: strides and broadcast masks become one call of the raw kernels.
#include "mlx/ops/attention.h"

#include "mlx/allocator.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/attention.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

AttentionOperand operand(const array& a) {
  const Strides& s = a.strides();
  return {a.data<void>(), s[0], s[1], s[2], s[3]};
}
// Written by the kernel: fresh, row-major.
AttentionOperand fresh(array& a) {
  a.set_data(allocator::malloc(a.nbytes()));
  return operand(a);
}

AttentionCall call_of(const AttentionParameters& p, const Arrays& in, const std::optional<array>& sinks) {
  AttentionCall c;
  c.dtype = in[0].dtype();
  c.batch = in[0].shape(0), c.heads = in[0].shape(1), c.lq = in[0].shape(2), c.d = in[0].shape(3);
  c.kv_heads = in[1].shape(1), c.lk = in[1].shape(2), c.dv = in[2].shape(3);
  c.q = operand(in[0]), c.k = operand(in[1]), c.v = operand(in[2]);
  c.scale = static_cast<float>(p.scale), c.causal = p.causal;
  if (p.mask) {
    c.mask_kind = in[3].dtype() == bool_ ? AttentionMask::boolean : AttentionMask::additive;
    c.mask = operand(in[3]);
  }
  if (sinks) c.sinks = sinks->data<float>();
  return c;
}

std::optional<array> sinks_of(const AttentionParameters& p, const Arrays& in) {
  return p.sinks ? std::optional(row_contiguous(in[p.inputs() - 1])) : std::nullopt;
}

void forward(const ScaledDotProductAttention& primitive, const Arrays& inputs, Arrays& outputs) {
  const std::optional<array> sinks = sinks_of(primitive.p, inputs);
  AttentionCall c = call_of(primitive.p, inputs, sinks);
  c.out = fresh(outputs[0]);
  outputs[1].set_data(allocator::malloc(outputs[1].nbytes()));
  c.stats = outputs[1].data<float>();
  attention(c);
}

void backward(const ScaledDotProductAttentionGradient& primitive, const Arrays& inputs, Arrays& outputs) {
  const size_t n = primitive.p.inputs();
  const std::optional<array> sinks = sinks_of(primitive.p, inputs);
  const array stats = row_contiguous(inputs[n + 1]);
  AttentionCall c = call_of(primitive.p, inputs, sinks);
  c.out = operand(inputs[n]);
  c.stats = const_cast<float*>(stats.data<float>());  // only read here
  AttentionGradients g;
  g.dout = operand(inputs[n + 2]);
  g.dq = fresh(outputs[0]), g.dk = fresh(outputs[1]), g.dv = fresh(outputs[2]);
  attention_backward(c, g);
}

const bool registered = kernels(Device::cpu).add<ScaledDotProductAttention>(forward) &&
                        kernels(Device::cpu).add<ScaledDotProductAttentionGradient>(backward);

}  // namespace
}  // namespace mlx::core::cpu
