// The primitives of softmax, as their kernels see them: over the last axis, real floating types.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

class Softmax final : public Primitive {
 public:
  Softmax(Stream s, bool precise) : Primitive(s), precise(precise) {}
  const bool precise;  // the kernels always accumulate in float; kept for equivalence and export

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "softmax"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(precise); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// y * (v - sum(y * v)) for inputs y and v: the Jacobian of softmax, which is symmetric, times v.
class SoftmaxJacobian final : public Primitive {
 public:
  explicit SoftmaxJacobian(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "softmax_jacobian"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core
