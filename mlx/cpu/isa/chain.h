// Steps of element-wise programs on values that stay in registers. A chain is an array of steps, each a
// function that computes on one block of elements, eight registers of it, and jumps to the next with the
// registers as they are: what a step costs is its arithmetic and a jump that is always the same. Other
// operands are read from memory where the step needs them. mlx/cpu/chain.h writes chains.
//
// The values of a block are float32 lanes, also those of float16 and bfloat16 (rounded after each step, as if
// stored) and of bool (all bits or none). An element's bits are those that the tile functions give.
#pragma once

#include "mlx/cpu/isa/tiles.h"

namespace mlx::core::cpu {

struct ChainStep {
  using Fn = void (*)();  // takes registers, whose type depends on the instruction set

  Fn fn = nullptr;
  // Operands besides the value in registers. One lies at at[k] + (i & moves[k]) for the elements from i on.
  const char* at[2] = {nullptr, nullptr};
  int64_t moves[2] = {0, 0};  // -1: an array; 0: a block that stays where it is
  Tiles::Fn tile = nullptr;   // what `call` runs
};

struct Chains {
  int block;  // elements

  // How elements lie in memory. `lanes` is how chains keep blocks between steps.
  enum Kind { lanes, half, brain, boolean, kKinds };
  // By `Pace`: arrays of chains that compute long on a block have to be asked for before they are needed; of
  // the others the processor fetches them better by itself.
  enum Pace { brisk, lasting, kPaces };
  // A block goes out to an output. `stream`, where there is one: to memory past the caches, aligned to 64
  // bytes.
  struct Stores {
    ChainStep::Fn store[kPaces][kKinds], stream[kKinds];
  };
  // The first function of a chain is a load of a block from memory into registers, the last one a store that
  // ends it. `also` stores and goes on. `keep` stores lanes in a block and goes on; `recall` loads them.
  ChainStep::Fn load[kPaces][kKinds];
  Stores also, last;
  ChainStep::Fn keep, recall;

  // The value in registers is operand `place`; the others, in their order, are lanes at at[0] and at[1].
  // numbers: bit k is set where the lanes at at[k] are all the same. op[row][place][numbers] is null where
  // the row has no function of its own.
  ChainStep::Fn op[elementwise::kOps][3][4];
  // Any row of float32 with a result of that type, by its tile function. The value in registers is operand
  // `place`.
  ChainStep::Fn call[3];

  // Between kinds: rounds to one of 16 bits; bool to 0 and 1, and back.
  ChainStep::Fn round[kKinds], to_number, to_bool;

  // Runs the chain for the blocks that begin at 0, block, 2 block ... below n. After chains with a `stream`
  // comes a fence (Tiles::fence).
  void (*run)(const ChainStep* chain, int64_t n);
};

MLX_DECLARE_ISA_TABLE(Chains, chains)

}  // namespace mlx::core::cpu
