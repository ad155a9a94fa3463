// What runs dispatches, one at a time in the whole process: the memory that the running kernel may touch, the
// group whose threads run, and the first fault.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "metal/device/device.h"
#include "metal/sim/fault.h"
#include "metal/sim/group.h"
#include "metal/sim/memory.h"

namespace mlx::core::metal::sim {

class KernelPipeline;
class Object;

struct Binding {
  std::shared_ptr<Buffer> buffer;  // null: `bytes` are the argument
  size_t offset = 0, length = 0;
  std::shared_ptr<std::vector<std::byte>> bytes;
  size_t threadgroup = 0;  // of threadgroup memory: its size
};

struct Dispatch {
  std::shared_ptr<KernelPipeline> pipeline;
  std::vector<Binding> buffers, threadgroup;
  Size threads, groups, group_size;
  std::string operation;
};

class Executor {
 public:
  // Throws DeviceError.
  void execute(const Dispatch& dispatch);
  // What is executed later comes after what was executed before.
  void barrier();

  // Held while nothing is executed: loading an object runs code of it.
  std::unique_lock<std::mutex> exclusive() { return std::unique_lock(mutex_); }
  bool running() const { return running_ != nullptr; }
  // Whether a code address belongs to the kernel that runs.
  bool in_kernel(uintptr_t code) const;

  void thread_changed() { memory.clock.set_thread(group.thread()); }
  void synchronised(int simd, int flags) { memory.clock.synchronised(simd, flags); }
  // Who had a number: "thread (3, 0, 0) of the grid", or a dispatch before this one.
  std::string describe(Id id) const;
  // "file:line", or "" where the place is not known.
  std::string line(const Place& place) const;
  [[noreturn]] void timed_out(const Place& place);
  void* threadgroup_variable(metal_simulator::Site* site);
  [[noreturn]] void raise(std::string what, const Place& place, const Place& other);

  Group group;
  Memory memory;

 private:
  [[noreturn]] void throw_fault();
  std::vector<void*> bind(const Dispatch& d);

  std::mutex mutex_;
  const Dispatch* running_ = nullptr;
  std::vector<std::pair<Id, std::string>> dispatches_;  // since the last barrier: first number, name
  uint64_t stamp_ = 0;
  struct Fault {
    std::string what;
    Place place, other;
    uint32_t thread = 0;
  } fault_;
  size_t threadgroup_used_ = 0, threadgroup_limit_ = 0;
};

// One for the process. An object, not a function with a static: hooks reach it with every access.
extern Executor the_executor;
inline Executor& executor() { return the_executor; }

}  // namespace mlx::core::metal::sim
