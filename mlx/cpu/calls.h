// Element-wise programs as calls of tile functions (mlx/cpu/isa/tiles.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mlx/cpu/isa/tiles.h"
#include "mlx/cpu/operand.h"
#include "mlx/graph/program.h"
#include "mlx/small_vector.h"

namespace mlx::core::cpu {

// A step of the program as a call, or two of them as one.
struct Call {
  Tiles::Fn fn;
  Tiles::CastFn cast;  // in place of fn
  int16_t out;
  std::array<int16_t, 3> in;
  int arity = 1;
  int numbers = 0;                          // which operands fn reads one number of, as Tiles::kNumber
  const Tiles::Fn* with_numbers = nullptr;  // functions in place of fn, by `numbers`
};
using Calls = SmallVector<Call, 4>;

// To `calls`, which is empty, in the order of the steps. Neighbours that are both arithmetic pass over their
// operands once. Operands that are one number, but that some call wants a tile of, become `repeated`.
void plan_calls(const Program& program, const Tiles& tiles, std::vector<Operand>& operands, Calls& calls);

}  // namespace mlx::core::cpu
