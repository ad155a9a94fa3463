#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

// Input: keys of shape (..., 2), uint32. Output: keys' leading shape + shape, of `width` bytes per element.
class RandomBits final : public Primitive {
 public:
  RandomBits(Stream s, Shape shape, int width) : Primitive(s), shape(std::move(shape)), width(width) {}
  const Shape shape;
  const int width;

  Arrays vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) override {
    return {zeros_of(primals[0])};
  }
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "random_bits"; }
  auto fields() const { return std::tie(shape, width); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core
