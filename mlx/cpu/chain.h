// Programs of float32, float16, bfloat16 and bool steps as chains (mlx/cpu/isa/chain.h): one pass over
// memory, values between steps in registers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mlx/cpu/isa/chain.h"
#include "mlx/graph/program.h"
#include "mlx/small_vector.h"

namespace mlx::core::cpu {

class Chain {
 public:
  struct Input {
    Dtype dtype = float32;
    bool constant = false;  // one element
  };
  using Inputs = SmallVector<Input, 8>;
  using Places = std::vector<const char*>;  // an address for each input first; others are not looked at
  using Results = SmallVector<char*, 4>;    // one for each output: the kept values, then the last

  // Nothing where a step has no form in chains (integers, float64, complex64). `streams`: results, but
  // for bool, go past the caches, to addresses that are multiples of 64.
  static std::optional<Chain> of(const Program& program, const Inputs& inputs, bool streams);

  // A chain with its operands, in memory of the thread that makes it: one at a time on each.
  class Runner {
   public:
    // inputs[k] is the element of input k where that is constant; the others are not looked at.
    Runner(const Chain& chain, const Places& inputs);
    // n elements, from inputs[k] on where input k is an array.
    void run(const Places& inputs, const Results& out, int64_t n);

   private:
    // An operand of a step that is no block.
    struct Place {
      int16_t step, operand;
      int16_t number;  // of the input, or from kOut on of the output
    };
    float* block(int16_t number) const;
    void run_rest(const Places& inputs, const Results& out, int64_t begin, int64_t n);

    const Chain& chain_;
    float* memory_;
    SmallVector<ChainStep, 16> steps_;
    SmallVector<Place, 16> places_;
  };

 private:
  // Operands: blocks by their number, inputs from kInput on, outputs from kOut on.
  static constexpr int16_t kNone = -1, kInput = 1 << 12, kOut = 1 << 13;
  struct Step {
    ChainStep::Fn fn;
    int16_t operand[2] = {kNone, kNone};
    Tiles::Fn tile = nullptr;
  };
  class Writer;

  Chain(const Program& program, const Inputs& inputs, bool streams);

  const Chains* table_;
  Inputs inputs_;
  std::vector<Dtype> out_;
  bool streams_ = false;
  SmallVector<Step, 16> steps_;
  // The program's registers, then a block for each input that is a number or not float32.
  SmallVector<int16_t, 8> input_block_;  // kNone: read where it lies
  int16_t blocks_ = 0;
};

}  // namespace mlx::core::cpu
