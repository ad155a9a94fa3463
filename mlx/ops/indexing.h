// Reading and writing at positions given by integer arrays. Positions count from the end where negative; one
// that is out of range is an IndexError when the result is evaluated. Where several updates meet at one
// place they are applied in their order, whatever the number of threads.
#pragma once

#include <algorithm>

#include "mlx/ops/rules.h"

namespace mlx::core {

// A box of size 1 fits an axis without elements where no index says where it lies.
inline bool selects_nothing(const Arrays& indices) {
  return std::any_of(indices.begin(), indices.end(), [](const array& i) { return i.size() == 0; });
}

enum class ScatterReduce { none, sum, prod, max, min };
constexpr ScatterReduce last_of(ScatterReduce) { return ScatterReduce::min; }

// Inputs: array, indices. Output shape: that of the indices in the place of the axis.
class Take final : public Primitive {
 public:
  Take(Stream s, int axis) : Primitive(s), axis(axis) {}
  const int axis;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "take"; }
  auto fields() const { return std::tie(axis); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: array, one index array for each of `axes`, all of one shape I. Output: a box of the array for each
// index tuple, shape I + sizes.
class Gather final : public Primitive {
 public:
  Gather(Stream s, Axes axes, Shape sizes) : Primitive(s), axes(std::move(axes)), sizes(std::move(sizes)) {}
  const Axes axes;
  const Shape sizes;  // of every axis
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "gather"; }
  auto fields() const { return std::tie(axes, sizes); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: array, index arrays, updates of shape I + box.
class Scatter final : public Primitive {
 public:
  Scatter(Stream s, Axes axes, ScatterReduce reduce) : Primitive(s), axes(std::move(axes)), reduce(reduce) {}
  const Axes axes;
  const ScatterReduce reduce;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override;
  auto fields() const { return std::tie(axes, reduce); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// out[..., j, ...] = a[..., indices[..., j, ...], ...] along one axis; the other sizes are equal.
class TakeAlongAxis final : public Primitive {
 public:
  TakeAlongAxis(Stream s, int axis) : Primitive(s), axis(axis) {}
  const int axis;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "take_along_axis"; }
  auto fields() const { return std::tie(axis); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[1].shape()}; }
};

// Inputs: array, indices, updates of the indices' shape.
class ScatterAlongAxis final : public Primitive {
 public:
  ScatterAlongAxis(Stream s, int axis, ScatterReduce reduce) : Primitive(s), axis(axis), reduce(reduce) {}
  const int axis;
  const ScatterReduce reduce;  // none or sum
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override {
    return reduce == ScatterReduce::sum ? "scatter_add_axis" : "put_along_axis";
  }
  auto fields() const { return std::tie(axis, reduce); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Inputs: array, mask (of the shape of its leading axes), source. The selected parts become the source's
// elements, in order.
class MaskedScatter final : public Primitive {
 public:
  explicit MaskedScatter(Stream s) : Primitive(s) {}
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "masked_scatter"; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Inputs: array and mask. The selected elements in order, then zeros: `size` elements.
class MaskedSelect final : public Primitive {
 public:
  MaskedSelect(Stream s, int size) : Primitive(s), size(size) {}
  const int size;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "masked_select"; }
  auto fields() const { return std::tie(size); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {{size}}; }
};

// Flat positions where `mask` is true, in order: int32, or int64 where the mask is too large for it.
// Evaluates the mask.
array nonzero_indices(const array& mask, StreamOrDevice s = {});

}  // namespace mlx::core
