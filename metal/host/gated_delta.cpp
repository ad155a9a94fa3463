#include "mlx/ops/gated_delta.h"

#include <algorithm>

#include "metal/host/elementwise.h"

namespace mlx::core::metal {
namespace {

// As struct Delta, struct Gradient and constants of metal/kernels/gated_delta.metal.
struct Delta {
  uint32_t steps, key_heads, heads, dk, dv;
};
struct Gradient {
  Delta sizes;
  uint32_t chunk, kept, unused;
  uint64_t cells;
};
constexpr uint32_t kRows = 4, kMostKeys = 256, kMostSimds = 8;

// The operands of both kernels, how they are cut into threadgroups, and constants.
struct Rule {
  Arrays in;
  bool masked;
  uint32_t batch;
  Delta sizes;
  uint32_t simds, groups;  // SIMD-groups of a threadgroup, threadgroups of a head

  Rule(const Arrays& inputs, bool masked, const Stream& s) : masked(masked) {
    for (const array& x : inputs) in.push_back(row_contiguous(x, s));
    const auto size = [&](size_t i, int axis) { return static_cast<uint32_t>(in[i].shape(axis)); };
    batch = size(2, 0);
    sizes = {size(2, 1), size(0, 2), size(2, 2), size(0, 3), size(2, 3)};
    const uint32_t blocks = ceil_div(sizes.dv, kRows);
    groups = ceil_div(blocks, kMostSimds);
    simds = ceil_div(blocks, groups);
  }
  std::shared_ptr<Pipeline> pipeline(const char* kernel) const {
    return typed_pipeline(
        "gated_delta", in[2].dtype(), kernel,
        {{0, in[3].ndim() == 4}, {1, masked}, {2, static_cast<int32_t>(ceil_div(sizes.dk, 32))}});
  }
  void bind(Dispatch& d) const {
    for (size_t i = 0; i < 6; ++i) d.in(in[i]);
    masked ? d.in(in[6]) : d.skip();
  }
  void run(Dispatch& d) const { d.groups({groups, batch * sizes.heads, 1}, {32 * simds, 1, 1}); }
};

void update(const fast::GatedDeltaUpdate& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  for (array& out : outputs) allocate(out);
  if (outputs[1].size() == 0) return fill(array(0, outputs[0].dtype()), outputs[0], s);
  const Rule rule(inputs, inputs.size() > 6, s);
  Dispatch dispatch(s, rule.pipeline("gated_delta"));
  rule.bind(dispatch);
  dispatch.out(outputs[0]).out(outputs[1]).value(rule.sizes);
  rule.run(dispatch);
}

void gradient(const fast::GatedDeltaUpdateGradient& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  for (array& out : outputs) allocate(out);
  if (outputs[5].size() == 0) {
    for (const array& out : outputs)
      if (out.size() > 0) fill(array(0.0f), out, s);
    return;
  }
  const Rule rule(inputs, inputs.size() > 8, s);
  const array &dy = rule.in[inputs.size() - 2], &dstate = rule.in.back();
  if (rule.sizes.steps == 0) return copy_to(dstate, outputs[5], s);

  Gradient g{rule.sizes, 1, 0, 0, uint64_t{rule.batch} * rule.sizes.steps * rule.sizes.heads};
  while (uint64_t{g.chunk} * g.chunk < rule.sizes.steps) ++g.chunk;
  g.kept = ceil_div(rule.sizes.steps, g.chunk);
  // Elements may be more than an axis counts: the states of a SIMD-group are a row.
  const auto blocks = uint64_t{rule.batch} * rule.sizes.heads * rule.groups * rule.simds;
  array saved({static_cast<ShapeElem>(blocks),
               static_cast<ShapeElem>((g.chunk + g.kept - 2) * kRows * rule.sizes.dk)},
              float32, nullptr, {});
  allocate(saved);
  // Where threadgroups share a head, each adds up its rows.
  Arrays sums;
  for (const size_t i : {0, 1, 3, 4}) {
    if (rule.groups == 1) {
      sums.push_back(outputs[i]);
      continue;
    }
    Shape shape = outputs[i].shape();
    shape.insert(shape.begin(), static_cast<ShapeElem>(rule.groups));
    sums.emplace_back(shape, float32, nullptr, Arrays{});
    allocate(sums.back());
  }
  {
    Dispatch d(s, rule.pipeline("gated_delta_gradient"));
    rule.bind(d);
    d.in(dy).in(dstate).out(saved).out(sums[0]).out(sums[1]).out(outputs[2]).out(sums[2]).out(sums[3]);
    d.out(outputs[5]).value(g);
    d.threadgroup_memory(size_t{rule.simds} * (3 * rule.sizes.dk + 1) * sizeof(float));
    rule.run(d);
  }
  if (rule.groups == 1) return;
  size_t next = 0;
  for (const size_t i : {0, 1, 3, 4}) sum_along_first(sums[next++], outputs[i], s);
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && inputs[0].shape(-1) <= static_cast<int>(kMostKeys) &&
         inputs[5].dtype() == float32;
}

const bool registered = add_kernel<fast::GatedDeltaUpdate>(update, supports) &&
                        add_kernel<fast::GatedDeltaUpdateGradient>(gradient, supports);

}  // namespace
}  // namespace mlx::core::metal
