// A GPU as evaluation sees it. The layer that has one registers a function that makes it; nobody below knows
// which it is.
//
// Work on the GPU is encoded while a tape runs and done later. Until then every buffer that it touches is
// pinned (mlx/allocator.h): who wants to read a pinned buffer on the CPU finishes the work first.
#pragma once

#include <cstdint>
#include <exception>
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
  // What one evaluation gives to the GPU, from its start on the thread that runs the tape. Kernels of the
  // GPU's table encode into the one that is current on their thread. Destroying it abandons nothing: it
  // waits.
  class Work {
   public:
    // What the device found out about the work of a node: an index that is out of range. The values of that
    // node and of those behind it are lost, those in front of it are good.
    struct Late {
      std::exception_ptr error;
      size_t node;
    };
    // The number of the node that is encoded next; evaluation counts them.
    size_t node = 0;

    virtual ~Work() = default;
    // Returns when everything encoded so far is done, and throws what went wrong: Late, or an exception after
    // which all values are lost.
    virtual void finish() = 0;
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
