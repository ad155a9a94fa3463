// The primitives behind every element-wise function: one class, whose opcode is a row of the table.
#pragma once

#include "mlx/graph/elementwise.h"
#include "mlx/graph/program.h"
#include "mlx/ops/rules.h"

namespace mlx::core {

// Inputs have one dtype (select: its second and third) and broadcast against each other in the node itself;
// no broadcast nodes are built.
class Elementwise final : public Primitive {
 public:
  Elementwise(Stream s, uint8_t op) : Primitive(s) { opcode_ = op; }
  const elementwise::OpInfo& info() const { return elementwise::op_info[static_cast<size_t>(opcode_)]; }

  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return info().name.data(); }
  bool follows_sizes() const override { return true; }
  bool is_equivalent(const Primitive& other) const override { return other.opcode() == opcode_; }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

class AsType final : public Primitive {
 public:
  AsType(Stream s, Dtype dtype) : Primitive(s), dtype(dtype) { opcode_ = kCastOp; }
  const Dtype dtype;

  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  const char* name() const override { return "astype"; }
  bool follows_sizes() const override { return true; }
  auto fields() const { return std::tie(dtype); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// The node for an opcode: promotes (and casts to float where the row says so), checks the dtype, broadcasts
// shapes.
array elementwise_op(uint8_t op, const array& a, StreamOrDevice s = {});
array elementwise_op(uint8_t op, const array& a, const array& b, StreamOrDevice s = {});
array elementwise_op(uint8_t op, const array& a, const array& b, const array& c, StreamOrDevice s = {});
template <class Row, class... Args>
array op(const Args&... args) {
  return elementwise_op(elementwise::op_of<Row>, args...);
}

// Sums a gradient over the axes along which `shape` was broadcast.
array sum_to_shape(const array& g, const Shape& shape, StreamOrDevice s = {});

}  // namespace mlx::core
