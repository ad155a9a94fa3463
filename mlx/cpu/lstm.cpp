// Long short-term memories: a matrix product for each step, and what the gates do with it as one chain.
#include "mlx/ops/lstm.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/cpu/chain.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/gemm.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

using namespace elementwise;

constexpr int64_t kItem = 4096;  // elements of a state, each with five functions: some ten microseconds

// Writes programs of float32.
class Steps {
 public:
  explicit Steps(int inputs) { program.inputs = inputs; }
  template <class R>
  int16_t add(int16_t a, int16_t b = 0) {
    const auto out = static_cast<int16_t>(program.inputs + program.registers++);
    program.steps.push_back({op_of<R>, float32, float32, out, {a, b, 0}});
    return out;
  }
  void keep() { program.kept.push_back(static_cast<int16_t>(program.steps.size() - 1)); }
  Program program;
};

// Inputs: gates i, f, g, o, the cell state before. Outputs: the cell state, the hidden state.
Program forward_program() {
  Steps s(5);
  const int16_t old = s.add<Multiply>(s.add<Sigmoid>(1), 4);
  const int16_t in = s.add<Sigmoid>(0), fresh = s.add<Multiply>(in, s.add<Tanh>(2));
  const int16_t cell = s.add<Add>(old, fresh);
  s.keep();
  const int16_t out = s.add<Sigmoid>(3);
  s.add<Multiply>(out, s.add<Tanh>(cell));
  return s.program;
}

enum : int16_t { kI, kF, kG, kO, kNow, kBefore, kByHidden, kByCell, kByNow, kOne, kOwn };

// Inputs: gates, the cell state and that before, the gradients of the hidden state, of the cell state from
// the step behind and its own, the number 1, the gates' own gradients. Outputs: gradients of the gates, of
// the cell state before.
Program backward_program() {
  Steps s(kOwn + 4);
  const auto rest = [&](int16_t x) { return s.add<Subtract>(kOne, x); };
  const auto times = [&](int16_t a, int16_t b) { return s.add<Multiply>(a, b); };
  const auto gate = [&](int16_t gradient, int which) {
    s.add<Add>(gradient, static_cast<int16_t>(kOwn + which));
    s.keep();
  };
  const int16_t o = s.add<Sigmoid>(kO), active = s.add<Tanh>(kNow);
  const int16_t to_cell = times(o, rest(times(active, active)));
  const int16_t to_o = times(times(active, o), rest(o));
  const int16_t cell = s.add<Add>(s.add<Add>(kByCell, kByNow), times(kByHidden, to_cell));
  const int16_t i = s.add<Sigmoid>(kI), f = s.add<Sigmoid>(kF), g = s.add<Tanh>(kG);
  gate(times(cell, times(times(g, i), rest(i))), kI);
  gate(times(cell, times(times(kBefore, f), rest(f))), kF);
  gate(times(cell, times(i, rest(times(g, g)))), kG);
  gate(times(kByHidden, to_o), kO);
  times(cell, f);
  return s.program;
}

// The rows of one operand for the chain: pieces of rows of an array, or one number for all.
struct Rows {
  const float* data;
  int64_t row;  // elements from one row to the next
  bool number = false;
};

class Cells {
 public:
  Cells(const Program& program, const std::vector<Rows>& in) {
    Chain::Inputs kinds;
    for (const Rows& x : in) kinds.push_back({float32, x.number});
    chain_ = *Chain::of(program, kinds, false);
  }
  void run(int64_t batch, int64_t size, const std::vector<Rows>& in, const std::vector<Rows>& out) const {
    parallel_ranges(batch, std::max<int64_t>(1, kItem / size), [&](int64_t begin, int64_t end) {
      Chain::Places at(in.size());
      Chain::Results to(out.size());
      const auto place = [&](int64_t r) {
        for (size_t k = 0; k < in.size(); ++k)
          at[k] = reinterpret_cast<const char*>(in[k].data + r * in[k].row);
        for (size_t k = 0; k < out.size(); ++k)
          to[k] = reinterpret_cast<char*>(const_cast<float*>(out[k].data + r * out[k].row));
      };
      place(begin);
      Chain::Runner runner(*chain_, at);
      for (int64_t r = begin; r < end; ++r) {
        place(r);
        runner.run(at, to, size);
      }
    });
  }

 private:
  std::optional<Chain> chain_;
};

// c = d + a (rows x k) * b
void product(const float* a, int64_t rows, int64_t k, const float* b, int64_t b_row, int64_t b_col, float* c,
             int64_t n, const float* d) {
  GemmCall g;
  g.m = rows, g.n = n, g.k = k;
  g.a = a, g.a_row = k, g.a_col = 1;
  g.b = b, g.b_row = b_row, g.b_col = b_col;
  g.c = c, g.ldc = n;
  g.d = d, g.d_row = n, g.d_col = 1, g.beta = d ? 1 : 0;
  gemm(g);
}

const float* data(const array& a) { return a.data<float>(); }
float* data(array& a) { return a.data<float>(); }

void steps(const fast::LstmSteps&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  Arrays in;
  for (const array& x : inputs) in.push_back(row_contiguous(x));
  const int64_t length = in[3].shape(0), batch = in[3].shape(1), size = in[1].shape(1), state = batch * size;
  static const Program program = forward_program();
  const Cells cells(program, std::vector<Rows>(5));
  const float *hidden = data(in[1]), *cell = data(in[2]), *given = data(in[3]);
  float *hiddens = data(outputs[0]), *after = data(outputs[1]), *gates = data(outputs[2]);
  for (int64_t t = 0; t < length; ++t) {
    product(hidden, batch, size, data(in[0]), 1, size, gates, 4 * size, given);
    const auto gate = [&](int i) { return Rows{gates + i * size, 4 * size}; };
    cells.run(batch, size, {gate(0), gate(1), gate(2), gate(3), {cell, size}},
              {{after, size}, {hiddens, size}});
    hidden = hiddens, cell = after;
    given += 4 * state, gates += 4 * state, hiddens += state, after += state;
  }
}

// A gradient of an output: as an array, or the one number that all of its elements are.
struct Gradient {
  explicit Gradient(const array& x)
      : number(x.size() > 1 && x.data_size() == 1),
        rows(number ? x : row_contiguous(x)),
        row(number ? 0 : x.shape(2)) {}
  Rows at(int64_t t, int64_t column = 0) const {
    return {data(rows) + (number ? 0 : t * rows.shape(1) * row + column), row, number};
  }
  bool number;
  array rows;
  int64_t row;
};

void gradient(const fast::LstmStepsGradient&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  Arrays in;
  for (size_t k = 0; k < 5; ++k) in.push_back(row_contiguous(inputs[k]));
  const array &weight = in[0], &first = in[1], &cells = in[2], &gates = in[3], &by_hiddens = in[4];
  const Gradient by_cells(inputs[5]), by_gates(inputs[6]);
  const int64_t length = gates.shape(0), batch = gates.shape(1), size = weight.shape(1), state = batch * size;
  float *by_inputs = data(outputs[0]), *by_hidden = data(outputs[1]), *by_cell = data(outputs[2]);
  std::fill_n(by_cell, state, 0.0f);
  static const Program program = backward_program();
  static constexpr float one = 1;
  const auto operands = [&](int64_t t, const float* of_hidden) {
    std::vector<Rows> x;
    for (int i = 0; i < 4; ++i) x.push_back({data(gates) + 4 * t * state + i * size, 4 * size});
    x.push_back({data(cells) + t * state, size});
    x.push_back({t > 0 ? data(cells) + (t - 1) * state : data(first), size});
    x.insert(x.end(), {{of_hidden, size}, {by_cell, size}, by_cells.at(t), {&one, 0, true}});
    for (int i = 0; i < 4; ++i) x.push_back(by_gates.at(t, i * size));
    return x;
  };
  const float* of_hidden = data(by_hiddens) + (length - 1) * state;
  const Cells chain(program, operands(0, of_hidden));
  for (int64_t t = length; t-- > 0;) {
    float* const row = by_inputs + 4 * t * state;
    std::vector<Rows> out;
    for (int i = 0; i < 4; ++i) out.push_back({row + i * size, 4 * size});
    out.push_back({by_cell, size});
    chain.run(batch, size, operands(t, of_hidden), out);
    product(row, batch, 4 * size, data(weight), size, 1, by_hidden, size,
            t > 0 ? data(by_hiddens) + (t - 1) * state : nullptr);
    of_hidden = by_hidden;
  }
}

const bool registered = kernels(Device::cpu).add<fast::LstmSteps>(steps) &&
                        kernels(Device::cpu).add<fast::LstmStepsGradient>(gradient);

}  // namespace
}  // namespace mlx::core::cpu
