// The primitives of matrix factorizations, as their kernels see them: of matrices in float32 or float64 along
// the last two axes.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core::linalg {

// An array of matrices in float32 or float64.
void check_matrices(const char* op, const array& a);
void check_square(const char* op, const array& a);

// (m, n) -> Q (m, k), R (k, n) with k = min(m, n).
class QR final : public Primitive {
 public:
  explicit QR(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "qr"; }
  bool is_equivalent(const Primitive& other) const override { return same_kind(*this, other); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Eigenvalues (n), ascending, and where wanted the vectors as columns (n, n) of symmetric matrices (n, n).
class Eigh final : public Primitive {
 public:
  Eigh(Stream s, bool vectors) : Primitive(s), vectors(vectors) {}
  const bool vectors;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return vectors ? "eigh" : "eigvalsh"; }
  bool is_equivalent(const Primitive& other) const override;
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// x with A x = b for inputs A (n, n), of which one triangle is looked at, and b (n, k); same leading axes.
class TriangularSolve final : public Primitive {
 public:
  TriangularSolve(Stream s, bool upper) : Primitive(s), upper(upper) {}
  const bool upper;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "solve_triangular"; }
  bool is_equivalent(const Primitive& other) const override;
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[1].shape()}; }
};

}  // namespace mlx::core::linalg
