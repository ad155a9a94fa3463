// The thread of a queue and what it executes.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "metal/sim/event.h"
#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

struct Barrier {};
struct WaitFor {
  std::shared_ptr<SimulatedEvent> event;
  uint64_t value;
};
struct Signal {
  std::shared_ptr<SimulatedEvent> event;
  uint64_t value;
};
using Command = std::variant<Dispatch, Barrier, WaitFor, Signal>;

// A committed command buffer.
class Work {
 public:
  std::vector<Command> commands;
  std::function<void(std::exception_ptr)> done;

  // With the reason why it is not to be executed at all, or "".
  void run(const std::string& refused);
  // Lets go of what it held and tells who waits.
  void finish();
  void wait();
  const std::string& failure() const { return failure_; }

 private:
  void step(Dispatch& d) { executor().execute(d); }
  void step(Barrier&) { executor().barrier(); }
  void step(WaitFor& w);
  void step(Signal& s) { s.event->signal(s.value); }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
  std::exception_ptr error_;
  std::string failure_;
};

class Worker {
 public:
  Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Waits for the work that was added, unless the worker itself drops the last reference to the queue.
  ~Worker();
  void add(std::shared_ptr<Work> work);

 private:
  // Kept by the thread too.
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::shared_ptr<Work>> work;
    bool stop = false, dead = false;
  };
  static void loop(State& state);

  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace mlx::core::metal::sim
