#pragma once

#include <atomic>
#include <memory>

#include "metal/device/device.h"

namespace mlx::core::metal::sim {

class SimulatedDevice final : public Device {
 public:
  SimulatedDevice();
  size_t allocated() const { return *allocated_; }
  const DeviceInfo& info() const override { return info_; }
  std::shared_ptr<Buffer> allocate(size_t length) override;
  std::shared_ptr<Buffer> wrap(void* memory, size_t length) override;
  std::shared_ptr<Library> compile(const std::string& source, const std::string& name,
                                   const CompileOptions& options) override;
  std::shared_ptr<Queue> new_queue() override;
  std::shared_ptr<Event> new_event() override;
  void set_wired_limit(size_t bytes) override;
  void start_capture(const std::string& path) override;
  void stop_capture() override;

 private:
  DeviceInfo info_;
  std::shared_ptr<std::atomic<size_t>> allocated_ = std::make_shared<std::atomic<size_t>>(0);
};

std::shared_ptr<Queue> make_queue();
std::shared_ptr<Event> make_event();

}  // namespace mlx::core::metal::sim
