// The parts of the real device, which know each other.
#pragma once

#include "metal/apple/memory.h"

namespace mlx::core::metal::apple {

class ApplePipeline final : public Pipeline {
 public:
  ApplePipeline(Ref object, std::string kernel) : kernel(std::move(kernel)), object_(std::move(object)) {}
  uint32_t max_threads_per_threadgroup() const override {
    return static_cast<uint32_t>(mtl::max_total_threads(object_));
  }
  uint32_t simd_width() const override { return static_cast<uint32_t>(mtl::simd_width(object_)); }
  size_t static_threadgroup_memory() const override { return mtl::static_memory(object_); }
  Id object() const { return object_; }
  const std::string kernel;

 private:
  Ref object_;
};

class AppleEvent final : public Event {
 public:
  explicit AppleEvent(Ref object) : object_(std::move(object)) {}
  uint64_t value() const override { return mtl::signaled_value(object_); }
  void signal(uint64_t value) override { mtl::set_signaled_value(object_, value); }
  bool wait(uint64_t value, uint64_t timeout_ms) override {
    return mtl::wait_until_signaled(object_, value, timeout_ms);
  }
  Id object() const { return object_; }

 private:
  Ref object_;
};

std::shared_ptr<Library> make_library(Ref device, Ref library, std::string name);
std::shared_ptr<Queue> make_queue(Ref device, std::shared_ptr<Residency> residency);

}  // namespace mlx::core::metal::apple
