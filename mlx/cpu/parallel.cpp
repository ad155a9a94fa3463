#include "mlx/cpu/parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "mlx/graph/system.h"

#ifdef MLX_X86
#include <immintrin.h>
#endif

namespace mlx::core::cpu {
namespace {

int default_threads() {
  if (const char* text = std::getenv("MLX_NUM_THREADS")) {
    const int n = std::atoi(text);
    if (n >= 1) return std::min(n, 1024);
  }
  return system::usable_cpus();
}

void pause() {
#ifdef MLX_X86
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// One call of parallel_for. Lives on the caller's stack; `users` counts the workers that still look at it.
struct Job {
  Job(ItemFunction f, int64_t items) : f(f), items(items) {}
  const ItemFunction f;
  const int64_t items;
  std::atomic<int64_t> next{0};
  std::atomic<int> users{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  std::mutex error_mutex;

  void fail() {
    std::lock_guard lock(error_mutex);
    if (!error) error = std::current_exception();
    failed = true;
  }
  bool run_one() {
    const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= items || failed.load(std::memory_order_relaxed)) return false;
    try {
      f(item);
    } catch (...) {
      fail();
    }
    return true;
  }
};

thread_local bool inside_item = false;

// Workers spin for a while after a job (the next one of a graph follows within microseconds), then sleep.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }
  // False where the pool is busy with another caller's job: the caller then runs its items alone.
  bool run(Job& job) {
    std::unique_lock owner(owner_, std::try_to_lock);
    if (!owner) return false;
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (sleepers_.load() > 0) wake_.notify_all();
    finish(job);
    {
      std::lock_guard lock(mutex_);
      job_ = nullptr;
    }
    while (job.users.load(std::memory_order_acquire) > 0) pause();
    return true;
  }
  static void finish(Job& job) {
    inside_item = true;
    while (job.run_one()) {
      try {
        check_interrupt();
      } catch (...) {
        job.fail();
      }
    }
    inside_item = false;
  }

 private:
  void work() {
    inside_item = true;
    uint64_t seen = 0;
    while (true) {
      uint64_t now = generation_.load(std::memory_order_acquire);
      for (int spin = 0; now == seen && spin < 4000; ++spin) {
        pause();
        now = generation_.load(std::memory_order_acquire);
      }
      Job* job = nullptr;
      {
        std::unique_lock lock(mutex_);
        if (generation_.load() == seen && !stop_) {
          ++sleepers_;
          wake_.wait(lock, [&] { return generation_.load() != seen || stop_; });
          --sleepers_;
        }
        if (stop_) return;
        seen = generation_.load();
        job = job_;
        if (job) job->users.fetch_add(1, std::memory_order_relaxed);
      }
      if (!job) continue;
      while (job->run_one()) {
      }
      job->users.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex owner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> sleepers_{0};
  Job* job_ = nullptr;
  bool stop_ = false;
};

std::atomic<Pool*> current_pool{nullptr};
std::mutex pool_mutex;

// A child of fork has none of the parent's threads: it forgets the pool (leaking its memory, since joining
// threads that do not exist would hang) and builds its own on first use.
void forget_pool() {
  current_pool.store(nullptr);
  new (&pool_mutex) std::mutex;
}

Pool& pool() {
  if (Pool* p = current_pool.load(std::memory_order_acquire)) return *p;
  std::lock_guard lock(pool_mutex);
  if (Pool* p = current_pool.load()) return *p;
  static const bool registered = pthread_atfork(nullptr, nullptr, forget_pool) == 0;
  static_cast<void>(registered);
  // Never destroyed: threads may still evaluate while static destructors run.
  auto made = std::make_unique<Pool>(num_threads());
  current_pool.store(made.get(), std::memory_order_release);
  return *made.release();
}

}  // namespace

int num_threads() {
  static const int threads = default_threads();
  return threads;
}

void parallel_for(int64_t items, ItemFunction f) {
  if (items <= 0) return;
  if (items == 1 || inside_item || num_threads() == 1) {
    for (int64_t i = 0; i < items; ++i) {
      f(i);
      if (!inside_item) check_interrupt();
    }
    return;
  }
  Job job(f, items);
  if (!pool().run(job)) Pool::finish(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mlx::core::cpu
