// Operations whose result is another look at the same memory: they change shape, strides and offset and move
// no data. One method, view(), says what they do; backends call it, and so do the public functions where the
// operand has its data already: then there is nothing to put off and no node is built.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

// Makes `out` the view of in's buffer with these strides, its first element `offset` elements of out's dtype
// after in's first. Flags follow from the strides.
void share_view(array& out, const array& in, Strides strides, int64_t offset = 0);

class ViewPrimitive : public Primitive {
 public:
  using Primitive::Primitive;
  // Gives `out` in's data; false where only a copy in another order can have out's shape.
  virtual bool view(const array& in, array& out) const = 0;
};

// A view that is linear in its one operand.
class LinearView : public ViewPrimitive {
 public:
  using ViewPrimitive::ViewPrimitive;
  // The operation on another array of the operand's shape.
  virtual array apply(const array& x) const = 0;
  Arrays jvp(const Arrays&, const Arrays& tangents, const Axes&) override { return {apply(tangents[0])}; }
};

// One node, or the finished view where the operand is finished and nobody traces it.
template <class P, class... Args>
array make_view(Shape shape, Dtype dtype, const StreamOrDevice& s, const array& a, Args&&... args) {
  if (a.is_available() && !a.is_tracer()) {
    const P primitive(Stream(0, Device::cpu), args...);
    array out(shape, dtype, nullptr, {});
    if (primitive.view(a, out)) {
      out.set_status(array::Status::available);
      return out;
    }
  }
  return make<P>(std::move(shape), dtype, s, {a}, std::forward<Args>(args)...);
}

// The same array as another node: transforms mark such a node as the variable.
class Copy final : public LinearView {
 public:
  using LinearView::LinearView;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "copy"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// of_custom_function: not asked for by anybody, but how a function with rules of its own hides its inside.
class StopGradient final : public ViewPrimitive {
 public:
  explicit StopGradient(Stream s, bool of_custom_function = false)
      : ViewPrimitive(s), of_custom_function(of_custom_function) {}
  const bool of_custom_function;
  bool stops_gradient() const override { return true; }
  bool view(const array& in, array& out) const override;
  Arrays vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays&, const Axes&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "stop_gradient"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(of_custom_function); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

class Contiguous final : public LinearView {
 public:
  Contiguous(Stream s, bool allow_col_major) : LinearView(s), allow_col_major(allow_col_major) {}
  const bool allow_col_major;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "contiguous"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(allow_col_major); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Row-major order with other sizes. `requested` may have a -1: what it stands for follows from the operand.
class Reshape final : public LinearView {
 public:
  Reshape(Stream s, Shape requested) : LinearView(s), requested(std::move(requested)) {}
  const Shape requested;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "reshape"; }
  auto fields() const { return std::tie(requested); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Reshapes that name axes instead of sizes, so that they stay true when a compiled function sees another
// shape: flatten, unflatten, squeeze and expand_dims.
class Reaxis final : public LinearView {
 public:
  enum class Kind { flatten, unflatten, squeeze, expand_dims };
  friend constexpr Kind last_of(Kind) { return Kind::expand_dims; }
  // flatten: axes {first, last}; unflatten: axis {a} into `sizes`; squeeze and expand_dims: sorted axes.
  Reaxis(Stream s, Kind kind, Axes axes, Shape sizes = {})
      : LinearView(s), kind(kind), axes(std::move(axes)), sizes(std::move(sizes)) {}
  const Kind kind;
  const Axes axes;
  const Shape sizes;
  Shape shape_of(const Shape& in) const;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override;
  bool follows_sizes() const override { return kind == Kind::squeeze || kind == Kind::expand_dims; }
  auto fields() const { return std::tie(kind, axes, sizes); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {shape_of(inputs[0].shape())}; }
};

class Transpose final : public LinearView {
 public:
  Transpose(Stream s, Axes axes) : LinearView(s), axes(std::move(axes)) {}
  const Axes axes;  // out axis i is in axis axes[i]
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "transpose"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(axes); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

class BroadcastView : public LinearView {
 public:
  BroadcastView(Stream s, Shape shape) : LinearView(s), shape(std::move(shape)) {}
  const Shape shape;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override { return with_shape(x, shape); }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(shape); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {shape}; }

 private:
  virtual array with_shape(const array& x, const Shape& to) const = 0;
};

class Broadcast final : public BroadcastView {
 public:
  using BroadcastView::BroadcastView;
  const char* name() const override { return "broadcast_to"; }

 private:
  array with_shape(const array& x, const Shape& to) const override;
};

// zeros, ones and full. A view where only element-wise operations read it, who need no memory for a number
// that is repeated; else an array like any other, which may be written into and handed to others.
class Full final : public BroadcastView {
 public:
  using BroadcastView::BroadcastView;
  const char* name() const override { return "full"; }
  // The finished view.
  array repeated(const array& in) const;

 private:
  array with_shape(const array& x, const Shape& to) const override;
};

// The diagonals a[..., i, i + offset, ...] of two axes, as a last axis.
class Diagonal final : public LinearView {
 public:
  Diagonal(Stream s, int offset, int axis1, int axis2)
      : LinearView(s), offset(offset), axis1(axis1), axis2(axis2) {}
  const int offset, axis1, axis2;
  Shape shape_of(const Shape& in) const;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "diagonal"; }
  auto fields() const { return std::tie(offset, axis1, axis2); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {shape_of(inputs[0].shape())}; }
};

// Any strides over the operand in row-major order.
class AsStrided final : public LinearView {
 public:
  AsStrided(Stream s, Shape shape, Strides strides, size_t offset)
      : LinearView(s), shape(std::move(shape)), strides(std::move(strides)), offset(offset) {}
  const Shape shape;
  const Strides strides;
  const size_t offset;
  bool view(const array& in, array& out) const override;
  array apply(const array& x) const override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "as_strided"; }
  auto fields() const { return std::tie(shape, strides, offset); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {shape}; }
};

// The same bytes as another dtype. It has no derivative.
class View final : public ViewPrimitive {
 public:
  View(Stream s, Dtype dtype) : ViewPrimitive(s), dtype(dtype) {}
  const Dtype dtype;
  Shape shape_of(const array& in) const;
  bool view(const array& in, array& out) const override;
  Arrays vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays&, const Axes&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "view"; }
  auto fields() const { return std::tie(dtype); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {shape_of(inputs[0])}; }
};

// The inputs before `outputs`, computed only after the others.
class Depends final : public Primitive {
 public:
  using Primitive::Primitive;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "depends"; }
  auto fields() const { return std::tie(); }
};

class NumberOfElements final : public Primitive {
 public:
  NumberOfElements(Stream s, Axes axes, bool inverted, Dtype dtype)
      : Primitive(s), axes(std::move(axes)), inverted(inverted), dtype(dtype) {}
  const Axes axes;
  const bool inverted;
  const Dtype dtype;
  double value(const Shape& shape) const;
  Arrays vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) override;
  Arrays jvp(const Arrays&, const Arrays&, const Axes&) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "number_of_elements"; }
  auto fields() const { return std::tie(axes, inverted, dtype); }
  std::vector<Shape> output_shapes(const Arrays&) override { return {{}}; }
};

}  // namespace mlx::core
