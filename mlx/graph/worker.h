// The thread on which async_eval's tapes run, one after the other.
#pragma once

#include <functional>

namespace mlx::core::detail {

void enqueue(std::function<void()> task);
// Blocks while many tasks are queued: a loop that only enqueues must not outrun the machine.
void wait_for_room();
// Blocks until everything queued so far has run.
void wait_for_worker();
// For the end of the process: drops what is queued and finishes what runs.
void stop_worker();

}  // namespace mlx::core::detail
