// Element-wise programs on arrays.
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/program_runner.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/fused.h"
#include "mlx/graph/kernels.h"
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

// In an item of its own a program is not cut any further. Few of them are done before another thread is
// awake.
constexpr size_t kShareSteps = 60000;  // of an element

void place_results(const std::vector<const array*>& inputs, std::vector<array>& results,
                   const Donors& donors) {
  for (size_t k = 0; k < results.size(); ++k) place_result(results[k], donors[k], inputs);
}

void run_batch(std::span<const ReadyProgram> programs) {
  const auto run = [&](int64_t i) {
    const ReadyProgram& ready = programs[static_cast<size_t>(i)];
    ProgramRunner(ready.program(), ready.inputs, ready.results).run();
  };
  size_t steps = 0;
  for (const ReadyProgram& ready : programs) steps += ready.program().steps.size() * ready.results[0].size();
  if (steps >= kShareSteps)
    return parallel_for(std::ssize(programs), run, Order::one_queue, Interrupts::held);
  for (int64_t i = 0; i < std::ssize(programs); ++i) run(i);
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

std::vector<const array*> pointers(const std::vector<array>& arrays) {
  std::vector<const array*> out;
  for (const array& a : arrays) out.push_back(&a);
  return out;
}

void run_fused(const detail::Fused& fused, const std::vector<array>& inputs, std::vector<array>& outputs) {
  run_program(fused.program, pointers(inputs), outputs, fused.donors(inputs, outputs));
}
void forecast_fused(const detail::Fused& fused, const std::vector<array>& inputs, std::vector<array>& outputs,
                    ShadowMemory& memory) {
  forecast(pointers(inputs), outputs, fused.donors(inputs, outputs), memory);
}

const bool registered =
    (set_program_kernel(Device::cpu, run_program, kMostKept),
     set_batch_rules(Device::cpu, {place_results, run_batch}),
     memory_rules(Device::cpu).add_program(forecast), kernels(Device::cpu).add<detail::Fused>(run_fused),
     memory_rules(Device::cpu).add<detail::Fused>(forecast_fused));

}  // namespace
}  // namespace mlx::core::cpu
