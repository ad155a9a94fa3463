// A fused group of element-wise nodes as a short program: the evaluator writes it, a backend runs it tile by
// tile.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "mlx/array.h"
#include "mlx/device.h"
#include "mlx/small_vector.h"

namespace mlx::core {

inline constexpr int kCastOp = 254;  // the opcode of AsType, beside those of the element-wise table

struct Program {
  // Operands below `inputs` are the program's inputs; the others are registers, counted from there on.
  struct Step {
    uint8_t op;
    Dtype from;  // of the value operands
    Dtype to;
    int16_t out;
    std::array<int16_t, 3> in;
  };
  std::vector<Step> steps;
  // Steps whose values are results, in their order, as the last step's is: somebody holds or folds them.
  // Nothing else is ever in their registers.
  std::vector<int16_t> kept;
  int inputs = 0;
  int registers = 0;
};

// Runs a program whose outputs, those of `kept` and then the last step's, have one shape, to which every
// input broadcasts. donors[k] is an input whose buffer output k may take (-1: none): a row-contiguous one of
// its size and itemsize that no step reads after the one that computes the output.
using Donors = SmallVector<int, 4>;
using ProgramKernel = void (*)(const Program& program, const std::vector<const array*>& inputs,
                               std::vector<array>& outputs, const Donors& donors);
// `most_kept`: so many values may be kept.
void set_program_kernel(Device::DeviceType device, ProgramKernel kernel, size_t most_kept);
// The one that was set.
ProgramKernel run_program_of(Device::DeviceType device);

// A program with all that it needs: inputs that are there, results that have memory.
struct ReadyProgram {
  Program own;
  const Program* shared = nullptr;  // in its place
  std::vector<const array*> inputs;
  std::vector<array> results;
  const Program& program() const { return shared ? *shared : own; }
};
// How a backend runs programs that do not need each other, all at once. Nothing interrupts it: what some of
// them wrote over would be lost.
struct BatchRules {
  void (*place)(const std::vector<const array*>& inputs, std::vector<array>& results, const Donors& donors);
  void (*run)(std::span<const ReadyProgram> programs);
};
// Where there are no rules, each runs by itself.
void set_batch_rules(Device::DeviceType device, const BatchRules& rules);

// A reduction of one of a program's results, which takes the elements in while they are in the cache.
struct Fold {
  Primitive* primitive;
  size_t result;
  array* out;  // gets its memory from the kernel
};
// How a backend folds. Where there are no rules, reductions run by themselves.
struct FoldRules {
  // Of an array of this shape, can it, and is it better than to write the array and to read it again?
  bool (*accepts)(const Primitive& reduction, const Shape& shape);
  // Two that were accepted, of arrays of one shape: in one pass?
  bool (*together)(const Primitive& a, const Primitive& b);
  // As a ProgramKernel, with all folds, of which there is one at least. Where is_output[k] is false, result k
  // is wanted by folds only: results[k] has no memory and gets none.
  void (*run)(const Program& program, const std::vector<const array*>& inputs, std::vector<array>& results,
              const SmallVector<char, 4>& is_output, const Donors& donors, const std::vector<Fold>& folds);
  // Of an array in memory: is one pass for both better than two? And that pass, for several such reductions.
  bool (*share_reading)(const Primitive& a, const Primitive& b, const array& in) = nullptr;
  void (*run_stored)(const std::vector<const Primitive*>& reductions, const array& in,
                     std::vector<array>& outputs) = nullptr;
};
void set_fold_rules(Device::DeviceType device, const FoldRules& rules);

}  // namespace mlx::core
