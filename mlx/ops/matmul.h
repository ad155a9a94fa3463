// The primitives of matrix products: what kernels need to know of them.
#pragma once

#include <utility>
#include <vector>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core {

// a (..., M, K) times b (..., K, N); leading dimensions broadcast in the kernel.
class Matmul final : public Primitive {
 public:
  explicit Matmul(Stream s) : Primitive(s) {}
  const char* name() const override { return "Matmul"; }
  bool follows_sizes() const override { return true; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// alpha * a b + beta * c; inputs a, b, c, where c broadcasts to the product's shape.
class AddMM final : public Primitive {
 public:
  AddMM(Stream s, float alpha, float beta) : Primitive(s), alpha(alpha), beta(beta) {}
  const float alpha, beta;
  const char* name() const override { return "AddMM"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(alpha, beta); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// For the families that are built on products.
array transposed_matrix(const array& a,
                        StreamOrDevice s);  // the last two axes swapped, conjugated if complex

}  // namespace mlx::core
