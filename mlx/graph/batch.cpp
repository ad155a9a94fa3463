#include "mlx/graph/batch.h"

#include <algorithm>

#include "mlx/graph/flight.h"
#include "mlx/primitives.h"

namespace mlx::core::detail {
namespace {

// With more elements a group is cut into pieces for all threads anyway; what has less to do than so many
// elements of one step is done sooner than it would have been put off.
constexpr size_t kMostElements = 1 << 14, kLeastWork = 1 << 13;
constexpr size_t kMostGroups = 64;
// Of all that the groups read and write, most of which is nobody's but theirs at worst.
constexpr size_t kMostBytes = size_t{2} << 20;

}  // namespace

bool Batching::reads(const Node& node, const Node& root) const {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](const array& in) {
    const Node& value = *in.desc();
    return value.tape == tape_.serial && value.fused == root.fused;
  });
}

size_t Batching::bytes_of(const Node& root) const {
  size_t bytes = 0;
  for (const Node* output : fuser_.outputs(root)) bytes += output->size * output->dtype.size();
  for (const Node* member : fuser_.members(root))
    for (const array& in : member->inputs)
      if (in.desc()->fused != root.fused || in.desc()->tape != tape_.serial) bytes += in.nbytes();
  return bytes;
}

bool Batching::takes(const Node& root, size_t position) const {
  if (root.size > kMostElements || !Fuser::is_elementwise(root) || tape_.tracing) return false;
  if (root.size * fuser_.members(root).size() < kLeastWork || !fuser_.may_wait(root)) return false;
  // The only one, or one of a chain.
  if (position + 1 == tape_.nodes.size()) return !empty();
  const Node* const next = tape_.nodes[position + 1];
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

void Batching::add(const Node& root) {
  ++waiting_;
  bytes_ += bytes_of(root);
  for (Node* output : fuser_.outputs(root)) {
    output->uses = kWaits;
    outputs_.push_back(output);
  }
}

bool Batching::is_full() const { return waiting_ >= kMostGroups || bytes_ >= kMostBytes; }

void Batching::clear() {
  for (Node* output : outputs_) output->uses = 0;
  outputs_.clear();
  waiting_ = bytes_ = 0;
}

void Batch::add(Node& root) {
  programs_.push_back(fuser_.prepare(root));
  roots_.push_back(&root);
  batching_.add(root);
  if (batching_.is_full()) run();
}

void Batch::run() {
  if (programs_.empty()) return;
  Fuser::run(programs_);
  batching_.clear();
  for (ReadyProgram& ready : programs_)
    for (array& result : ready.results) set_status(*result.desc(), array::Status::available);
  for (Node* root : roots_) fuser_.retire(*root);
  roots_.clear();
  programs_.clear();
}

}  // namespace mlx::core::detail
