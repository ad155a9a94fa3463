// A fused group of element-wise nodes as a short program: the evaluator writes it, a backend runs it tile by
// tile.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mlx/array.h"
#include "mlx/device.h"

namespace mlx::core {

inline constexpr int kCastOp = 254;  // the opcode of AsType, beside those of the element-wise table

struct Program {
  // Operands below `inputs` are the program's inputs; the others are registers, counted from there on. The
  // last step's result is the output.
  struct Step {
    uint8_t op;
    Dtype from;  // of the value operands
    Dtype to;
    int16_t out;
    std::array<int16_t, 3> in;
  };
  std::vector<Step> steps;
  int inputs = 0;
  int registers = 0;
};

// Runs a program over `out`, to whose shape every input broadcasts. `donor` is an input whose buffer the
// output may take (-1: none): a row-contiguous one of the output's size and itemsize that nobody reads
// afterwards.
using ProgramKernel = void (*)(const Program& program, const std::vector<const array*>& inputs, array& out,
                               int donor);
void set_program_kernel(Device::DeviceType device, ProgramKernel kernel);
// The one that was set.
ProgramKernel run_program_of(Device::DeviceType device);

}  // namespace mlx::core
