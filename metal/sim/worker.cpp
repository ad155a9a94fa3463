#include "metal/sim/worker.h"

#include "metal/sim/counters.h"
#include "metal/sim/signals.h"

namespace mlx::core::metal::sim {

void Work::step(WaitFor& w) {
  // Slices are counted, not the clock: a process may be stopped for a while.
  for (double left = time_limit(); !w.event->wait(w.value, 100); left -= 0.1)
    if (left < 0)
      throw DeviceError("[wait_for] the command buffer ran out of time: an event did not reach " +
                        std::to_string(w.value));
  if (const std::string why = w.event->failure(w.value); !why.empty())
    throw DeviceError("[wait_for] what the command buffer waits for failed: " + why);
  executor().barrier();
}

void Work::run(const std::string& refused) {
  try {
    if (!refused.empty()) throw DeviceError(refused);
    const Watchdog watchdog(time_limit());
    if (injected(Injection::TimeOut)) throw DeviceError("[command buffer] ran out of time");
    executor().barrier();
    for (Command& c : commands) std::visit([this](auto& command) { step(command); }, c);
  } catch (const std::exception& e) {
    error_ = std::current_exception();
    failure_ = e.what();
    for (Command& c : commands)
      if (const auto* s = std::get_if<Signal>(&c)) s->event->reach(s->value, failure_);
  }
}

void Work::finish() {
  commands.clear();
  if (done) done(error_);
  done = {};
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

void Work::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return finished_; });
  if (error_) std::rethrow_exception(error_);
}

Worker::Worker() : state_(std::make_shared<State>()), thread_([state = state_] { loop(*state); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  if (thread_.get_id() == std::this_thread::get_id())
    thread_.detach();
  else
    thread_.join();
}

void Worker::add(std::shared_ptr<Work> work) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->work.push_back(std::move(work));
  }
  state_->changed.notify_all();
}

void Worker::loop(State& s) {
  prepare_thread_for_signals();
  // What was committed before a failure was known is not executed: it may depend on what failed.
  std::string failure;
  size_t ignored = 0;
  for (;;) {
    std::shared_ptr<Work> work;
    {
      std::unique_lock lock(s.mutex);
      s.changed.wait(lock, [&] { return s.stop || !s.work.empty(); });
      if (s.work.empty()) return;
      work = std::move(s.work.front());
      s.work.pop_front();
    }
    std::string refused;
    if (ignored) {
      --ignored;
      refused = "[command buffer] not executed, because one before it failed: " + failure;
    } else if (s.dead || injected(Injection::DeadQueue)) {
      s.dead = true;
      refused = "[command buffer] the queue is dead";
    }
    work->run(refused);
    if (!work->failure().empty() && refused.empty()) {
      failure = work->failure();
      const std::lock_guard lock(s.mutex);
      ignored = s.work.size();
    }
    work->finish();
  }
}

}  // namespace mlx::core::metal::sim
