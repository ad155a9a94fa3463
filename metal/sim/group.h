// Runs the threads of one threadgroup after another on stacks of their own. A thread runs until it has to
// wait for others (a barrier, a SIMD operation) or ends; threads that never wait all run on one stack, as a
// loop. The order depends on nothing but the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <metal_simulator_abi.h>

#include "metal/sim/fault.h"
#include "metal/sim/fiber.h"

namespace mlx::core::metal::sim {

constexpr uint32_t simd_width = 32;
constexpr uint32_t max_threads = 1024;

class Group {
 public:
  Group();

  struct Layout {
    uint32_t size[3];      // of this group, which may be smaller at the end of the grid
    uint32_t full[3];      // of those in the middle
    uint32_t position[3];  // of this group
    uint32_t groups[3], threads[3];
  };
  // Returns where all threads ended or fault() was called; `fault_text` says which.
  void run(const metal_simulator::Kernel* kernel, void* const* arguments, const Layout& layout);

  // Called by kernels.
  void barrier(bool simd, int flags, const Place& place);
  metal_simulator::Exchange* meet(int operation, const void* value, unsigned size, const Place& place);
  // One product of 8 by 8 matrices: two elements of a, b, c from each lane, two of a b + c for it.
  void multiply(const float* operands, float* result, const Place& place);
  uint32_t lane() const { return current_ % simd_width; }
  uint32_t thread() const { return current_; }
  const metal_simulator::Thread& position() const { return threads_[current_].values; }
  const metal_simulator::Thread& position(uint32_t thread) const { return threads_[thread].values; }
  // Leaves the group as it is and returns from run().
  [[noreturn]] void abandon();

  const Stacks& stacks() const { return stacks_; }
  void reserve_stacks() { stacks_.reserve(1); }
  uint64_t barriers = 0, meetings = 0;  // counted over all groups

 private:
  struct Waiting {
    int operation;
    Place place;
  };
  struct ThreadState {
    metal_simulator::Thread values;
    void* stack = nullptr;
    bool started = false;
    Waiting waiting{};
  };
  struct SimdGroup {
    uint32_t alive = 0, ready = 0, waiting = 0;
    int phase = 0;
    metal_simulator::Exchange exchange[2];
  };

  static void entry();
  void loop();
  void lay_out(const Layout& layout);
  void place_threads(const Layout& layout);
  void finish();
  void wait();
  void complete(SimdGroup& s);
  bool next();
  void go(void** save);
  [[noreturn]] void stuck();
  void check_same(const Waiting& mine, uint32_t other, const char* what);
  std::string describe(uint32_t thread) const;

  Stacks stacks_;
  Layout laid_out_{};
  std::vector<void*> free_;
  size_t used_stacks_ = 0;
  std::unique_ptr<ThreadState[]> threads_;
  SimdGroup simd_[max_threads / simd_width];
  uint32_t count_ = 0, simds_ = 0, current_ = 0, at_barrier_ = 0, first_at_barrier_ = 0, finished_ = 0;
  int barrier_flags_ = 0;
  void* main_ = nullptr;
  const metal_simulator::Kernel* kernel_ = nullptr;
  void* const* arguments_ = nullptr;
};

}  // namespace mlx::core::metal::sim
