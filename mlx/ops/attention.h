// The primitives of attention.
#pragma once

#include <vector>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core {

// Inputs of the forward pass are q, k, v, then the mask (broadcast to (B, N, Tq, Tk), boolean or of q's type)
// and the sinks (float32, (N)) where there are such.
struct AttentionParameters {
  double scale = 1;
  bool causal = false, mask = false, sinks = false;
  bool operator==(const AttentionParameters&) const = default;
  size_t inputs() const { return 3u + mask + sinks; }
};
inline auto fields_of(const AttentionParameters& p) { return std::tie(p.scale, p.causal, p.mask, p.sinks); }

// Outputs: the result, and per row of scores two numbers that the backward pass recomputes probabilities from
// (their maximum in units of log2 and the reciprocal of the sum). The second is nobody's business but the
// backward pass's.
class ScaledDotProductAttention final : public Primitive {
 public:
  ScaledDotProductAttention(Stream s, AttentionParameters p) : Primitive(s), p(p) {}
  const AttentionParameters p;
  const char* name() const override { return "ScaledDotProductAttention"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(p); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: those of the forward pass, then its two outputs and the cotangent of the first. Outputs: gradients
// of q, k, v.
class ScaledDotProductAttentionGradient final : public Primitive {
 public:
  ScaledDotProductAttentionGradient(Stream s, AttentionParameters p) : Primitive(s), p(p) {}
  const AttentionParameters p;
  const char* name() const override { return "ScaledDotProductAttentionGradient"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(p); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override {
    return {inputs[0].shape(), inputs[1].shape(), inputs[2].shape()};
  }
};

}  // namespace mlx::core
