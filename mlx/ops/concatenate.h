#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

class Concatenate final : public Primitive {
 public:
  Concatenate(Stream s, int axis) : Primitive(s), axis(axis) {}
  const int axis;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "concatenate"; }
  auto fields() const { return std::tie(axis); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: the array and the 0-d value around it.
class Pad final : public Primitive {
 public:
  Pad(Stream s, Shape low, Shape high) : Primitive(s), low(std::move(low)), high(std::move(high)) {}
  const Shape low, high;  // of every axis
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "pad"; }
  auto fields() const { return std::tie(low, high); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core
