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

  // Held while nothing is executed: loading an object runs code of it.
  std::unique_lock<std::mutex> exclusive() { return std::unique_lock(mutex_); }
  bool running() const { return running_ != nullptr; }

  void thread_changed() {}
  void synchronised(int, int) {}
  void* threadgroup_variable(metal_simulator::Site* site);
  [[noreturn]] void raise(std::string what, const Place& place);

  Group group;
  Memory memory;

 private:
  std::vector<void*> bind(const Dispatch& d);

  std::mutex mutex_;
  const Dispatch* running_ = nullptr;
  uint64_t stamp_ = 0;
  std::string fault_;
  size_t threadgroup_used_ = 0, threadgroup_limit_ = 0;
};

Executor& executor();

}  // namespace mlx::core::metal::sim
