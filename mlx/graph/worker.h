// The thread on which async_eval's tapes run, one after the other.
#pragma once

#include <functional>

namespace mlx::core::detail {

void enqueue(std::function<void()> task);
// Blocks while many tasks are queued: a loop that only enqueues must not outrun the machine.
void wait_for_room();
// Blocks until everything queued so far has run. Answers interrupts.
void wait_for_worker();
// For the end of the process: drops what is queued and finishes what runs.
void stop_worker();
// The process ends: who waits for something that may never come gives up.
bool is_stopping();

// Held by nodes whose work others see in the order in which it is done, such as messages to other processes.
// While there is one, `eval` first waits for what the worker was given before.
class InOrder {
 public:
  InOrder();
  ~InOrder();
  InOrder(const InOrder&) = delete;
  InOrder& operator=(const InOrder&) = delete;
  static bool any();
};

}  // namespace mlx::core::detail
