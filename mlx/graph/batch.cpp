#include "mlx/graph/batch.h"

#include <algorithm>
#include <typeinfo>

#include "mlx/graph/flight.h"
#include "mlx/graph/fused.h"
#include "mlx/primitives.h"

namespace mlx::core::detail {
namespace {

using Node = array::ArrayDesc;

// With more elements a group is cut into pieces for all threads anyway. With less to do, in elements times
// steps, it is better done at once: what it reads is still in the cache then, and what it frees still is for
// the next. (64, 64) float32, in a step of training: AdamW's 13 steps gain, the 4 of SGD do not.
// No group has the 64 steps that fewer elements than the least would need.
constexpr size_t kMostElements = 1 << 14, kLeastElements = 1 << 9, kLeastWork = 1 << 15;
constexpr size_t kMostGroups = 64;
// Of all that the groups read and write, most of which is nobody's but theirs at worst.
constexpr size_t kMostBytes = size_t{2} << 20;

// Null for other nodes.
const Fused* fused_of(const Node& node) {
  const Primitive* const primitive = node.primitive.get();
  return primitive && typeid(*primitive) == typeid(Fused) ? static_cast<const Fused*>(primitive) : nullptr;
}

}  // namespace

bool Batching::reads(const Node& node, const Node& root) const {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](const array& in) {
    const Node& value = *in.desc();
    if (value.tape != tape_.serial) return false;
    return &value == &root || (root.fused >= 0 && value.fused == root.fused) ||
           (root.group && value.group == root.group);
  });
}

bool Batching::takes(const Node& root, size_t position) const {
  const bool is_last = position + 1 == tape_.nodes.size();
  if ((is_last && empty()) || root.size > kMostElements || root.size < kLeastElements || tape_.tracing)
    return false;
  if (Fuser::is_elementwise(root)) {
    if (root.size * fuser_.members(root).size() < kLeastWork || !fuser_.may_wait(root)) return false;
  } else {
    const Fused* const fused = fused_of(root);
    if (!fused || root.size * fused->program.steps.size() < kLeastWork) return false;
  }
  // Not one of a chain.
  const Node* const next = is_last ? nullptr : tape_.nodes[position + 1];
  return !next || !reads(*next, root);
}

bool Batching::is_wanted_by(const Node& node) const {
  const auto wants = [&](const Node& reader) {
    return std::any_of(reader.inputs.begin(), reader.inputs.end(),
                       [&](const array& in) { return waits(*in.desc()); });
  };
  if (!Fuser::is_elementwise(node)) return wants(node);
  const Fuser::Nodes& members = fuser_.members(node);
  return std::any_of(members.begin(), members.end(), [&](const Node* member) { return wants(*member); });
}

void Batching::add_output(std::shared_ptr<Node> output) {
  bytes_ += output->size * output->dtype.size();
  output->uses = kWaits;
  outputs_.push_back(std::move(output));
}

void Batching::add(Node& root) {
  ++waiting_;
  if (Fuser::is_elementwise(root)) {
    for (const Node* member : fuser_.members(root))
      for (const array& in : member->inputs)
        if (in.desc()->fused != root.fused || in.desc()->tape != tape_.serial) bytes_ += in.nbytes();
    for (Node* output : fuser_.outputs(root)) add_output(output->shared_from_this());
    return;
  }
  for (const array& in : root.inputs) bytes_ += in.nbytes();
  if (!root.group) return add_output(root.shared_from_this());
  std::lock_guard lock(root.group->mutex);
  for (const auto& weak : root.group->members)
    if (std::shared_ptr<Node> member = weak.lock()) add_output(std::move(member));
}

bool Batching::is_full() const { return waiting_ >= kMostGroups || bytes_ >= kMostBytes; }

void Batching::clear() {
  for (const auto& output : outputs_) output->uses = 0;
  outputs_.clear();
  waiting_ = bytes_ = 0;
}

void Batch::add(Node& root, size_t position) {
  const Fused* const fused = fused_of(root);
  programs_.push_back(fused ? fused->prepare(root) : fuser_.prepare(root));
  positions_.push_back(position);
  batching_.add(root);
  if (batching_.is_full()) run();
}

void Batch::run() {
  if (programs_.empty()) return;
  Fuser::run(programs_);
  batching_.clear();
  for (ReadyProgram& ready : programs_)
    for (array& result : ready.results) set_status(*result.desc(), array::Status::available);
  for (size_t k = 0; k < positions_.size(); ++k) {
    Node& root = *tape_.nodes[positions_[k]];
    if (Fuser::is_elementwise(root)) {
      fuser_.retire(root);
      continue;
    }
    for (array& result : programs_[k].results) result.detach();
    tape_.nodes[positions_[k]] = nullptr;
  }
  positions_.clear();
  programs_.clear();
}

}  // namespace mlx::core::detail
