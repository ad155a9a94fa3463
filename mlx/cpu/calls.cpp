#include "mlx/cpu/calls.h"

#include <algorithm>
#include <utility>

namespace mlx::core::cpu {
namespace {

// Row of Tiles::pair; -1 for steps that make no pairs.
int pair_index(const Program::Step& step) {
  using namespace elementwise;
  if (step.from != float32) return -1;
  if (step.op == op_of<Add>) return 0;
  if (step.op == op_of<Subtract>) return 1;
  return step.op == op_of<Multiply> ? 2 : -1;
}

// Is the value of step i read by step i + 1 alone, and once?
bool goes_to_next_only(const std::vector<Program::Step>& steps, size_t i) {
  const int16_t value = steps[i].out;
  if ((steps[i + 1].in[0] == value) == (steps[i + 1].in[1] == value)) return false;
  if (i + 2 == steps.size() || steps[i + 1].out == value) return true;
  for (size_t j = i + 2; j < steps.size(); ++j) {
    const int arity = steps[j].op == kCastOp ? 1 : elementwise::op_info[steps[j].op].arity;
    for (int k = 0; k < arity; ++k)
      if (steps[j].in[static_cast<size_t>(k)] == value) return false;
    if (steps[j].out == value) return true;
  }
  return true;
}

class Planner {
 public:
  Planner(const Program& program, const Tiles& tiles, std::vector<Operand>& operands, Calls& calls)
      : program_(program), tiles_(tiles), operands_(operands), calls_(calls) {}

  void plan() {
    const auto& steps = program_.steps;
    for (size_t i = 0; i < steps.size(); ++i) {
      const Program::Step& step = steps[i];
      const auto from = static_cast<size_t>(step.from.val());
      if (step.op == kCastOp) {
        calls_.push_back({nullptr, tiles_.cast[from][static_cast<size_t>(step.to.val())], step.out, step.in});
        continue;
      }
      const int first = i + 1 < steps.size() ? pair_index(step) : -1;
      const int second = first >= 0 ? pair_index(steps[i + 1]) : -1;
      if (second < 0 || is_kept(i) || !goes_to_next_only(steps, i)) {
        Call call{tiles_.op[step.op][from], nullptr, step.out, step.in, elementwise::op_info[step.op].arity};
        if (step.from == float32) use_numbers(call, tiles_.with_number[step.op]);
        calls_.push_back(call);
        continue;
      }
      const Program::Step& next = steps[++i];
      const bool exchanged = next.in[1] == step.out;
      const int form = second == 1 && exchanged ? 3 : second;
      Call call{tiles_.pair[first][form],
                nullptr,
                next.out,
                {step.in[0], step.in[1], next.in[exchanged ? 0 : 1]},
                3};
      const Tiles::Fn(&with_number)[8] = tiles_.pair_with_number[first][form];
      if (!with_number[1] && is_number(call.in[0])) std::swap(call.in[0], call.in[1]);
      use_numbers(call, with_number);
      calls_.push_back(call);
    }
    for (const Call& call : calls_)
      for (size_t k = 0; k < 3; ++k)
        if (is_number(call.in[k]) && !(call.numbers & Tiles::kNumber[k]))
          operands_[static_cast<size_t>(call.in[k])].repeated = true;
  }

 private:
  bool is_kept(size_t step) const {
    return std::find(program_.kept.begin(), program_.kept.end(), static_cast<int16_t>(step)) !=
           program_.kept.end();
  }
  bool is_number(int16_t operand) const {
    return operand < program_.inputs && operands_[static_cast<size_t>(operand)].constant;
  }
  // Reads the operands of `call` that are one number once, where `functions` has one for that.
  void use_numbers(Call& call, const Tiles::Fn (&functions)[8]) const {
    call.with_numbers = functions;
    int numbers = 0;
    for (int k = 0; k < call.arity; ++k)
      if (is_number(call.in[static_cast<size_t>(k)])) numbers |= Tiles::kNumber[k];
    if (!functions[numbers]) return;
    call.fn = functions[numbers];
    call.numbers = numbers;
  }

  const Program& program_;
  const Tiles& tiles_;
  std::vector<Operand>& operands_;
  Calls& calls_;
};

}  // namespace

void plan_calls(const Program& program, const Tiles& tiles, std::vector<Operand>& operands, Calls& calls) {
  Planner(program, tiles, operands, calls).plan();
}

}  // namespace mlx::core::cpu
