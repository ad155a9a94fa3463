#include "mlx/graph/observe.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "mlx/primitives.h"

namespace mlx::core {
namespace detail {

std::atomic<int> observer_count{0};

namespace {

std::mutex observers_mutex;
std::vector<std::shared_ptr<Observer>> observers;  // guarded by observers_mutex
thread_local int unobserved = 0;
FiniteCheck finite_checks[2] = {nullptr, nullptr};
PeakMeasure peak_measure = nullptr;

}  // namespace

void add_observer(std::shared_ptr<Observer> observer) {
  std::lock_guard lock(observers_mutex);
  observers.push_back(std::move(observer));
  observer_count = static_cast<int>(observers.size());
}
void remove_observer(const Observer* observer) {
  std::lock_guard lock(observers_mutex);
  std::erase_if(observers, [&](const auto& o) { return o.get() == observer; });
  observer_count = static_cast<int>(observers.size());
}

bool observed_slow() { return unobserved == 0; }

void Watches::begin(const Tape& tape) {
  {
    std::lock_guard lock(observers_mutex);
    observers_ = observers;
  }
  for (const auto& observer : observers_) watches_.push_back(observer->watch(tape));
}

void Unit::inputs(std::vector<const array*>& found) const {
  const auto add = [&](const array& input) {
    const bool known =
        std::any_of(found.begin(), found.end(), [&](const array* a) { return a->id() == input.id(); });
    if (!known) found.push_back(&input);
  };
  if (group.empty()) {
    for (const array& input : root.inputs) add(input);
    return;
  }
  for (const array::ArrayDesc* node : group) {
    for (const array& input : node->inputs) {
      const array::ArrayDesc& in = *input.desc();
      const bool inside = in.tape == tape.serial && in.fused == root.fused &&
                          in.status.load(std::memory_order_relaxed) == array::Status::evaluated;
      if (!inside) add(input);
    }
  }
}
std::vector<array> Unit::inputs() const {
  std::vector<const array*> found;
  inputs(found);
  std::vector<array> held;
  for (const array* a : found) held.push_back(*a);
  return held;
}

std::span<array::ArrayDesc* const> Unit::reductions() const {
  const auto first = std::find_if(outputs.begin(), outputs.end(),
                                  [](const array::ArrayDesc* node) { return !Fuser::is_elementwise(*node); });
  return {first, outputs.end()};
}

std::string Unit::name() const {
  if (group.empty()) return root.primitive->name();
  std::string all;
  const auto add = [&](const array::ArrayDesc* node) {
    if (!all.empty()) all += '+';
    all += node->primitive->name();
  };
  std::for_each(group.begin(), group.end(), add);
  const auto folds = reductions();
  std::for_each(folds.begin(), folds.end(), add);
  return all;
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void set_finite_check(Device::DeviceType device, FiniteCheck check) {
  finite_checks[static_cast<int>(device)] = check;
}
FiniteCheck finite_check(Device::DeviceType device) { return finite_checks[static_cast<int>(device)]; }
void set_peak_measure(PeakMeasure measure) { peak_measure = measure; }

}  // namespace detail

void debug::pause_watching() { ++detail::unobserved; }
void debug::resume_watching() { --detail::unobserved; }

double debug::multiply_add_peak() {
  static const double peak = detail::peak_measure ? detail::peak_measure() : 0;
  return peak;
}

}  // namespace mlx::core
