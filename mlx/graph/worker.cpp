#include "mlx/graph/worker.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "mlx/graph/interrupt.h"

namespace mlx::core::detail {
namespace {

constexpr size_t kRoom = 64;
std::atomic<bool> stopping{false};
std::atomic<int> in_order{0};

class Worker {
 public:
  void enqueue(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    if (!thread_.joinable() && !stopped_) thread_ = std::thread([this] { work(); });
    queue_.push_back(std::move(task));
    changed_.notify_all();
  }
  void wait_until_below(size_t pending) {
    if (on_worker) return;
    std::unique_lock lock(mutex_);
    const auto is_below = [&] { return queue_.size() + running_ <= pending || stopped_; };
    while (!changed_.wait_for(lock, std::chrono::milliseconds(100), is_below)) {
      lock.unlock();
      check_interrupt();
      lock.lock();
    }
  }
  void stop() {
    stopping = true;
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      queue_.clear();
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }
  std::mutex& mutex() { return mutex_; }

 private:
  void work() {
    on_worker = true;
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return !queue_.empty() || stopped_; });
      if (stopped_) return;
      std::function<void()> task = std::move(queue_.front());
      queue_.pop_front();
      running_ = 1;
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
      running_ = 0;
      changed_.notify_all();
    }
  }

  static thread_local bool on_worker;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  size_t running_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

thread_local bool Worker::on_worker = false;

Worker* current = nullptr;

Worker& worker() {
  static const bool registered = [] {
    current = std::make_unique<Worker>().release();
    // Work still queued at exit is dropped; the task that runs is finished, since it uses the pool and the
    // allocator.
    std::atexit([] { current->stop(); });
    // A child of fork has no worker thread: it starts with a new one and an empty queue.
    pthread_atfork([] { current->mutex().lock(); }, [] { current->mutex().unlock(); },
                   [] { current = std::make_unique<Worker>().release(); });
    return true;
  }();
  static_cast<void>(registered);
  return *current;
}

}  // namespace

void enqueue(std::function<void()> task) { worker().enqueue(std::move(task)); }
void wait_for_room() { worker().wait_until_below(kRoom); }
void wait_for_worker() { worker().wait_until_below(0); }
bool is_stopping() { return stopping; }

InOrder::InOrder() { ++in_order; }
InOrder::~InOrder() { --in_order; }
bool InOrder::any() { return in_order > 0; }
void stop_worker() { worker().stop(); }

}  // namespace mlx::core::detail
