// The primitives of matrix factorizations, as their kernels see them: of matrices in float32, float64 or
// complex64 along the last two axes. Derivatives of complex matrices: cotangents are those of the real
// product Re <x, y>, so that where a real matrix is transposed a complex one is conjugated as well.
#pragma once

#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core::linalg {

// An array of matrices in float32, float64 or complex64.
void check_matrices(const char* op, const array& a);
void check_square(const char* op, const array& a);
// Matrices (..., n, n) and right-hand sides (..., n, k) of one dtype, with the leading axes of both.
// `vector`: the right-hand side was one vector for all.
struct System {
  array a, b;
  bool vector;
};
System system_of(const char* op, const array& a, const array& b, StreamOrDevice s);

inline array flipped(const array& a, StreamOrDevice s) { return matrix_transpose(a, s); }
inline array adjoint(const array& a, StreamOrDevice s) {
  return flipped(a.dtype() == complex64 ? conjugate(a, s) : a, s);
}
inline Dtype type_of_values(const array& a) { return a.dtype() == complex64 ? float32 : a.dtype(); }
// The Hermitian matrix of which the lower triangle is given.
array hermitian_of(const array& lower, StreamOrDevice s);
// Of every matrix: columns, rows [begin, end).
array columns_of(const array& a, int begin, int end, StreamOrDevice s);
array rows_of(const array& a, int begin, int end, StreamOrDevice s);

// (m, n) -> Q (m, k), R (k, n) with k = min(m, n); R's diagonal is real.
class QR final : public Primitive {
 public:
  explicit QR(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "qr"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Eigenvalues (n), ascending, and where wanted the vectors as columns (n, n) of symmetric matrices (n, n);
// or, in complex64, of Hermitian ones.
class Eigh final : public Primitive {
 public:
  Eigh(Stream s, bool vectors) : Primitive(s), vectors(vectors) {}
  const bool vectors;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return vectors ? "eigh" : "eigvalsh"; }
  auto fields() const { return std::tie(vectors); }
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
  auto fields() const { return std::tie(upper); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[1].shape()}; }
};

// L with L L^H = A, of which the lower triangle is looked at; or U with U^H U = A, of the upper one.
class Cholesky final : public Primitive {
 public:
  Cholesky(Stream s, bool upper) : Primitive(s), upper(upper) {}
  const bool upper;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "cholesky"; }
  auto fields() const { return std::tie(upper); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// (m, n) -> L below the diagonal and U above in one matrix; which row each of the first k = min(m, n) was
// exchanged with, in order; and the rows p with A = (L U)[p] that follow from that (m).
class LU final : public Primitive {
 public:
  explicit LU(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "lu"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// x with A x = b for A (n, n) and b (n, k) with the same leading axes.
class Solve final : public Primitive {
 public:
  explicit Solve(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "solve"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[1].shape()}; }
};

// The inverse of matrices (n, n).
class Inverse final : public Primitive {
 public:
  explicit Inverse(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "inv"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// U (m, m), the singular values (k), descending, and V^T (n, n) of matrices (m, n), k = min(m, n); or the
// values alone. In complex64 V^H.
class SVD final : public Primitive {
 public:
  SVD(Stream s, bool vectors) : Primitive(s), vectors(vectors) {}
  const bool vectors;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "svd"; }
  auto fields() const { return std::tie(vectors); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// The pseudoinverse (n, m) of matrices (m, n).
class PseudoInverse final : public Primitive {
 public:
  explicit PseudoInverse(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "pinv"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Eigenvalues (n) and where wanted right eigenvectors as columns (n, n), in complex64.
class Eig final : public Primitive {
 public:
  Eig(Stream s, bool vectors) : Primitive(s), vectors(vectors) {}
  const bool vectors;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return vectors ? "eig" : "eigvals"; }
  auto fields() const { return std::tie(vectors); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core::linalg
