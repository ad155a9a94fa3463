// The check for values that are not finite. Groups run as usual and their outputs are looked at; only where
// one is bad, its operations run once more, one by one, to find the first that is to blame.
#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "mlx/debug.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/worker.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/transforms.h"

namespace mlx::core::debug {
namespace {

using detail::Unit;
using Node = array::ArrayDesc;

bool holds_floats(const array& a) { return issubdtype(a.dtype(), inexact) && a.size() > 0; }

bool shares_memory_with(const array& out, const std::vector<array>& inputs) {
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](const array& in) { return in.data_shared_ptr() == out.data_shared_ptr(); });
}

// The value of a node, as an array that computes nothing.
array value_of(const array& a) {
  array value(a.shape(), a.dtype(), nullptr, {});
  value.copy_shared_buffer(a);
  value.set_status(array::Status::available);
  value.desc()->origin = a.desc()->origin;
  return value;
}

bool is_finite(const array& a) {
  const detail::FiniteCheck check = detail::finite_check(a.primitive().device().type);
  return check ? check(a) : all(isfinite(value_of(a))).item<bool>();
}

// Where to look: everywhere, or where the result of the fused group is bad.
struct Place {
  const array* bad = nullptr;

  bool any_of(const array& mask) const {
    return any(bad ? logical_and(broadcast_to(mask, bad->shape()), *bad) : mask).item<bool>();
  }
  bool has_nan(const array& a) const { return holds_floats(a) && any_of(isnan(a)); }
  bool has_inf(const array& a) const { return holds_floats(a) && any_of(isinf(a)); }
};

// Fills in who is to blame; false where the operation only passes infinities on.
bool judge(NotFinite& found, Place place, bool infinities) {
  for (const array& out : found.outputs) {
    found.nan = found.nan || place.has_nan(out);
    found.inf = found.inf || place.has_inf(out);
  }
  const auto& inputs = found.inputs;
  if (found.nan) {
    const auto bad =
        std::find_if(inputs.begin(), inputs.end(), [&](const array& in) { return place.has_nan(in); });
    if (bad != inputs.end()) found.bad_input = static_cast<int>(bad - inputs.begin());
    return true;
  }
  return infinities && found.inf &&
         std::none_of(inputs.begin(), inputs.end(), [&](const array& in) { return place.has_inf(in); });
}

std::string message(const NotFinite& found) {
  return "[nan_check] " + found.operation + " gave a value that is not finite";
}

}  // namespace

NotFiniteError::NotFiniteError(std::shared_ptr<NotFinite> found)
    : std::runtime_error(message(*found)), found_(std::move(found)) {}

class CheckFinite::Impl : public detail::Observer {
 public:
  explicit Impl(bool infinities) : infinities_(infinities) {}
  std::unique_ptr<detail::TapeWatch> watch(const Tape& tape) override;

  // `bad` is one of the outputs.
  void diagnose(const Unit& unit, const std::vector<array>& outputs, const array& bad) {
    const detail::Unobserved quiet;
    NotFinite found;
    if (unit.group.size() > 1 || !unit.reductions().empty()) {
      if (!find_in_group(unit, bad, found)) return;
    } else {
      found.operation = unit.root.primitive->name();
      found.origin = unit.root.origin;
      found.inputs = unit.root.inputs;
      for (const array& out : outputs) found.outputs.push_back(value_of(out));
      if (!judge(found, {}, infinities_)) return;
    }
    auto kept = std::make_shared<NotFinite>(std::move(found));
    {
      std::lock_guard lock(mutex_);
      last_ = kept;
    }
    throw NotFiniteError(std::move(kept));
  }
  std::shared_ptr<NotFinite> last() const {
    std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  // What joins a group has the shape of its root, so every step is judged where a result of that shape is
  // bad. Where a reduction is, it may be all of them, and after them the reduction.
  bool find_in_group(const Unit& unit, const array& result, NotFinite& found) const {
    std::vector<Node*> steps(unit.group.begin(), unit.group.end());
    const auto reductions = unit.reductions();
    steps.insert(steps.end(), reductions.begin(), reductions.end());
    const bool is_reduced =
        std::any_of(reductions.begin(), reductions.end(), [&](Node* node) { return node == result.desc(); });
    const array bad = logical_not(isfinite(value_of(result)));
    const Place place{is_reduced ? nullptr : &bad};
    std::unordered_map<const Node*, array> values;
    for (Node* node : steps) {
      std::vector<array> inputs;
      for (const array& input : node->inputs) {
        const auto known = values.find(input.desc());
        inputs.push_back(known == values.end() ? input : known->second);
      }
      array step(node->shape, node->dtype, node->primitive, inputs);
      step.desc()->origin = node->origin;
      step.eval();
      const array value = value_of(step);
      found = {};
      found.operation = node->primitive->name();
      found.group = unit.name();
      found.origin = node->origin;
      found.inputs = std::move(inputs);
      found.outputs = {value};
      if (judge(found, place, infinities_)) return true;
      values.emplace(node, value);
    }
    return false;
  }

  const bool infinities_;
  mutable std::mutex mutex_;
  std::shared_ptr<NotFinite> last_;
};

namespace {

template <class Impl>
class FiniteWatch : public detail::TapeWatch {
 public:
  explicit FiniteWatch(Impl& impl) : impl_(impl) {}
  // Held, so that nobody computes in their memory: the operation may have to run again.
  void begins(const Unit& unit) override { inputs_ = unit.inputs(); }
  void computed(const Unit& unit, std::vector<array>& outputs) override {
    for (const array& out : outputs) {
      if (!holds_floats(out) || shares_memory_with(out, inputs_) || is_finite(out)) continue;
      impl_.diagnose(unit, outputs, out);
      break;
    }
    inputs_.clear();
  }

 private:
  Impl& impl_;
  std::vector<array> inputs_;
};

}  // namespace

std::unique_ptr<detail::TapeWatch> CheckFinite::Impl::watch(const Tape&) {
  return std::make_unique<FiniteWatch<Impl>>(*this);
}

CheckFinite::CheckFinite(bool infinities) : impl_(std::make_shared<Impl>(infinities)) {
  detail::add_observer(impl_);
}
CheckFinite::~CheckFinite() { detail::remove_observer(impl_.get()); }
std::shared_ptr<NotFinite> CheckFinite::last_found() const {
  detail::wait_for_worker();
  return impl_->last();
}

}  // namespace mlx::core::debug
