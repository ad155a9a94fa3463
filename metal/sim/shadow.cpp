#include "metal/sim/shadow.h"

#include <algorithm>
#include <mutex>
#include <set>

namespace mlx::core::metal::sim {

namespace {

size_t cell_bytes = 0;

// Shadows come and go with buffers, on any thread; cells belong to who executes.
struct Registry {
  std::mutex mutex;
  std::set<Shadow*> all;
};
Registry& registry() {
  static auto* const r = new Registry;
  return *r;
}

size_t size_of(unsigned shift) { return (Page::bytes >> shift) * sizeof(Cell); }

}  // namespace

void Page::refine(unsigned shift) {
  const size_t count = bytes >> shift;
  auto finer = std::make_unique<Cell[]>(count);
  if (cells_) {
    for (size_t i = 0; i < count; ++i) finer[i] = cells_[i << shift >> shift_];
    __atomic_sub_fetch(&cell_bytes, size_of(shift_), __ATOMIC_RELAXED);
  }
  __atomic_add_fetch(&cell_bytes, size_of(shift), __ATOMIC_RELAXED);
  cells_ = std::move(finer);
  shift_ = shift;
}

void Page::clear() {
  if (!cells_) return;
  __atomic_sub_fetch(&cell_bytes, size_of(shift_), __ATOMIC_RELAXED);
  cells_.reset();
}

void Shadow::clear() {
  for (Page& p : pages_) p.clear();
}

void Shadow::coarsen() {
  for (Page& p : pages_)
    if (!p.empty() && p.shift() < 2) p.clear();
}

void Shadow::enlist(bool alive) {
  if (!alive) clear();
  const std::lock_guard lock(registry().mutex);
  if (alive)
    registry().all.insert(this);
  else
    registry().all.erase(this);
}

size_t Shadow::total_bytes() { return __atomic_load_n(&cell_bytes, __ATOMIC_RELAXED); }

void Shadow::clear_all() {
  const std::lock_guard lock(registry().mutex);
  for (Shadow* s : registry().all) s->clear();
}

void Clock::start_dispatch() {
  // A quarter of all numbers is left for what one dispatch does before it has to start over.
  if (next_ > id_bits / 4 * 3) {
    Shadow::clear_all();
    next_ = barrier_base = 1;
  }
  dispatch_base = next_;
  groups.clear();
}

void Clock::start_group(uint32_t threads) {
  thread_bits_ = 0;
  while ((1u << thread_bits_) < threads) ++thread_bits_;
  if (next_ > id_bits - (Id{1} << 20)) {
    Shadow::clear_all();
    next_ = barrier_base = dispatch_base = 1;
    groups.clear();
  }
  group_base = next_;
  groups.push_back(group_base);
  tick_ = 0;
  group_since_ = {};
  simd_since_ = {};
  tracking = true;
  tick_base = group_base;
  since_base = {group_base, group_base};
  next_ = group_base + (Id{1} << thread_bits_);
}

void Clock::synchronised(int simd, int flags) {
  ++tick_;
  next_ = group_base + ((tick_ + 1) << thread_bits_);
  if (next_ > id_bits - 4096) {
    tracking = false;
    --tick_;
    return;
  }
  tick_base = group_base + (tick_ << thread_bits_);
  const auto mark = [&](Space space) {
    if (simd < 0)
      group_since_[space] = tick_, since_base[space] = tick_base;
    else
      simd_since_[space][static_cast<size_t>(simd)] = tick_;
  };
  if (flags & 1) mark(DeviceSpace);
  if (flags & 2) mark(ThreadgroupSpace);
}

}  // namespace mlx::core::metal::sim
