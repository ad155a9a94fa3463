// Watching evaluation (mlx/debug.h). An Observer makes a TapeWatch for every tape that is run while it is
// registered; that lives on the thread that runs the tape and is told of each unit: a fused group, or a
// single operation.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "mlx/debug.h"
#include "mlx/graph/fuse.h"

namespace mlx::core::detail {

struct Unit {
  array::ArrayDesc& root;     // one output, where there are several; of a group, the last
  const Fuser::Nodes& group;  // in topological order, the root last; empty: no group
  const Tape& tape;
  const Fuser::Nodes& outputs;  // of the group: members, then its reductions

  // Those of the outputs that are reductions.
  std::span<array::ArrayDesc* const> reductions() const;

  // The distinct arrays that it reads. While its nodes have their inputs: before `ends`.
  std::vector<array> inputs() const;
  // The same where the nodes hold them, added to `found`: nothing is counted.
  void inputs(std::vector<const array*>& found) const;
  // The operations, joined by +.
  std::string name() const;
};

// All inputs of a unit are available from `begins` on.
class TapeWatch {
 public:
  virtual ~TapeWatch() = default;
  virtual void begins(const Unit&) {}
  // The outputs have data, the nodes still have their inputs. What it throws ends the evaluation.
  virtual void computed(const Unit&, std::vector<array>& /*outputs*/) {}
  // The unit's nodes may be gone.
  virtual void ends() {}
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual std::unique_ptr<TapeWatch> watch(const Tape& tape) = 0;
};
void add_observer(std::shared_ptr<Observer> observer);
void remove_observer(const Observer* observer);

extern std::atomic<int> observer_count;
// Is anybody watching what this thread evaluates?
bool observed_slow();
inline bool observed() { return observer_count.load(std::memory_order_relaxed) != 0 && observed_slow(); }

// What this thread evaluates while it lives is not watched: tools evaluate too.
class Unobserved {
 public:
  Unobserved() { debug::pause_watching(); }
  ~Unobserved() { debug::resume_watching(); }
  Unobserved(const Unobserved&) = delete;
  Unobserved& operator=(const Unobserved&) = delete;
};

// The watches of one tape: nothing in it where nobody watches.
class Watches {
 public:
  explicit Watches(const Tape& tape) {
    if (observed()) [[unlikely]]
      begin(tape);
  }
  ~Watches() {
    while (!watches_.empty()) watches_.pop_back();
  }
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;
  bool any() const { return !watches_.empty(); }
  void begins(const Unit& unit) {
    for (auto& watch : watches_) watch->begins(unit);
  }
  void computed(const Unit& unit, std::vector<array>& outputs) {
    for (auto& watch : watches_) watch->computed(unit, outputs);
  }
  void ends() {
    for (auto& watch : watches_) watch->ends();
  }

 private:
  void begin(const Tape& tape);
  std::vector<std::shared_ptr<Observer>> observers_;
  std::vector<std::unique_ptr<TapeWatch>> watches_;  // destroyed before their observers
};

int64_t now_ns();

// Are all elements finite? Set by each backend.
using FiniteCheck = bool (*)(const array&);
void set_finite_check(Device::DeviceType device, FiniteCheck check);
FiniteCheck finite_check(Device::DeviceType device);
using PeakMeasure = double (*)();
void set_peak_measure(PeakMeasure measure);

}  // namespace mlx::core::detail
