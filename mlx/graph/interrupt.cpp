#include "mlx/graph/interrupt.h"

#include <atomic>
#include <chrono>

namespace mlx::core {
namespace {
std::atomic<InterruptCheck> interrupt_check{nullptr};
}

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

}  // namespace mlx::core
