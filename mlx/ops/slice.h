// Parts of arrays, and arrays with a part replaced.
#pragma once

#include <stdexcept>
#include <string>

#include "mlx/ops/view.h"

namespace mlx::core {

// A box inside an array: where it starts and how far its elements are apart (both in elements of each axis),
// and its shape.
struct Window {
  Shape start, strides, shape;
};
// NumPy's rules for `start:stop:stride` on every axis: negative positions count from the end, and both are
// clamped; with a negative stride a stop of -size - 1 lies before the first element.
Window window_of(std::string_view op, const Shape& in, const Shape& start, const Shape& stop,
                 const Shape& strides);

// Where a box starts whose start on `axes` is in a vector of integers, which has been evaluated. Throws
// std::out_of_range where the box does not end inside the array.
Shape start_of_box(std::string_view op, const array& start, const Axes& axes, const Shape& shape,
                   const Shape& box);
// What it throws for this start on one axis.
std::out_of_range no_start(std::string_view op, const std::string& given, size_t axis, const Shape& shape,
                           const Shape& box);

class Slice final : public LinearView {
 public:
  Slice(Stream s, Shape start, Shape stop, Shape strides)
      : LinearView(s), start(std::move(start)), stop(std::move(stop)), strides(std::move(strides)) {}
  const Shape start, stop, strides;  // as given
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "slice"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(start, stop, strides); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override {
    return {window_of("slice", inputs[0].shape(), start, stop, strides).shape};
  }
};

// Views of consecutive pieces of one axis; piece i ends before ends[i], the last one at the axis's end.
class Split final : public Primitive {
 public:
  Split(Stream s, int axis, Shape ends) : Primitive(s), axis(axis), ends(std::move(ends)) {}
  const int axis;
  const Shape ends;
  void views(const array& in, Arrays& outputs) const;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Arrays jvp(const Arrays&, const Arrays& tangents, const Axes&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "split"; }
  auto fields() const { return std::tie(axis, ends); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: the array and the box's start on `axes`, a vector of integers.
class DynamicSlice final : public Primitive {
 public:
  DynamicSlice(Stream s, Axes axes, Shape sizes)
      : Primitive(s), axes(std::move(axes)), sizes(std::move(sizes)) {}
  const Axes axes;
  const Shape sizes;  // of every axis
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "slice"; }
  auto fields() const { return std::tie(axes, sizes); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {sizes}; }
};

// Inputs: the array and what the box becomes, of the box's shape.
class SliceUpdate final : public Primitive {
 public:
  SliceUpdate(Stream s, Shape start, Shape stop, Shape strides)
      : Primitive(s), start(std::move(start)), stop(std::move(stop)), strides(std::move(strides)) {}
  const Shape start, stop, strides;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "slice_update"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(start, stop, strides); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Likewise; the third input is the box's start on `axes`.
class DynamicSliceUpdate final : public Primitive {
 public:
  DynamicSliceUpdate(Stream s, Axes axes) : Primitive(s), axes(std::move(axes)) {}
  const Axes axes;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "slice_update"; }
  auto fields() const { return std::tie(axes); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

}  // namespace mlx::core
