// Recurrent layers over all steps of a sequence.
#pragma once

#include <tuple>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"

namespace mlx::core::fast {

// What a step does with its part of the sequence, x, and with p = hidden @ weight.T:
//   tanh, relu: hidden = f(x + p)
//   gru:        r, z = sigmoid(x + p), u = p + bias, n = tanh(x + r u), hidden = (1 - z) n + z hidden
//   lstm:       i, f, o = sigmoid(x + p), g = tanh(x + p), cell = f cell + i g, hidden = o tanh(cell)
// The weight has `parts` times as many rows as the state has numbers, H: in the order r, z, n (whose row of p
// gives u), and i, f, g, o. `gates` are kept for the gradient: r, z, n, u, and i, f, g, o.
enum class RecurrentCell { tanh, relu, gru, lstm };
constexpr RecurrentCell last_of(RecurrentCell) { return RecurrentCell::lstm; }
constexpr int parts_of(RecurrentCell cell) {
  return cell == RecurrentCell::lstm ? 4 : cell == RecurrentCell::gru ? 3 : 1;
}
constexpr bool has_gates(RecurrentCell cell) { return parts_of(cell) > 1; }

// Inputs, of float32: the weight (parts H, H), which may also be bfloat16 and then has states rounded to that
// wherever pairs of them are multiplied by an instruction; what the cell gets from the sequence (T, B, parts
// H), the hidden state before the first step (B, H); of lstm the cell state too, of gru the bias (H).
// Outputs, for every step: hidden states (T, B, H); of gru and lstm the gates (T, B, 4 H); of lstm the cell
// states (T, B, H).
class RecurrentSteps final : public Primitive {
 public:
  RecurrentSteps(Stream s, RecurrentCell cell) : Primitive(s), cell(cell) {}
  const RecurrentCell cell;
  enum Input { weight, sequence, hidden, cell_or_bias };
  enum Output { hiddens, gates, cells };
  int inputs() const { return has_gates(cell) ? 4 : 3; }
  // The output that the CPU's kernel may write where the sequence was; of gru none has its shape.
  static Output taker(RecurrentCell cell) { return has_gates(cell) ? gates : hiddens; }

  const char* name() const override { return "recurrent_steps"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(cell); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Inputs: the weight, the cotangent of hidden states, the states (of lstm the cell states, else the hidden
// states); of gru and lstm such a state before the first step, the gates, their cotangent; of lstm the
// cotangent of the cell states. Outputs: gradients of what the cell got from the sequence and of the hidden
// state before the first step; of lstm that of the cell state, of gru that of u for each step.
class RecurrentStepsGradient final : public Primitive {
 public:
  RecurrentStepsGradient(Stream s, RecurrentCell cell) : Primitive(s), cell(cell) {}
  const RecurrentCell cell;
  enum Input { weight, by_hiddens, states, first, gates, by_gates, by_cells };
  enum Output { by_sequence, by_hidden, by_cell_or_u };
  int inputs() const { return cell == RecurrentCell::lstm ? 7 : has_gates(cell) ? 6 : 3; }
  // The same of an input that is not read again once the output's elements are written.
  static Output taker(RecurrentCell cell) { return cell == RecurrentCell::gru ? by_cell_or_u : by_sequence; }
  static Input taken(RecurrentCell cell) { return cell == RecurrentCell::lstm ? gates : by_hiddens; }

  const char* name() const override { return "recurrent_steps_vjp"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(cell); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core::fast
