// What an evaluation has to do with the program around it: it can be stopped, and holds no lock of the
// program's.
#pragma once

namespace mlx::core {

// Asked now and then by the thread that evaluates; throws to stop the evaluation, whose nodes then go back to
// pending. The bindings install one that answers Ctrl-C.
using InterruptCheck = void (*)();
void set_interrupt_check(InterruptCheck check);
// Calls it, at most every 50 ms per thread.
void check_interrupt();

// A lock around everything that the program does, as Python has one. Evaluation waits for other threads, and
// these may need that lock to finish: to answer the interrupt check, or to free what came from Python.
// `release` gives up the lock and returns what `acquire` takes it back with; null where this thread does not
// hold it.
struct OuterLock {
  void* (*release)();
  void (*acquire)(void*);
};
void set_outer_lock(const OuterLock& lock);

// Holds no outer lock while it lives.
class WithoutOuterLock {
 public:
  WithoutOuterLock();
  ~WithoutOuterLock();
  WithoutOuterLock(const WithoutOuterLock&) = delete;
  WithoutOuterLock& operator=(const WithoutOuterLock&) = delete;

 private:
  void* held_;
};

}  // namespace mlx::core
