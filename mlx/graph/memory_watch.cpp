#include "mlx/graph/memory_watch.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "mlx/debug.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/origin.h"
#include "mlx/graph/worker.h"
#include "mlx/memory.h"

namespace mlx::core {
namespace detail {

std::atomic<int> allocation_watchers{0};

namespace {

// What runs on this thread, and what ran last on any: kernels allocate scratch on threads of the pool.
struct Running {
  std::string operation;
  uint32_t origin = 0;
  bool on = false;
};
thread_local Running running;
std::mutex watch_mutex;
Running ran_last;                        // guarded by watch_mutex
std::vector<class AllocationLog*> logs;  // guarded by watch_mutex

class AllocationLog {
 public:
  explicit AllocationLog(int64_t active) : peak_(active), before_(active), before_at_peak_(active) {}

  void allocated(const void* buffer, int64_t bytes, const Running& by, int64_t active, int64_t cached) {
    const auto [at, is_new] = index_.try_emplace({by.origin, by.operation}, shares_.size());
    if (is_new) shares_.push_back({by.origin, by.operation, 0, 0, 0});
    live_[buffer] = {at->second, bytes};
    change(shares_[at->second], bytes);
    if (active <= peak_) return;
    peak_ = active;
    cached_ = cached;
    before_at_peak_ = before_;
    gone_at_peak_ = gone_.size();
    ++epoch_;  // all changes are before the peak now
  }
  void freed(const void* buffer, int64_t bytes) {
    const auto at = live_.find(buffer);
    if (at == live_.end()) {
      before_ -= bytes;
      gone_.emplace_back(reinterpret_cast<std::uintptr_t>(buffer), bytes);
      return;
    }
    change(shares_[at->second.share], -bytes);
    live_.erase(at);
  }
  debug::MemoryData data() const {
    debug::MemoryData data{peak_, before_at_peak_, cached_, {}, {}};
    for (const Share& s : shares_) {
      const int64_t bytes = s.live - (s.epoch == epoch_ ? s.since_peak : 0);
      if (bytes != 0) data.shares.push_back({s.origin, s.operation, bytes});
    }
    data.gone.assign(gone_.begin(), gone_.begin() + static_cast<std::ptrdiff_t>(gone_at_peak_));
    return data;
  }

 private:
  struct Share {
    uint32_t origin;
    std::string operation;
    int64_t live;
    int64_t since_peak;  // of live, where `epoch` is that of the peak
    uint64_t epoch;
  };
  struct Live {
    size_t share;
    int64_t bytes;
  };
  void change(Share& share, int64_t bytes) const {
    share.live += bytes;
    if (share.epoch != epoch_) {
      share.epoch = epoch_;
      share.since_peak = 0;
    }
    share.since_peak += bytes;
  }

  int64_t peak_, before_, before_at_peak_, cached_ = 0;
  uint64_t epoch_ = 1;
  std::vector<Share> shares_;
  std::map<std::pair<uint32_t, std::string>, size_t> index_;
  std::unordered_map<const void*, Live> live_;
  std::vector<std::pair<std::uintptr_t, int64_t>> gone_;
  size_t gone_at_peak_ = 0;
};

}  // namespace

void AllocationHook::begin(Call call) {
  // Before the lock: asking the program for its place may run destructors, which free.
  if (call == malloc && !running.on && recording_origins()) origin_ = new_origin();
  lock_ = std::unique_lock(watch_mutex);
}
void AllocationHook::tell_allocated(const void* buffer, size_t bytes, size_t active, size_t cached) {
  const Running here{"", origin_, false};
  const Running& by = running.on ? running : origin_ == 0 && ran_last.on ? ran_last : here;
  for (AllocationLog* log : logs)
    log->allocated(buffer, static_cast<int64_t>(bytes), by, static_cast<int64_t>(active),
                   static_cast<int64_t>(cached));
}
void AllocationHook::tell_freed(const void* buffer, size_t bytes) {
  for (AllocationLog* log : logs) log->freed(buffer, static_cast<int64_t>(bytes));
}

namespace {

class RunningWatch : public TapeWatch {
 public:
  void begins(const Unit& unit) override {
    running = {unit.name(), unit.root.origin, true};
    std::lock_guard lock(watch_mutex);
    ran_last = running;
  }
  void ends() override { rest(); }
  ~RunningWatch() override { rest(); }  // also where a kernel has thrown

 private:
  static void rest() {
    running.on = false;
    std::lock_guard lock(watch_mutex);
    ran_last.on = false;
  }
};

}  // namespace
}  // namespace detail

namespace debug {

class MemoryWatch::Impl : public detail::Observer {
 public:
  Impl() : log_(static_cast<int64_t>(locked_active())) {
    detail::logs.push_back(&log_);
    ++detail::allocation_watchers;
    lock_.unlock();
  }
  void stop() {
    std::lock_guard lock(detail::watch_mutex);
    if (std::erase(detail::logs, &log_) > 0) --detail::allocation_watchers;
  }
  std::unique_ptr<detail::TapeWatch> watch(const Tape&) override {
    return std::make_unique<detail::RunningWatch>();
  }
  MemoryData data() const {
    std::lock_guard lock(detail::watch_mutex);
    return log_.data();
  }

 private:
  size_t locked_active() {
    lock_ = std::unique_lock(detail::watch_mutex);
    return get_active_memory();
  }
  std::unique_lock<std::mutex> lock_;
  detail::AllocationLog log_;
};

MemoryWatch::MemoryWatch() : impl_(std::make_shared<Impl>()) { detail::add_observer(impl_); }
MemoryWatch::~MemoryWatch() { stop(); }
void MemoryWatch::stop() {
  detail::wait_for_worker();  // what was begun in the block is part of it
  detail::remove_observer(impl_.get());
  impl_->stop();
}
MemoryData MemoryWatch::data() const { return impl_->data(); }

}  // namespace debug
}  // namespace mlx::core
