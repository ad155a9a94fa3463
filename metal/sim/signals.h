// Faults that the machine finds in a kernel (a stack that is too deep, a division that traps) and kernels
// that do not end, both as faults of the dispatch.
#pragma once

#include <csignal>
#include <ctime>

namespace mlx::core::metal::sim {

// While it lives, SIGSEGV, SIGBUS and SIGFPE of this thread in a kernel become faults; others go to whom they
// went before.
class CatchSignals {
 public:
  CatchSignals();
  CatchSignals(const CatchSignals&) = delete;
  CatchSignals& operator=(const CatchSignals&) = delete;
  ~CatchSignals();
};

// Limits the processor time of this thread while it lives: a kernel that runs longer is ended.
class Watchdog {
 public:
  explicit Watchdog(double seconds);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();
  static bool expired();

 private:
  timer_t timer_{};
  bool armed_ = false;
};

// MLX_METAL_SIMULATOR_TIMEOUT in seconds; 60 where it is not set.
double time_limit();

// Called once by each thread that executes: a stack for handlers, and no signals of others.
void prepare_thread_for_signals();

}  // namespace mlx::core::metal::sim
