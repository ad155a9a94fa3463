// How much memory an evaluation will take, found by going through its tape without running a kernel.
//
// Every node gets a shadow: an array of its shape that holds its inputs' shadows as the node holds its
// inputs, and whose buffer is a number of bytes. So the questions that kernels ask before they allocate (is
// an input mine to write into, is it contiguous) have the answers that they will have. What a kernel does
// about it is a rule, in one table per backend; what has none on the GPU is taken to do as on the CPU, and
// without any rule every output gets new memory.
#pragma once

#include <functional>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <vector>

#include "mlx/graph/program.h"
#include "mlx/primitives.h"

namespace mlx::core {

class ShadowMemory {
 public:
  // New memory for `out`, in row-major order; in a buffer of its size or of another.
  void allocate(array& out) { allocate(out, out.nbytes()); }
  void allocate(array& out, size_t bytes);
  // Memory that the kernel holds while it runs.
  void scratch(size_t bytes);
  // Memory that `out` had before the evaluation. Not owned: it came from outside, nobody writes into it.
  void hold(array& out, size_t bytes, bool owned);

  void begin(const char* operation) { operation_ = operation; }
  void end();

  // In bytes more than at the start.
  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }
  const char* peak_operation() const { return peak_operation_; }

 private:
  void add(int64_t bytes);

  int64_t live_ = 0, peak_ = 0, scratch_ = 0;
  const char *operation_ = "", *peak_operation_ = "";
};

class MemoryRules {
 public:
  using Rule =
      std::function<void(const Primitive&, const std::vector<array>&, std::vector<array>&, ShadowMemory&)>;
  using ProgramRule = void (*)(const std::vector<const array*>& inputs, std::vector<array>& outputs,
                               const Donors& donors, ShadowMemory&);

  // `f` is void(const P&, const std::vector<array>& inputs, std::vector<array>& outputs, ShadowMemory&) and
  // gives every output a buffer: that of an input (copy_shared_buffer), or a new one.
  template <class P, class F>
  bool add(F f) {
    return table_
        .emplace(typeid(P),
                 [f](const Primitive& p, const std::vector<array>& inputs, std::vector<array>& outputs,
                     ShadowMemory& memory) { f(static_cast<const P&>(p), inputs, outputs, memory); })
        .second;
  }
  // Of the kernel that runs element-wise programs.
  bool add_program(ProgramRule rule) {
    program_ = rule;
    return true;
  }
  const Rule* find(const std::type_info& type) const {
    const auto it = table_.find(type);
    return it == table_.end() ? nullptr : &it->second;
  }
  ProgramRule program() const { return program_; }

 private:
  std::unordered_map<std::type_index, Rule> table_;
  ProgramRule program_ = nullptr;
};

MemoryRules& memory_rules(Device::DeviceType type);

}  // namespace mlx::core
