// A GPU as evaluation sees it. The layer that has one registers a function that makes it; nobody below knows
// which it is.
//
// Work on the GPU is encoded while a tape runs and done later. Until then every buffer that it touches is
// pinned (mlx/allocator.h): who wants to read a pinned buffer on the CPU finishes the work first.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "mlx/primitives.h"

namespace mlx::core {

class GpuBackend {
 public:
  // What tapes give to the GPU, one after the other: each has it for itself from `enter` to `leave`. Kernels
  // of the GPU's table encode into the one that is current on their thread. Destroying it abandons nothing:
  // it waits.
  class Work {
   public:
    // What the device found out about the work of a node: an index that is out of range.
    struct Late {
      std::exception_ptr error;
      size_t node;
    };
    // Commands that are done: nodes in front of the `nodes`-th are computed, unless something went wrong.
    struct Retired {
      size_t nodes;
      std::vector<Late> late;
      std::exception_ptr error;  // of the device: all that is not computed yet is lost
    };
    // Thrown by kernels that wait for values where something went wrong with them: evaluation knows what.
    struct Stopped {};

    // The number of the node that is encoded next; evaluation counts them.
    size_t node = 0;
    // Told of commands in their order, on any thread, but never by two at a time.
    std::function<void(Retired&&)> retired;
    // Something went wrong that evaluation has not settled yet. True before the memory of what is wrong
    // counts as unused.
    std::atomic<bool> trouble{false};

    Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    virtual ~Work() = default;

    // This thread encodes from here on.
    virtual void enter() = 0;
    virtual void leave() = 0;
    // Gives to the device what is encoded: all nodes so far are in commands that can be waited for.
    virtual void submit() = 0;
    virtual void count_wait(const std::string& name) = 0;

    // For any thread: waits for the oldest commands that were submitted and tells of them, unless somebody
    // else did. False where there are none.
    virtual bool retire() = 0;
    virtual bool has_commands() const = 0;
  };
  virtual std::unique_ptr<Work> begin() = 0;
  // Runs a primitive by its kernel or, where there is none, by the one of the CPU; to be called by
  // Primitive::eval_gpu.
  virtual void run(Primitive& primitive, const std::vector<array>& inputs, std::vector<array>& outputs) = 0;

  using Info = std::unordered_map<std::string, std::variant<std::string, size_t>>;
  virtual const Info& info() const = 0;
  virtual size_t set_wired_limit(size_t limit) = 0;  // returns the previous one
  virtual void start_capture(const std::string& path) = 0;
  virtual void stop_capture() = 0;
  // How often the CPU ran a primitive (or a group with a step) of this name for the GPU.
  virtual std::map<std::string, uint64_t> hand_overs() const = 0;
  // How often encoding a primitive of this name waited for values that the GPU was still computing.
  virtual std::map<std::string, uint64_t> waits() const = 0;

  GpuBackend() = default;
  GpuBackend(const GpuBackend&) = delete;
  GpuBackend& operator=(const GpuBackend&) = delete;
  virtual ~GpuBackend() = default;
};

// Does work that is not done yet use the memory of one of these?
bool used_by_gpu(const std::vector<array>& arrays);

// Null where the machine has none. The first call asks for it.
GpuBackend* gpu_backend();
// `make` returns null where the machine has no such GPU. To be called while the library is loaded.
bool add_gpu_backend(GpuBackend* (*make)());

}  // namespace mlx::core
