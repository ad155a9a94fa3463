// Arrays from numbers alone.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

class Generator : public Primitive {
 public:
  Generator(Stream s, Shape shape, Dtype dtype) : Primitive(s), shape(std::move(shape)), dtype(dtype) {}
  const Shape shape;
  const Dtype dtype;
  std::vector<Shape> output_shapes(const Arrays&) override { return {shape}; }
};

// start + i * step. Floats are computed in double and rounded once; for integers the first two elements are
// truncated and their difference is the step.
class Arange final : public Generator {
 public:
  Arange(Stream s, Shape shape, Dtype dtype, double start, double step)
      : Generator(s, std::move(shape), dtype), start(start), step(step) {}
  const double start, step;
  const char* name() const override { return "arange"; }
  bool is_equivalent(const Primitive& other) const override;
};

// start + i * (stop - start) / intervals, computed in double; element `intervals`, if there is one, is stop.
class Linspace final : public Generator {
 public:
  Linspace(Stream s, Shape shape, Dtype dtype, double start, double stop, int intervals)
      : Generator(s, std::move(shape), dtype), start(start), stop(stop), intervals(intervals) {}
  const double start, stop;
  const int intervals;
  const char* name() const override { return "linspace"; }
  bool is_equivalent(const Primitive& other) const override;
};

// Ones on diagonal k, zeros elsewhere.
class Eye final : public Generator {
 public:
  Eye(Stream s, Shape shape, Dtype dtype, int k) : Generator(s, std::move(shape), dtype), k(k) {}
  const int k;
  const char* name() const override { return "eye"; }
  bool is_equivalent(const Primitive& other) const override;
};

}  // namespace mlx::core
