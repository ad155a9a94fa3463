#include "metal/sim/group.h"

#include <cstring>

#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

using metal_simulator::Exchange;
using metal_simulator::Thread;

namespace {
constexpr int barrier_operation = -1, simd_barrier_operation = -2;
}  // namespace

Group::Group() : threads_(new ThreadState[max_threads]()) {}

// What is the same in all groups of this size.
void Group::lay_out(const Layout& l) {
  const uint32_t full_threads = l.full[0] * l.full[1] * l.full[2];
  uint32_t t = 0, at[3];
  for (at[2] = 0; at[2] < l.size[2]; ++at[2])
    for (at[1] = 0; at[1] < l.size[1]; ++at[1])
      for (at[0] = 0; at[0] < l.size[0]; ++at[0], ++t) {
        auto& v = threads_[t].values.values;
        const auto set = [&](int kind, uint32_t x, uint32_t y, uint32_t z) {
          v[kind][0] = x, v[kind][1] = y, v[kind][2] = z;
        };
        const auto one = [&](int kind, uint32_t x) { set(kind, x, 1, 1); };
        const auto all = [&](int kind, const uint32_t (&x)[3]) { set(kind, x[0], x[1], x[2]); };
        using namespace metal_simulator;
        all(ThreadPositionInThreadgroup, at);
        one(ThreadIndexInThreadgroup, t);
        one(ThreadIndexInSimdgroup, t % simd_width);
        one(SimdgroupIndexInThreadgroup, t / simd_width);
        all(ThreadsPerGrid, l.threads);
        all(ThreadsPerThreadgroup, l.size);
        all(ThreadgroupsPerGrid, l.groups);
        one(SimdgroupsPerThreadgroup, simds_);
        one(ThreadsPerSimdgroup, simd_width);
        all(DispatchThreadsPerThreadgroup, l.full);
        one(DispatchSimdgroupsPerThreadgroup, (full_threads + simd_width - 1) / simd_width);
        set(GridOrigin, 0, 0, 0);
        one(ThreadIndexInQuadgroup, t % 4);
        one(QuadgroupIndexInThreadgroup, t / 4);
        one(QuadgroupsPerThreadgroup, (count_ + 3) / 4);
      }
}

void Group::place_threads(const Layout& l) {
  const auto same = [](const uint32_t (&a)[3], const uint32_t (&b)[3]) {
    return std::memcmp(a, b, sizeof(a)) == 0;
  };
  count_ = l.size[0] * l.size[1] * l.size[2];
  simds_ = (count_ + simd_width - 1) / simd_width;
  if (!same(l.size, laid_out_.size) || !same(l.full, laid_out_.full) || !same(l.groups, laid_out_.groups) ||
      !same(l.threads, laid_out_.threads)) {
    lay_out(l);
    laid_out_ = l;
  }
  for (uint32_t t = 0; t < count_; ++t) {
    auto& v = threads_[t].values.values;
    for (int i = 0; i < 3; ++i) {
      v[metal_simulator::ThreadgroupPositionInGrid][i] = l.position[i];
      v[metal_simulator::ThreadPositionInGrid][i] =
          l.position[i] * l.full[i] + v[metal_simulator::ThreadPositionInThreadgroup][i];
    }
    threads_[t].started = false;
  }
  for (uint32_t s = 0; s < simds_; ++s) {
    const uint32_t lanes = std::min(simd_width, count_ - s * simd_width);
    simd_[s].alive = simd_[s].ready = lanes == 32 ? ~0u : (1u << lanes) - 1;
    simd_[s].waiting = 0;
  }
  at_barrier_ = finished_ = 0;
}

void Group::run(const metal_simulator::Kernel* kernel, void* const* arguments, const Layout& layout) {
  kernel_ = kernel;
  arguments_ = arguments;
  place_threads(layout);
  current_ = 0;
  executor().thread_changed();
  if (free_.empty()) {
    stacks_.reserve(used_stacks_ + 1);
    free_.push_back(stacks_.prepare(used_stacks_++, &Group::entry));
  }
  void* first = free_.back();
  free_.pop_back();
  mlx_sim_switch(&main_, first);
}

void Group::entry() { executor().group.loop(); }

// The life of a stack: runs threads that have not started, and rests where somebody else goes on.
void Group::loop() {
  for (;;) {
    threads_[current_].started = true;
    kernel_->run(kernel_, &threads_[current_].values, arguments_);
    finish();
    void* rest = nullptr;
    if (finished_ == count_) {
      free_.push_back(nullptr);
      mlx_sim_switch(&free_.back(), main_);
    } else if (!next()) {
      stuck();
    } else if (threads_[current_].started) {
      free_.push_back(nullptr);
      rest = threads_[current_].stack;
      mlx_sim_switch(&free_.back(), rest);
    }
  }
}

void Group::finish() {
  SimdGroup& s = simd_[current_ / simd_width];
  const uint32_t bit = 1u << current_ % simd_width;
  ++finished_;
  s.alive &= ~bit;
  s.ready &= ~bit;
  if (at_barrier_) {
    fault("barrier that not all threads reach: " + describe(current_) + " ended while " +
              describe(first_at_barrier_) + " waits",
          threads_[first_at_barrier_].waiting.place);
  }
  if (s.waiting && s.waiting == s.alive) complete(s);
}

// Makes a thread that can go on the current one.
bool Group::next() {
  const uint32_t mine = current_ / simd_width;
  uint32_t after = simd_[mine].ready & (~0u << current_ % simd_width);
  if (!after) after = simd_[mine].ready;
  uint32_t s = mine;
  for (uint32_t i = 1; !after && i < simds_ + 1; ++i) {
    s = (mine + i) % simds_;
    after = simd_[s].ready;
  }
  if (!after) return false;
  current_ = s * simd_width + static_cast<uint32_t>(__builtin_ctz(after));
  executor().thread_changed();
  return true;
}

// Goes on with the current thread, leaving the running stack in *save.
void Group::go(void** save) {
  ThreadState& t = threads_[current_];
  void* resume = t.stack;
  if (!t.started) {
    if (free_.empty()) {
      stacks_.reserve(used_stacks_ + 1);
      free_.push_back(stacks_.prepare(used_stacks_++, &Group::entry));
    }
    resume = free_.back();
    free_.pop_back();
  }
  mlx_sim_switch(save, resume);
}

void Group::wait() {
  ThreadState& mine = threads_[current_];
  const uint32_t me = current_;
  if (!next()) stuck();
  if (current_ != me) go(&mine.stack);
}

void Group::complete(SimdGroup& s) {
  Exchange& e = s.exchange[s.phase];
  e.active = s.waiting;
  e.done = false;
  s.phase ^= 1;
  s.ready |= s.waiting;
  s.waiting = 0;
}

std::string Group::describe(uint32_t thread) const {
  const auto& p = threads_[thread].values.values[metal_simulator::ThreadPositionInThreadgroup];
  return "thread (" + std::to_string(p[0]) + ", " + std::to_string(p[1]) + ", " + std::to_string(p[2]) + ")";
}

void Group::check_same(const Waiting& mine, uint32_t other, const char* what) {
  const Waiting& theirs = threads_[other].waiting;
  if (theirs.operation == mine.operation && theirs.place.line == mine.place.line) return;
  fault(std::string("divergent ") + what + ": " + describe(current_) + " is here while " + describe(other) +
            " of its group waits at " + theirs.place.file + ":" + std::to_string(theirs.place.line),
        mine.place);
}

void Group::barrier(bool simd, int flags, const Place& place) {
  SimdGroup& s = simd_[current_ / simd_width];
  const uint32_t bit = 1u << current_ % simd_width;
  Waiting& w = threads_[current_].waiting;
  w = {simd ? simd_barrier_operation : barrier_operation, place};
  if (s.waiting)
    check_same(w, current_ / simd_width * simd_width + static_cast<uint32_t>(__builtin_ctz(s.waiting)),
               "SIMD operation");
  if (simd) {
    s.ready &= ~bit;
    s.waiting |= bit;
    if (s.waiting == s.alive) {
      complete(s);
      ++barriers;
      executor().synchronised(static_cast<int>(current_ / simd_width), flags);
    }
  } else {
    if (finished_)
      fault("barrier that not all threads reach: " + std::to_string(finished_) + " of " +
                std::to_string(count_) + " threads of the group ended before",
            place);
    if (!at_barrier_) first_at_barrier_ = current_;
    check_same(w, first_at_barrier_, "barrier");
    s.ready &= ~bit;
    if (++at_barrier_ == count_) {
      at_barrier_ = 0;
      for (uint32_t i = 0; i < simds_; ++i) simd_[i].ready = simd_[i].alive;
      ++barriers;
      executor().synchronised(-1, flags);
    }
  }
  wait();
}

Exchange* Group::meet(int operation, const void* value, unsigned size, const Place& place) {
  SimdGroup& s = simd_[current_ / simd_width];
  const uint32_t lane = current_ % simd_width;
  Waiting& w = threads_[current_].waiting;
  w = {operation, place};
  if (s.waiting)
    check_same(w, current_ - lane + static_cast<uint32_t>(__builtin_ctz(s.waiting)), "SIMD operation");
  Exchange& e = s.exchange[s.phase];
  std::memcpy(e.slots[lane], value, size);
  s.ready &= ~(1u << lane);
  s.waiting |= 1u << lane;
  if (s.waiting == s.alive) {
    ++meetings;
    complete(s);
  }
  wait();
  return &e;
}

void Group::stuck() {
  // Nobody can go on: some wait for the others of their SIMD-group, which wait at a barrier.
  for (uint32_t i = 0; i < count_; ++i)
    if (simd_[i / 32].waiting >> i % 32 & 1)
      fault("divergent SIMD operation: " + describe(i) + " waits for lanes that wait elsewhere",
            threads_[i].waiting.place);
  fault("all threads wait", threads_[current_].waiting.place);
}

void Group::abandon() {
  // The stacks hold what will never go on: start with new ones.
  free_.clear();
  for (size_t i = used_stacks_; i > 0; --i) free_.push_back(stacks_.prepare(i - 1, &Group::entry));
  void* never;
  mlx_sim_switch(&never, main_);
  __builtin_unreachable();
}

}  // namespace mlx::core::metal::sim
