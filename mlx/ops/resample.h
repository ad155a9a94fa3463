// The primitive of fast::resample: every element of the result is a sum of a few neighbouring elements along
// one axis, with weights that follow from the sizes.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/ops/rules.h"

namespace mlx::core {

enum class Interpolation { linear, cubic };
constexpr Interpolation last_of(Interpolation) { return Interpolation::cubic; }

// Element i of the result: the sum over k < taps of weights[i * taps + k] x[first[i] + k].
struct Band {
  int taps = 0;
  std::vector<int32_t> first;
  std::vector<double> weights;
};

class Resample final : public Primitive {
 public:
  Resample(Stream s, int axis, int size, int count, double scale, Interpolation kind, bool align_corners,
           bool antialias, bool transposed)
      : Primitive(s),
        axis(axis),
        size(size),
        count(count),
        scale(scale),
        kind(kind),
        align_corners(align_corners),
        antialias(antialias),
        transposed(transposed) {}
  const int axis, size, count;  // from `size` elements to `count`; transposed, from `count` to `size`
  const double scale;
  const Interpolation kind;
  const bool align_corners, antialias, transposed;

  int from() const { return transposed ? count : size; }
  int to() const { return transposed ? size : count; }
  Band band() const;

  Arrays vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Arrays jvp(const Arrays&, const Arrays& tangents, const Axes&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "resample"; }
  auto fields() const {
    return std::tie(axis, size, count, scale, kind, align_corners, antialias, transposed);
  }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;

 private:
  array on(const array& x, int along, bool turned) const;
};

}  // namespace mlx::core
