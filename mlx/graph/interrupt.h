// Stopping a long evaluation from outside.
#pragma once

namespace mlx::core {

// Asked now and then by the thread that evaluates; throws to stop the evaluation, whose nodes then go back to
// pending. The bindings install one that answers Ctrl-C.
using InterruptCheck = void (*)();
void set_interrupt_check(InterruptCheck check);
// Calls it, at most every 50 ms per thread.
void check_interrupt();

}  // namespace mlx::core
