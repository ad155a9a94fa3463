// The primitives of reductions, as their kernels see them. Axes are sorted and not negative.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

enum class Reduction { sum, mean, prod, max, min, any, all };
constexpr Reduction last_of(Reduction) { return Reduction::all; }

// One value for all elements along the axes; they stay as axes of size 1 where keepdims.
class Reduce final : public Primitive {
 public:
  Reduce(Stream s, Reduction kind, Axes axes, bool keepdims)
      : Primitive(s), kind(kind), axes(std::move(axes)), keepdims(keepdims) {}
  const Reduction kind;
  const Axes axes;
  const bool keepdims;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override;
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(kind, axes, keepdims); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Two outputs from one pass: the mean, and the mean squared deviation with divisor n - ddof.
class Variance final : public Primitive {
 public:
  Variance(Stream s, Axes axes, bool keepdims, int ddof)
      : Primitive(s), axes(std::move(axes)), keepdims(keepdims), ddof(ddof) {}
  const Axes axes;
  const bool keepdims;
  const int ddof;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "var"; }
  auto fields() const { return std::tie(axes, keepdims, ddof); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// uint32 indices along one axis.
class ArgReduce final : public Primitive {
 public:
  ArgReduce(Stream s, bool max, int axis, bool keepdims)
      : Primitive(s), max(max), axis(axis), keepdims(keepdims) {}
  const bool max;
  const int axis;
  const bool keepdims;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return max ? "argmax" : "argmin"; }
  auto fields() const { return std::tie(max, axis, keepdims); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Over the last axis, which is dropped or kept with size 1. Real floating types.
class LogSumExp final : public Primitive {
 public:
  LogSumExp(Stream s, bool keepdims) : Primitive(s), keepdims(keepdims) {}
  const bool keepdims;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "logsumexp"; }
  auto fields() const { return std::tie(keepdims); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// `shape` without `axes`, or with them as 1.
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims);
// A reduced array with its axes back, so that it broadcasts against what it was reduced from.
array with_axes(const array& reduced, const Axes& axes, bool keepdims, StreamOrDevice s);
// 1 / ties at the places that hold the extreme, 0 elsewhere: a gradient is shared among equals.
array share_of_extreme(const array& x, const array& extreme, const Axes& axes, StreamOrDevice s);
// The axes moved behind the others and made one: (..., n).
array axes_last(const array& a, const Axes& axes, StreamOrDevice s);
// And back, for an array with the shape that axes_last gave.
array axes_back(const array& last, const Shape& shape, const Axes& axes, StreamOrDevice s);

}  // namespace mlx::core
