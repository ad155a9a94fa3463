#include "mlx/graph/interrupt.h"

#include <atomic>
#include <chrono>

namespace mlx::core {
namespace {
std::atomic<InterruptCheck> interrupt_check{nullptr};
std::atomic<const OuterLock*> outer_lock{nullptr};
}  // namespace

void set_interrupt_check(InterruptCheck check) { interrupt_check = check; }

void check_interrupt() {
  const InterruptCheck check = interrupt_check.load(std::memory_order_relaxed);
  if (!check) return;
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point last{};
  const auto now = Clock::now();
  if (now - last < std::chrono::milliseconds(50)) return;
  last = now;
  check();
}

void set_outer_lock(const OuterLock& lock) {
  static const OuterLock kept = lock;
  outer_lock = &kept;
}

WithoutOuterLock::WithoutOuterLock() {
  const OuterLock* lock = outer_lock.load(std::memory_order_acquire);
  held_ = lock ? lock->release() : nullptr;
}
WithoutOuterLock::~WithoutOuterLock() {
  if (held_) outer_lock.load(std::memory_order_acquire)->acquire(held_);
}

}  // namespace mlx::core
