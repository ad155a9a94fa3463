// The primitives of a long short-term memory over all steps of a sequence.
#pragma once

#include <tuple>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core::fast {

// Inputs, of float32: the state's weight (4 H, H), the hidden and the cell state before the first step (B,
// H), and what the gates i, f, g, o get from the sequence (T, B, 4 H). Outputs, for every step: hidden states
// and cell states (T, B, H), gates before their functions (T, B, 4 H).
class LstmSteps final : public Primitive {
 public:
  explicit LstmSteps(Stream s) : Primitive(s) {}
  const char* name() const override { return "LstmSteps"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: the weight, the cell state before the first step, cell states, gates, and the cotangents of the
// three outputs of the forward pass. Outputs: gradients of what the gates got from the sequence and of the
// states before the first step.
class LstmStepsGradient final : public Primitive {
 public:
  explicit LstmStepsGradient(Stream s) : Primitive(s) {}
  const char* name() const override { return "LstmStepsGradient"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core::fast
