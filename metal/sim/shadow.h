// Who touched what, and when: for each piece of memory the last write and the last read, so that two accesses
// that nothing orders are found when the second one happens.
//
// An access is known by a number that grows with time: every group of every dispatch has a range of its own,
// in it each barrier begins a new tick, and in a tick every thread has its number. So "before the last
// barrier()", "by another group", "by another thread since the last barrier" are comparisons.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <algorithm>

namespace mlx::core::metal::sim {

using Id = uint32_t;
constexpr Id id_bits = (Id{1} << 30) - 1;

struct Cell {
  // Id of the last write; with `atomic`, and with `others` where another group wrote it (atomically) too.
  static constexpr Id atomic = Id{1} << 31, others = Id{1} << 30;
  // Id of the last read; with `others` where another group read it since the last barrier(), and with `many`
  // where several threads of the group read it since their last barrier.
  static constexpr Id many = Id{1} << 31;
  Id write = 0, read = 0;
  // Where: an offset in the object's code, or `line_bit` and a line.
  static constexpr uint32_t line_bit = uint32_t{1} << 31;
  uint32_t write_at = 0, read_at = 0;
};

// Cells for a page of memory, as coarse as the accesses to it allow: one for 2^shift bytes.
class Page {
 public:
  static constexpr size_t bits = 12, bytes = size_t{1} << bits;

  bool empty() const { return !cells_; }
  Cell* at(uintptr_t offset) const { return cells_.get() + (offset >> shift_); }
  unsigned shift() const { return shift_; }
  // Makes the cells as fine as 2^shift bytes.
  void refine(unsigned shift);
  void clear();

 private:
  std::unique_ptr<Cell[]> cells_;
  unsigned shift_ = 0;
};

// The cells of one buffer.
class Shadow {
 public:
  explicit Shadow(size_t bytes) : pages_((bytes + Page::bytes - 1) >> Page::bits) { enlist(true); }
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;
  ~Shadow() { enlist(false); }
  Page& page(uintptr_t offset) { return pages_[offset >> Page::bits]; }
  void clear();
  // Forgets what made pages finer than 4 bytes.
  void coarsen();

  // Of all shadows in the process.
  static size_t total_bytes();
  static void clear_all();

 private:
  void enlist(bool alive);
  std::vector<Page> pages_;
};

enum Space { DeviceSpace, ThreadgroupSpace };

// The time of the thread that runs, and which accesses came before it.
class Clock {
 public:
  void start_command_buffer() { barrier_base = next_; }
  void start_barrier() { barrier_base = next_; }
  void start_dispatch();
  void start_group(uint32_t threads);
  void set_thread(uint32_t thread) {
    thread_ = thread;
    id = group_base + (tick_ << thread_bits_) + thread;
  }
  // A barrier of the group (simd < 0) or of one of its SIMD-groups; flags as in mem_flags.
  void synchronised(int simd, int flags);

  // Whether an access of this dispatch or since the last barrier() came before what the thread does now.
  bool ordered(Id earlier, Space space) const {
    if (earlier < group_base) return false;
    const Id r = earlier - group_base, thread = r & ((Id{1} << thread_bits_) - 1);
    return thread == thread_ || r >> thread_bits_ < since(thread, space);
  }
  // Whether `earlier`, of this thread, came before a barrier that its group or SIMD-group had since.
  bool synchronised_since(Id earlier, Space space) const {
    return (earlier - group_base) >> thread_bits_ < since(thread_, space);
  }
  uint32_t thread_of(Id earlier) const { return (earlier - group_base) & ((Id{1} << thread_bits_) - 1); }

  Id id = 1;
  // Of this group: where its tick begins, and where what its last barrier did not order begins.
  Id tick_base = 1;
  std::array<Id, 2> since_base{1, 1};
  Id group_base = 1, dispatch_base = 1, barrier_base = 1;
  bool tracking = true;  // off where numbers ran out in the middle of a group

  // The groups of this dispatch: where the numbers of each begin.
  std::vector<Id> groups;

 private:
  Id since(uint32_t other, Space space) const {
    const Id group = group_since_[space];
    return other / 32 == thread_ / 32 ? std::max(group, simd_since_[space][thread_ / 32]) : group;
  }

  Id next_ = 1, tick_ = 0;
  unsigned thread_bits_ = 0;
  uint32_t thread_ = 0;
  std::array<Id, 2> group_since_{};
  std::array<std::array<Id, 32>, 2> simd_since_{};
};

}  // namespace mlx::core::metal::sim
