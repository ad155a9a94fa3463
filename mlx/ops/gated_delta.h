// The primitives of linear attention by the gated delta rule.
#pragma once

#include <tuple>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core::fast {

// Inputs: q, k (B, T, Hk, Dk), v (B, T, Hv, Dv) of one floating dtype; and in float32 (float64 for float64)
// the gates (B, T, Hv) or (B, T, Hv, Dk), beta (B, T, Hv) and the state (B, Hv, Dv, Dk); then maybe a mask
// (B, T) of bool. Outputs: the result, with shape and dtype of v, and the state behind the last step.
class GatedDeltaUpdate final : public Primitive {
 public:
  explicit GatedDeltaUpdate(Stream s) : Primitive(s) {}
  const char* name() const override { return "GatedDeltaUpdate"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override {
    return {inputs[2].shape(), inputs[5].shape()};
  }
};

// Inputs: those of the forward pass, then the cotangents of its outputs, the first in the dtype of the
// second. Outputs, in that dtype: gradients of q and k for each head of v, (B, T, Hv, Dk), and of v, gates,
// beta, state.
class GatedDeltaUpdateGradient final : public Primitive {
 public:
  explicit GatedDeltaUpdateGradient(Stream s) : Primitive(s) {}
  const char* name() const override { return "GatedDeltaUpdateGradient"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core::fast
