// The primitives of convolution.
#pragma once

#include <vector>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core {

// One entry per spatial dimension.
struct ConvParameters {
  std::vector<int> stride, padding_lo, padding_hi, kernel_dilation, input_dilation;
  int groups = 1;
  bool flip = false;
  bool operator==(const ConvParameters&) const = default;
};
inline auto fields_of(const ConvParameters& p) {
  return std::tie(p.stride, p.padding_lo, p.padding_hi, p.kernel_dilation, p.input_dilation, p.groups,
                  p.flip);
}

// Inputs x (N, spatial..., C) and w (O, kernel..., C / groups); output (N, spatial..., O).
class Convolution final : public Primitive {
 public:
  Convolution(Stream s, ConvParameters p) : Primitive(s), p(std::move(p)) {}
  const ConvParameters p;
  const char* name() const override { return "Convolution"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(p); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs x and g, the cotangent of the convolution's output; output the gradient of w, of shape `weight`.
// Linear in both, like the convolution itself: the three are each other's adjoints.
class ConvolutionWeightGradient final : public Primitive {
 public:
  ConvolutionWeightGradient(Stream s, ConvParameters p, Shape weight)
      : Primitive(s), p(std::move(p)), weight(std::move(weight)) {}
  const ConvParameters p;
  const Shape weight;
  const char* name() const override { return "ConvolutionWeightGradient"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(p, weight); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {weight}; }
};

}  // namespace mlx::core
