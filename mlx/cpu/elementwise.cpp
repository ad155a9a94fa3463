// Element-wise programs on arrays.
#include "mlx/cpu/program_runner.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/program.h"

namespace mlx::core::cpu {
namespace {

constexpr size_t kMostKept = 4;  // values that are results: each has a tile of its own

void run_program(const Program& program, const std::vector<const array*>& given, std::vector<array>& outputs,
                 const Donors& donors) {
  const TurnedInputs inputs(given);
  for (size_t k = 0; k < outputs.size(); ++k) place_result(outputs[k], donors[k], inputs.arrays());
  ProgramRunner(program, inputs.arrays(), outputs).run();
}

void forecast(const std::vector<const array*>& inputs, std::vector<array>& outputs, const Donors& donors,
              ShadowMemory& memory) {
  for (const array* in : inputs)
    if (TurnedInputs::turns(*in)) memory.scratch(in->nbytes());
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (donors[k] >= 0) {
      outputs[k].copy_shared_buffer(*inputs[static_cast<size_t>(donors[k])]);
    } else {
      memory.allocate(outputs[k]);
    }
  }
}

const bool registered = (set_program_kernel(Device::cpu, run_program, kMostKept),
                         memory_rules(Device::cpu).add_program(forecast));

}  // namespace
}  // namespace mlx::core::cpu
