// The primitive of linalg.cross, as its kernel sees it: vectors of three elements along the last axis,
// float32 or float64, of two arrays of one shape.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core::linalg {

class Cross final : public Primitive {
 public:
  using Primitive::Primitive;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "cross"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core::linalg
