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
// The items lie in shares, one for each thread that begins there and goes on to the next share where its own
// is done; without an order there is one share for all.
struct Job {
  static constexpr int64_t kShares = 32;
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };

  Job(ItemFunction f, int64_t items, int64_t wanted, Interrupts interrupts)
      : f(f), interrupts(interrupts), shares(std::clamp<int64_t>(std::min(items, wanted), 1, kShares)) {
    for (int64_t k = 0; k < shares; ++k) {
      share[k].next.store(items * k / shares, std::memory_order_relaxed);
      share[k].end = items * (k + 1) / shares;
    }
  }
  const ItemFunction f;
  const Interrupts interrupts;
  const int64_t shares;
  Share share[kShares];
  std::atomic<int> users{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  std::mutex error_mutex;

  void fail() {
    std::lock_guard lock(error_mutex);
    if (!error) error = std::current_exception();
    failed = true;
  }
  // Thread `mine` takes an item: of its share, after as many others as it `passed`. False: none is left.
  bool run_one(int64_t mine, int64_t& passed) {
    for (; passed < shares; ++passed) {
      if (failed.load(std::memory_order_relaxed)) return false;
      Share& from = share[(mine + passed) % shares];
      const int64_t item = from.next.fetch_add(1, std::memory_order_relaxed);
      if (item >= from.end) continue;
      try {
        f(item);
      } catch (...) {
        fail();
      }
      return true;
    }
    return false;
  }
};

thread_local bool inside_item = false;

// Workers spin for a while after a job (the next one of a graph follows within microseconds), then sleep.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
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
    for (int64_t passed = 0; job.run_one(0, passed);) {
      if (job.interrupts == Interrupts::held) continue;
      try {
        check_interrupt();
      } catch (...) {
        job.fail();
      }
    }
    inside_item = false;
  }

 private:
  void work(int number) {
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
      for (int64_t passed = 0; job->run_one(number, passed);) {
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

void parallel_for(int64_t items, ItemFunction f, Order order, Interrupts interrupts) {
  if (items <= 0) return;
  if (items == 1 || inside_item || num_threads() == 1) {
    for (int64_t i = 0; i < items; ++i) {
      f(i);
      if (!inside_item && interrupts == Interrupts::answered) check_interrupt();
    }
    return;
  }
  Job job(f, items, order == Order::shares ? num_threads() : 1, interrupts);
  if (!pool().run(job)) Pool::finish(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mlx::core::cpu
