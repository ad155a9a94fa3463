// All flights (flight.h), those who wait for them, and those who wait for nodes that other threads compute.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <thread>

#include "mlx/graph/flight.h"
#include "mlx/graph/worker.h"

namespace mlx::core::detail {

// Flights of different tapes that the GPU may work on at a time, apart from synchronous ones.
inline constexpr size_t kMostFlights = 4;

// By the tapes whose values they make. Whoever waits for a node waits on `changed_`.
class Flights {
 public:
  static Flights& all() {
    static const bool made = [] {
      current = std::make_unique<Flights>().release();  // never destroyed: threads wait on it
      // A child has no GPU: what its parent has in flight, and who waits for it there, is left to the parent.
      pthread_atfork([] { current->mutex_.lock(); }, [] { current->mutex_.unlock(); },
                     [] { current = std::make_unique<Flights>().release(); });
      return true;
    }();
    static_cast<void>(made);
    return *current;
  }

  void set_status(array::ArrayDesc& node, array::Status status) {
    node.status.store(status, std::memory_order_seq_cst);
    if (waiters_.load(std::memory_order_seq_cst) == 0) return;
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  // While a tape in front of `before` computes it.
  void wait_for(const array::ArrayDesc& node, uint64_t before) {
    const Waiting waiting(*this);
    std::unique_lock lock(mutex_);
    while (is_computed(node, before))
      if (!help(lock, find(node.tape)) && is_computed(node, before)) changed_.wait(lock);
  }

  // A flight that the tape is going to own.
  void add(uint64_t serial, const std::shared_ptr<Flight>& flight) {
    std::lock_guard lock(mutex_);
    owned_.push_back(flight.get());
    by_tape_[serial] = flight;
  }
  // The one that makes the node's value, for the tape to own, when those that came before it have encoded
  // what they have; null where the value is there, lost, or another tape's by then.
  std::shared_ptr<Flight> take(const array::ArrayDesc& node, uint64_t serial) {
    const Waiting waiting(*this);
    std::unique_lock lock(mutex_);
    while (is_computed(node, serial)) {
      if (std::shared_ptr<Flight> flight = find(node.tape);
          flight && !flight->is_dead() && !is_owned(*flight)) {
        owned_.push_back(flight.get());
        by_tape_[serial] = flight;
        return flight;
      }
      changed_.wait(lock);  // without keeping the flight, whose end takes the lock
    }
    return nullptr;
  }
  void give(const Flight& flight) {
    std::lock_guard lock(mutex_);
    std::erase(owned_, &flight);
    if (!finisher_ && !stopped_ && flight.has_commands())
      finisher_ = std::make_unique<std::thread>([this] { finish_all(); }).release();
    if (finisher_) finish_at_exit();
    changed_.notify_all();
  }
  void forget(const std::vector<uint64_t>& tapes) {
    if (tapes.empty()) return;
    std::vector<std::shared_ptr<Flight>> last;  // destroyed without the lock
    std::lock_guard lock(mutex_);
    for (const uint64_t serial : tapes)
      if (const auto at = by_tape_.find(serial); at != by_tape_.end()) {
        last.push_back(std::move(at->second));
        by_tape_.erase(at);
      }
    changed_.notify_all();
  }

  // Those that are on their way when it is called.
  void wait_for_all() {
    std::unique_lock lock(mutex_);
    if (by_tape_.empty()) return;
    const uint64_t last = by_tape_.rbegin()->first;
    while (!by_tape_.empty() && by_tape_.begin()->first <= last)
      if (!help_first(lock)) changed_.wait(lock);
  }
  // The device is not to be outrun by tapes that do not need each other.
  void wait_for_room() {
    std::unique_lock lock(mutex_);
    while (parked() >= kMostFlights)
      if (!help_first(lock)) changed_.wait(lock);
  }

 private:
  struct Waiting {
    explicit Waiting(Flights& all) : all_(all) { ++all_.waiters_; }
    ~Waiting() { --all_.waiters_; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    Flights& all_;
  };
  static bool is_computed(const array::ArrayDesc& node, uint64_t before) {
    return node.status.load() == array::Status::evaluated && node.tape < before;
  }
  std::shared_ptr<Flight> find(uint64_t serial) const {
    const auto at = by_tape_.find(serial);
    return at == by_tape_.end() ? nullptr : at->second;
  }
  bool is_owned(const Flight& flight) const {
    return std::find(owned_.begin(), owned_.end(), &flight) != owned_.end();
  }
  size_t parked() const {
    std::vector<const Flight*> distinct;
    for (const auto& [serial, flight] : by_tape_)
      if (!is_owned(*flight) && std::find(distinct.begin(), distinct.end(), flight.get()) == distinct.end())
        distinct.push_back(flight.get());
    return distinct.size();
  }
  // True where something may have changed; false: there is nothing to wait for but others.
  bool help(std::unique_lock<std::mutex>& lock, std::shared_ptr<Flight> flight) {
    if (!flight) return false;
    lock.unlock();
    const bool helped = flight->wait_some();
    flight = nullptr;  // which may be the end of it: without the lock
    lock.lock();
    return helped;
  }
  // The first that has commands to wait for.
  bool help_first(std::unique_lock<std::mutex>& lock) {
    for (const auto& [serial, flight] : by_tape_)
      if (flight->has_commands()) {
        help(lock, flight);
        return true;
      }
    return false;
  }

  // Waits where nobody else does.
  void finish_all() {
    std::unique_lock lock(mutex_);
    while (!stopped_)
      if (!help_first(lock)) changed_.wait(lock);
  }
  // As late as possible, when what a device makes with its first work is there: what is made later goes
  // first.
  static void finish_at_exit() {
    static const bool registered = std::atexit([] {
                                     stop_worker();
                                     current->stop();
                                   }) == 0;
    static_cast<void>(registered);
  }
  // What the device does is finished.
  void stop() {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
    lock.unlock();
    if (finisher_) finisher_->join();
    lock.lock();
    while (help_first(lock)) {
    }
  }

  static inline Flights* current = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> waiters_{0};
  std::map<uint64_t, std::shared_ptr<Flight>> by_tape_;
  std::vector<const Flight*> owned_;
  std::thread* finisher_ = nullptr;
  bool stopped_ = false;
};

}  // namespace mlx::core::detail
