#include "metal/sim/event.h"

#include <algorithm>
#include <chrono>

#include "metal/sim/device.h"

namespace mlx::core::metal::sim {

uint64_t SimulatedEvent::value() const {
  const std::lock_guard lock(mutex_);
  return value_;
}

bool SimulatedEvent::wait(uint64_t value, uint64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  // More than a year is for ever; the clock's type would overflow.
  const auto most = std::chrono::hours(24 * 400);
  const auto time = std::min<std::chrono::milliseconds>(
      std::chrono::milliseconds(std::min<uint64_t>(timeout_ms, uint64_t{1} << 40)), most);
  return changed_.wait_for(lock, time, [&] { return value_ >= value; });
}

void SimulatedEvent::reach(uint64_t value, const std::string& failure) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure.empty() && value > value_) failed_.push_back({value_, value, failure});
    value_ = std::max(value_, value);
  }
  changed_.notify_all();
}

std::string SimulatedEvent::failure(uint64_t value) const {
  const std::lock_guard lock(mutex_);
  for (const Failed& f : failed_)
    if (value > f.after && value <= f.until) return f.why;
  return "";
}

std::shared_ptr<Event> make_event() { return std::make_shared<SimulatedEvent>(); }

}  // namespace mlx::core::metal::sim
