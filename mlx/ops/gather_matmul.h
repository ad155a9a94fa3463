// Products of matrices that indices choose.
#pragma once

#include "mlx/ops/quantized.h"

namespace mlx::core {

// out[i] = a[lhs[i]] b[rhs[i]]: a (Na, M, K), b (Nb, K, N), lhs and rhs of one shape, that of the batch.
class GatherMM final : public Primitive {
 public:
  explicit GatherMM(Stream s) : Primitive(s) {}
  const char* name() const override { return "GatherMM"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// The same with quantized matrices: x (Nx, M, K), then w, scales and, if affine, biases (Nw, ...), lhs, rhs.
class GatherQMM final : public Quantized {
 public:
  GatherQMM(Stream s, QuantizedLayout layout, bool transpose) : Quantized(s, layout), transpose(transpose) {}
  const bool transpose;
  const char* name() const override { return "GatherQMM"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(layout, transpose); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// out[i] = a[:, s:e] b[s:e, :] for every row (s, e) of the segments.
class SegmentedMM final : public Primitive {
 public:
  explicit SegmentedMM(Stream s) : Primitive(s) {}
  const char* name() const override { return "SegmentedMM"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Its gradients: out[:, p] = sum of x[i] b[p, :]^T over the segments i that p is in, for x (..., M, N),
// b (K, N) and segments (..., 2); out is (M, K).
class SegmentedSum final : public Primitive {
 public:
  explicit SegmentedSum(Stream s) : Primitive(s) {}
  const char* name() const override { return "SegmentedSum"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core
