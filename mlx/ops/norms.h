// The primitives behind mx.fast's norms, rotary positions and cross entropy, as their kernels see them.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core::fast {

// Layer norm (centre) or RMS norm over the last axis. Inputs: x, then weight and bias where there are some,
// in their own dtypes: the weights are converted to the type that the rows are computed in.
class Norm final : public Primitive {
 public:
  Norm(Stream s, bool centre, double eps, bool weighted, bool biased)
      : Primitive(s), centre(centre), eps(eps), weighted(weighted), biased(biased) {}
  const bool centre;
  const double eps;
  const bool weighted, biased;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return centre ? "layer_norm" : "rms_norm"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(centre, eps, weighted, biased); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Inputs: x, weight where weighted, the cotangent. Outputs: dx, dweight, dbias; the last two in float32
// (float64 for float64), the bias's always.
class NormVjp final : public Primitive {
 public:
  NormVjp(Stream s, bool centre, double eps, bool weighted)
      : Primitive(s), centre(centre), eps(eps), weighted(weighted) {}
  const bool centre;
  const double eps;
  const bool weighted;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return centre ? "layer_norm_vjp" : "rms_norm_vjp"; }
  auto fields() const { return std::tie(centre, eps, weighted); }
};

// Over groups of channels and all axes between the first and the last one. A group is channels in a row or,
// interleaved, every groups-th channel. Inputs as Norm.
class GroupNorm final : public Primitive {
 public:
  GroupNorm(Stream s, int groups, bool interleaved, double eps, bool weighted, bool biased)
      : Primitive(s),
        groups(groups),
        interleaved(interleaved),
        eps(eps),
        weighted(weighted),
        biased(biased) {}
  const int groups;
  const bool interleaved;
  const double eps;
  const bool weighted, biased;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "group_norm"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(groups, interleaved, eps, weighted, biased); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Inputs and outputs as NormVjp.
class GroupNormVjp final : public Primitive {
 public:
  GroupNormVjp(Stream s, int groups, bool interleaved, double eps, bool weighted)
      : Primitive(s), groups(groups), interleaved(interleaved), eps(eps), weighted(weighted) {}
  const int groups;
  const bool interleaved;
  const double eps;
  const bool weighted;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "group_norm_vjp"; }
  auto fields() const { return std::tie(groups, interleaved, eps, weighted); }
};

// What rows are computed in.
inline Dtype norm_dtype(Dtype dtype) { return dtype == float64 ? float64 : float32; }
// A vector of x's features in that dtype.
inline bool is_norm_weight(const array& w, const array& x) {
  return w.ndim() == 1 && w.shape(0) == x.shape(-1) && w.dtype() == norm_dtype(x.dtype());
}

// Inputs: x (batch, ..., length, features), offset (a scalar or one per batch element), frequencies where
// there are some. `inverse` turns back.
class RoPE final : public Primitive {
 public:
  RoPE(Stream s, int dims, bool traditional, float base, float scale, bool inverse)
      : Primitive(s), dims(dims), traditional(traditional), base(base), scale(scale), inverse(inverse) {}
  const int dims;
  const bool traditional;
  const float base, scale;
  const bool inverse;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "rope"; }
  auto fields() const { return std::tie(dims, traditional, base, scale, inverse); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Inputs: logits (..., n) and integer targets (...). Outputs in float32: the loss, and log sum exp of the
// logits, which the gradient uses.
class CrossEntropy final : public Primitive {
 public:
  explicit CrossEntropy(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "cross_entropy"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override {
    return {inputs[1].shape(), inputs[1].shape()};
  }
};

// Inputs: logits, targets, log sum exp, and what the softmax and the target's entry are to be multiplied by
// (...). Output: a * softmax(logits) - b at the target.
class CrossEntropyVjp final : public Primitive {
 public:
  explicit CrossEntropyVjp(Stream s) : Primitive(s) {}

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "cross_entropy_vjp"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core::fast
