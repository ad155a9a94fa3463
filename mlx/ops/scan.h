// The primitives of scans, as their kernels see them. Axes are not negative.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

enum class Accumulation { sum, prod, max, min, logaddexp };
constexpr Accumulation last_of(Accumulation) { return Accumulation::logaddexp; }

class Scan final : public Primitive {
 public:
  Scan(Stream s, Accumulation kind, int axis, bool reverse, bool inclusive)
      : Primitive(s), kind(kind), axis(axis), reverse(reverse), inclusive(inclusive) {}
  const Accumulation kind;
  const int axis;
  const bool reverse, inclusive;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override;
  auto fields() const { return std::tie(kind, axis, reverse, inclusive); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// h[i] = a[i] * h[i - 1] + b[i] along an axis, h[-1] = 0; from the end where reverse. What products'
// gradients are made of: no division, so zeros are no special case.
class LinearRecurrence final : public Primitive {
 public:
  LinearRecurrence(Stream s, int axis, bool reverse) : Primitive(s), axis(axis), reverse(reverse) {}
  const int axis;
  const bool reverse;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "linear_recurrence"; }
  auto fields() const { return std::tie(axis, reverse); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core
