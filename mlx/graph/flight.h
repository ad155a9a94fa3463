// Work that was given to the GPU and is not done yet, with the nodes whose values it makes.
//
// One tape at a time owns a flight: it encodes into it. At the end of an asynchronous tape the flight is
// parked: submitted, and open to the next tape that needs one of its values, which goes on encoding behind
// it, in the same queues and under the same pins, without waiting. Anybody may wait for a flight's oldest
// commands; nodes become available as their commands are done. Where nobody does, a thread of its own
// does (flights.h), so that memory is not pinned for longer than the work takes.
//
// What goes wrong on the device is recorded when commands are done, and settled when no kernel is being
// encoded: by the owner between nodes, or at once where there is none. A failure of the device takes along
// all values of the flight that are not there yet. A value that the device found to be wrong (an index out of
// range) takes along what was made of it, and nothing else.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "mlx/graph/backend.h"
#include "mlx/graph/fuse.h"

namespace mlx::core::detail {

// Tells those who wait for the node.
void set_status(array::ArrayDesc& node, array::Status status);
// Blocks while a tape in front of `before` computes the node.
void wait_for(const array::ArrayDesc& node, uint64_t before);

class Flight {
 public:
  using Node = array::ArrayDesc;
  Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;
  ~Flight();

  // --- for its owner ---
  // The tape encodes into it, on this thread, until `leave`.
  void enter(uint64_t serial);
  void leave();
  // Outputs of what was encoded last; `readers` are the nodes, with their inputs, that made them.
  void add(std::span<Node* const> readers, std::span<const array> outputs);
  // Is the node's value made here, and not there yet?
  bool has(const Node& node) const;
  // Values of earlier tapes that are not there yet.
  bool has_others() const;
  void submit() { work_->submit(); }
  // Waits for everything, then settles.
  void finish();
  // Between nodes: throws what went wrong with this tape's.
  void settle();
  bool in_trouble() const { return work_->trouble.load(std::memory_order_acquire); }
  void count_wait(const char* name) { work_->count_wait(name); }

  // --- for anybody ---
  // Waits for the oldest commands. False where there are none.
  bool wait_some();
  bool has_commands() const { return work_->has_commands(); }
  // Tapes all of whose values are there or lost, once.
  std::vector<uint64_t> take_finished();
  // Everything in it is lost: no tape goes on with it.
  bool is_dead() const { return dead_.load(std::memory_order_acquire); }

 private:
  struct Entry {
    std::weak_ptr<Node> node;
    const Node* key;
    Stream stream;
    size_t number;
    size_t unit;                     // the number of the first output of the same operation
    SmallVector<size_t, 4> made_of;  // numbers
    std::exception_ptr lost = nullptr;
  };
  struct OfTape {
    uint64_t serial;
    size_t end;  // of its entries
  };

  // The entry of a node, with mutex_; null where it has none.
  const Entry* find(const Node& node) const;
  void retired(GpuBackend::Work::Retired&& what);
  // With mutex_. What went wrong with entries from `own` on.
  std::exception_ptr settle_now(size_t own);
  void arrive();
  size_t end() const { return first_ + entries_.size(); }

  const std::unique_ptr<GpuBackend::Work> work_;
  mutable std::mutex mutex_;
  bool has_owner_ = false;
  size_t own_ = 0;             // number of the owner's first entry
  size_t first_ = 0;           // number of entries_[0]
  size_t done_ = 0;            // entries in front of this one were computed
  std::deque<Entry> entries_;  // numbered as Work::node counts
  std::deque<OfTape> tapes_;   // in their order
  std::vector<GpuBackend::Work::Late> late_;
  std::exception_ptr failure_;
  std::atomic<bool> dead_{false};
};

// The flight of one tape: from its first node on the GPU on, or from that of a value that it needs.
class InFlight {
 public:
  explicit InFlight(uint64_t serial) : serial_(serial) {}
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  // Finishes what was not parked.
  ~InFlight();

  bool started() const { return flight_ != nullptr; }
  void start();
  // Goes on behind work of earlier tapes that this one needs values of, if it has nodes on the GPU.
  void join(const Tape& tape);
  void add(std::span<array::ArrayDesc* const> readers, std::span<const array> outputs) {
    flight_->add(readers, outputs);
  }
  // What this tape needs of an earlier one was lost, and a later one may have claimed it.
  struct Overtaken {};
  // Waits for what this node reads and earlier tapes compute, but for what the GPU is going to have computed.
  // True where it waited: by then other values in flight may have turned out to be lost, which is to be asked
  // anew. Throws Overtaken.
  bool wait_for_inputs(const array::ArrayDesc& node);
  // Some nodes of this tape are not computed, and not those that read them.
  void leave_out() { leaves_out_ = true; }
  // The CPU is about to read these nodes' inputs, or to write into them.
  void finish_for(std::span<array::ArrayDesc* const> nodes);
  void settle() {
    if (flight_ && flight_->in_trouble()) flight_->settle();
  }
  void finish() {
    if (flight_) flight_->finish();
  }
  bool is_dead() const { return flight_ && flight_->is_dead(); }
  // Leaves what is not done to the device.
  void park();

 private:
  // Of those that are being computed: has the GPU got it to compute?
  bool is_encoded(const array::ArrayDesc& node) const;
  // Is it computed together with its consumer?
  bool is_inside(const array::ArrayDesc& input, const array::ArrayDesc& node) const;

  const uint64_t serial_;
  bool leaves_out_ = false;
  std::shared_ptr<Flight> flight_;
};

// Blocks until all that is in flight now is done.
void wait_for_flights();
// How often a tape went on behind work in flight.
uint64_t continued_flights();

}  // namespace mlx::core::detail
