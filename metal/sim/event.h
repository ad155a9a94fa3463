#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "metal/device/device.h"

namespace mlx::core::metal::sim {

// Values that a failed command buffer should have signalled are reached nevertheless, so that nobody waits
// for ever; who waited for one of them on the device is told what failed.
class SimulatedEvent final : public Event {
 public:
  uint64_t value() const override;
  void signal(uint64_t value) override { reach(value, ""); }
  bool wait(uint64_t value, uint64_t timeout_ms) override;

  void reach(uint64_t value, const std::string& failure);
  // Why `value` was reached without its work, or "".
  std::string failure(uint64_t value) const;

 private:
  struct Failed {
    uint64_t after, until;
    std::string why;
  };
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t value_ = 0;
  std::vector<Failed> failed_;
};

}  // namespace mlx::core::metal::sim
