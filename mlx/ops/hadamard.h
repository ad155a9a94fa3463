// The primitive of hadamard_transform, as its kernels see it: over the last axis, real floating types.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

class Hadamard final : public Primitive {
 public:
  Hadamard(Stream s, double scale, bool inverse) : Primitive(s), scale(scale), inverse(inverse) {}
  const double scale;
  const bool inverse;  // with the transposed matrix

  // The m of a size m * 2^k with m = 1, 12, 20 or 28; 0 where there is none.
  static int m(int64_t n);
  // Element (i, j) of the matrix of order m, 1 or -1.
  static int8_t sign(int m, int i, int j);

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "hadamard_transform"; }
  auto fields() const { return std::tie(scale, inverse); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core
