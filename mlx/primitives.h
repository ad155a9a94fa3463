// What a node of the graph computes. An operation's primitive, its rules and its public function stand
// together in mlx/ops/*.cpp; only the base class is public, for custom primitives.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/stream.h"

namespace mlx::core {

class Primitive {
 public:
  explicit Primitive(Stream stream) : stream_(stream) {}
  Primitive(const Primitive&) = delete;
  Primitive& operator=(const Primitive&) = delete;
  virtual ~Primitive() = default;

  const Device& device() const { return stream_.device; }
  const Stream& stream() const { return stream_; }

  // Gives every output its data (set_data or copy_shared_buffer). The inputs are available. The default looks
  // the kernel up in the device's table (mlx/graph/kernels.h) and says so clearly where there is none.
  virtual void eval_cpu(const std::vector<array>& inputs, std::vector<array>& outputs);
  virtual void eval_gpu(const std::vector<array>& inputs, std::vector<array>& outputs);

  // tangents[i] belongs to primals[argnums[i]]; one tangent per output comes back.
  virtual std::vector<array> jvp(const std::vector<array>& primals, const std::vector<array>& tangents,
                                 const std::vector<int>& argnums);
  // One cotangent per argnum comes back. `outputs` are the values of this node: use them where that saves
  // work.
  virtual std::vector<array> vjp(const std::vector<array>& primals, const std::vector<array>& cotangents,
                                 const std::vector<int>& argnums, const std::vector<array>& outputs);
  // axes[i] is the batch axis of inputs[i], -1 where it has none. Returns outputs and their batch axes.
  virtual std::pair<std::vector<array>, std::vector<int>> vmap(const std::vector<array>& inputs,
                                                               const std::vector<int>& axes);

  virtual const char* name() const = 0;
  void print(std::ostream& os) const;
  // The same computation, given the same inputs? compile merges such nodes. The default compares the
  // parameters that the table of primitives knows (mlx/graph/primitive_table.h) and says no where it knows
  // none.
  virtual bool is_equivalent(const Primitive& other) const;
  // Shapes of the outputs from those of the inputs; compile(shapeless=True) needs it. The default raises.
  virtual std::vector<Shape> output_shapes(const std::vector<array>& inputs);

  // True where the derivative holds for all sizes of the inputs that broadcast alike. A trace without sizes
  // holds inputs of other derivatives to the sizes it saw.
  virtual bool follows_sizes() const { return false; }

  // True where no gradient goes through: the backward pass does not look behind such a node.
  virtual bool stops_gradient() const { return false; }

  // Element-wise primitives are fused by the evaluator; their opcode says what they do (-1: not
  // element-wise).
  int opcode() const { return opcode_; }

 protected:
  int opcode_ = -1;

 private:
  Stream stream_;
};

// The base of primitives with one output: eval with a single array.
class UnaryPrimitive : public Primitive {
 public:
  explicit UnaryPrimitive(Stream stream) : Primitive(stream) {}
  virtual void eval_cpu(const std::vector<array>& inputs, array& output) = 0;
  virtual void eval_gpu(const std::vector<array>& inputs, array& output) = 0;
  void eval_cpu(const std::vector<array>& inputs, std::vector<array>& outputs) final {
    eval_cpu(inputs, outputs[0]);
  }
  void eval_gpu(const std::vector<array>& inputs, std::vector<array>& outputs) final {
    eval_gpu(inputs, outputs[0]);
  }
};

}  // namespace mlx::core
