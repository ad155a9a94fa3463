#include "mlx/graph/fuse.h"

#include <algorithm>
#include <limits>

#include "mlx/graph/elementwise.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph/system.h"
#include "mlx/primitives.h"

namespace mlx::core {
namespace {

// Longer programs gain nothing: their registers would leave the first-level cache.
constexpr size_t kMaxSteps = 64;
// Each of them is a stream of memory; prefetchers follow a limited number.
constexpr size_t kMaxArrays = 24;

// Smaller arrays stay in the cache anyway.
constexpr size_t kFoldElements = 4096;

// Arrays that fit in the last cache are read as fast again.
bool exceeds_last_cache(const array& in) {
  static const size_t cache = system::last_level_cache();
  return in.nbytes() > std::max(cache, size_t{1} << 24);
}
// Siblings are written one after the other: they are looked for among so many entries of the tape.
constexpr size_t kSiblingDistance = 32, kMostSiblings = 8;

ProgramKernel program_kernels[2] = {nullptr, nullptr};
size_t most_kept_values[2] = {0, 0};
FoldRules fold_rules[2] = {};
BatchRules batch_rules[2] = {};
const detail::Fuser::Nodes no_nodes{};

}  // namespace

void set_program_kernel(Device::DeviceType device, ProgramKernel kernel, size_t most_kept) {
  program_kernels[static_cast<int>(device)] = kernel;
  most_kept_values[static_cast<int>(device)] = most_kept;
}
ProgramKernel run_program_of(Device::DeviceType device) { return program_kernels[static_cast<int>(device)]; }
void set_batch_rules(Device::DeviceType device, const BatchRules& rules) {
  batch_rules[static_cast<int>(device)] = rules;
}
void set_fold_rules(Device::DeviceType device, const FoldRules& rules) {
  fold_rules[static_cast<int>(device)] = rules;
}

namespace detail {

using Node = array::ArrayDesc;

bool Fuser::is_elementwise(const Node& node) { return node.primitive && node.primitive->opcode() >= 0; }

bool Fuser::joins(const Node& node, bool is_result) const {
  if (node.fused < 0) return false;
  const Group& group = groups_[static_cast<size_t>(node.fused)];
  const Node& root = *group.root;
  const size_t kept = group.results + is_result;
  return group.nodes.size() < kMaxSteps && group.inputs + node.inputs.size() - 1 + kept <= kMaxArrays &&
         node.shape == root.shape && !(node.tracer && tape_.tracing) &&
         kept <= most_kept_values[static_cast<int>(root.primitive->device().type)] &&
         node.primitive->stream() == root.primitive->stream();
}

int64_t Fuser::runs_at(int32_t fused) const {
  if (fused < 0) return kAlone - fused;
  return static_cast<int64_t>(groups_[static_cast<size_t>(fused)].positions[0]);
}

void Fuser::count_use(Node& input, int32_t consumer) const {
  ++input.uses;
  input.stored |= consumer <= kAlone;
  if (input.fused == consumer) return;
  if (input.fused != kUndecided) {
    input.shared = true;
    if (runs_at(input.fused) < runs_at(consumer)) return;
  }
  input.fused = consumer;
}

bool Fuser::waits_for_group(Node& reduction, size_t position) {
  const FoldRules& rules = fold_rules[static_cast<int>(reduction.primitive->device().type)];
  if (!rules.accepts || tape_.tracing || reduction.inputs.size() != 1 || reduction.group) return false;
  Node& value = *reduction.inputs[0].desc();
  if (value.size < kFoldElements || !is_pending(value) || !is_elementwise(value) ||
      value.primitive->stream() != reduction.primitive->stream() ||
      !rules.accepts(*reduction.primitive, value.shape))
    return false;
  const int64_t wanted_at =
      reduction.fused == kUndecided ? std::numeric_limits<int64_t>::max() : runs_at(reduction.fused);
  waiting_[&value].push_back({&reduction, position, wanted_at});
  ++value.uses;
  return true;
}

bool Fuser::folds_with(const Group& group, const Reductions& all, const Reduction& reduction) const {
  const Node& first = group.folds.empty() ? *all.begin()->node : *group.folds.front();
  const auto device = static_cast<int>(first.primitive->device().type);
  return reduction.wanted_at > static_cast<int64_t>(group.positions[0]) &&
         fold_rules[device].together(*first.primitive, *reduction.node->primitive);
}

void Fuser::open_group(Node& root) {
  root.fused = static_cast<int32_t>(groups_.size());
  groups_.emplace_back().root = &root;
}

Fuser::Group& Fuser::add_member(Node& node, size_t position, bool is_result) {
  Group& group = groups_[static_cast<size_t>(node.fused)];
  group.nodes.push_back(&node);
  group.positions.push_back(position);
  group.inputs += node.inputs.size() - 1;
  group.results += is_result && group.root != &node;
  return group;
}

void Fuser::place(Node& node, size_t position) {
  // By anybody but its consumers on the tape, all of which have been seen. Others may let go meanwhile.
  const bool is_held = node.weak_from_this().use_count() != static_cast<long>(node.uses);
  if (!waiting_.empty())
    if (const auto found = waiting_.extract(&node))
      return place_reduced(node, position, is_held, found.mapped());
  bool is_output = is_held || node.shared;
  if (!joins(node, is_output)) {
    open_group(node);
    is_output = true;
  }
  Group& group = add_member(node, position, is_output);
  if (is_output) group.outputs.push_back(&node);
}

void Fuser::place_reduced(Node& node, size_t position, bool is_held, const Reductions& reductions) {
  bool is_member = joins(node, true), is_output = is_held || node.shared;
  if (is_member) {
    // The value must be there when a reduction runs by itself.
    const Group& group = groups_[static_cast<size_t>(node.fused)];
    is_member = std::all_of(reductions.begin(), reductions.end(), [&](const Reduction& r) {
      return folds_with(group, reductions, r) || r.position > group.positions[0];
    });
  }
  if (!is_member) {
    is_output = is_held || node.fused != kUndecided;
    open_group(node);
  }
  Group& group = add_member(node, position, true);
  for (const Reduction& r : reductions) {
    if (!folds_with(group, reductions, r)) {
      is_output = true;
      continue;
    }
    r.node->fused = node.fused;
    group.folds.push_back(r.node);
    group.positions.push_back(r.position);
  }
  if (is_output) {
    group.outputs.push_back(&node);
  } else {
    group.folded.push_back(&node);
  }
}

// The other outputs of an operation are no entries of the tape; they are nobody's inside either.
void Fuser::set_apart(array::Group& group) const {
  std::lock_guard lock(group.mutex);
  for (const auto& weak : group.members)
    if (const auto member = weak.lock(); member && is_pending(*member)) member->fused = kAlone;
}

Fuser::Fuser(Tape& tape) : tape_(tape) {
  for (size_t i = tape.nodes.size(); i-- > 0;) {
    if ((i & 0xFFFF) == 0) check_interrupt();
    Node& node = *tape.nodes[i];
    int32_t consumer = kAlone - static_cast<int32_t>(i);
    if (is_elementwise(node)) {
      place(node, i);
      consumer = node.fused;
    } else {
      const bool waits = waits_for_group(node, i);
      node.fused = kAlone;
      if (node.group) set_apart(*node.group);
      node.stored |= node.weak_from_this().use_count() != static_cast<long>(node.uses);
      if (waits) continue;
    }
    for (const array& input : node.inputs)
      if (is_pending(*input.desc())) count_use(*input.desc(), consumer);
  }
  for (Group& group : groups_) {
    std::reverse(group.nodes.begin(), group.nodes.end());
    std::reverse(group.outputs.begin(), group.outputs.end());
    for (Node* reduction : group.folds) group.outputs.push_back(reduction);
  }
}

Fuser::Nodes Fuser::siblings(size_t position) const {
  Nodes found;
  Node& first = *tape_.nodes[position];
  if (tape_.tracing || first.inputs.size() != 1 || first.group || !exceeds_last_cache(first.inputs[0]))
    return found;
  const array& in = first.inputs[0];
  const FoldRules& rules = fold_rules[static_cast<int>(first.primitive->device().type)];
  if (!rules.share_reading || !rules.share_reading(*first.primitive, *first.primitive, in)) return found;
  const size_t end = std::min(tape_.nodes.size(), position + kSiblingDistance);
  for (size_t i = position + 1; i < end && found.size() < kMostSiblings; ++i) {
    Node* const node = tape_.nodes[i];
    if (!node || node->fused >= 0 || node->group || node->inputs.size() != 1 ||
        node->inputs[0].desc() != in.desc() || node->primitive->stream() != first.primitive->stream() ||
        !rules.share_reading(*first.primitive, *node->primitive, in))
      continue;
    if (found.empty()) found.push_back(&first);
    found.push_back(node);
  }
  return found;
}

void Fuser::run_siblings(const Nodes& siblings, std::vector<array>& outputs) {
  std::vector<const Primitive*> reductions;
  for (const Node* node : siblings) reductions.push_back(node->primitive.get());
  const Node& first = **siblings.begin();
  const auto device = static_cast<int>(first.primitive->device().type);
  fold_rules[device].run_stored(reductions, first.inputs[0], outputs);
}

const Fuser::Nodes& Fuser::members(const Node& root) const {
  return is_elementwise(root) ? groups_[static_cast<size_t>(root.fused)].nodes : no_nodes;
}
const Fuser::Nodes& Fuser::outputs(const Node& root) const {
  return is_elementwise(root) ? groups_[static_cast<size_t>(root.fused)].outputs : no_nodes;
}

void Fuser::outputs(const Node& root, std::vector<array>& out) const {
  out.clear();
  for (Node* node : outputs(root)) out.emplace_back(node->shared_from_this());
}

size_t Fuser::Inputs::add(const array& input, size_t step) {
  size_t j = 0;
  while (j < arrays.size() && arrays[j]->desc() != input.desc()) ++j;
  if (j == arrays.size()) {
    arrays.push_back(&input);
    uses.push_back({0, 0});
  }
  ++uses[j].references;
  uses[j].last_read = step;
  return j;
}

Donors Fuser::donors(const Outputs& outputs, const Inputs& inputs, bool tracing) {
  Donors donors(outputs.size(), -1);
  for (size_t j = 0; j < inputs.arrays.size(); ++j) {
    const array& in = *inputs.arrays[j];
    const bool mine = in.use_count() == inputs.uses[j].references && in.data_shared_ptr().use_count() == 1 &&
                      in.data_shared_ptr()->is_owned() && !(in.desc()->tracer && tracing) &&
                      allocator::is_writable(in.data_shared_ptr()->buffer()) && in.flags().row_contiguous;
    for (size_t k = 0; mine && k < outputs.size(); ++k) {
      const Node& out = *outputs[k].node;
      if (!outputs[k].has_memory || donors[k] >= 0 || inputs.uses[j].last_read > outputs[k].step ||
          in.itemsize() != out.dtype.size() || in.shape() != out.shape)
        continue;
      donors[k] = static_cast<int>(j);
      break;
    }
  }
  return donors;
}

Fuser::Written Fuser::write(Node& root) const {
  const Group& group = groups_[static_cast<size_t>(root.fused)];
  const size_t n = group.nodes.size();
  Written written;
  auto& [program, inputs, places, is_output] = written;
  program.steps.reserve(n);

  // Operand numbers: inputs as they appear; values of the group by position, turned into registers below.
  constexpr int16_t kValue = 1 << 12, kKept = -2;
  for (size_t i = 0; i < n; ++i) group.nodes[i]->uses = static_cast<uint32_t>(i);  // position, from here on
  std::vector<int16_t> last_use(n, 0);
  for (size_t i = 0; i < n; ++i) {
    const Node& node = *group.nodes[i];
    const int opcode = node.primitive->opcode();
    const size_t arity = node.inputs.size();
    Program::Step step{
        static_cast<uint8_t>(opcode), node.inputs[arity - 1].dtype(), node.dtype, 0, {0, 0, 0}};
    for (size_t k = 0; k < arity; ++k) {
      const array& input = node.inputs[k];
      Node& in = *input.desc();
      if (in.fused == root.fused && is_pending(in)) {
        step.in[k] = static_cast<int16_t>(kValue + in.uses);
        last_use[in.uses] = static_cast<int16_t>(i);
        continue;
      }
      step.in[k] = static_cast<int16_t>(inputs.add(input, i));
    }
    program.steps.push_back(step);
  }
  program.inputs = static_cast<int>(inputs.arrays.size());
  const auto contains = [](const auto& nodes, const Node* node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  };
  for (const Node* node : group.nodes) {
    const bool is_one = contains(group.outputs, node);
    if (node != &root) {
      if (!is_one && !contains(group.folded, node)) continue;
      program.kept.push_back(static_cast<int16_t>(node->uses));
      last_use[node->uses] = kKept;
    }
    places.push_back({node, node->uses, is_one});
    is_output.push_back(is_one);
  }

  // A register is free again after the last use of its value, but where that is kept. A step may write over
  // an operand that it reads last, if their items have one size.
  std::vector<int16_t> register_of(n), free;
  for (size_t i = 0; i < n; ++i) {
    Program::Step& step = program.steps[i];
    std::array<int16_t, 3> later;
    size_t n_later = 0;
    for (int16_t& operand : step.in) {
      if (operand < kValue) continue;
      const auto value = static_cast<size_t>(operand - kValue);
      operand = static_cast<int16_t>(program.inputs + register_of[value]);
      if (last_use[value] != static_cast<int16_t>(i)) continue;
      last_use[value] = -1;  // an operand used twice is freed once
      if (program.steps[value].to.size() == step.to.size()) {
        free.push_back(register_of[value]);
      } else {
        later[n_later++] = register_of[value];
      }
    }
    if (i + 1 == n) break;
    // Kept values have a register from the first step to the last: it may be the output itself.
    const bool is_kept = last_use[i] == kKept;
    if (is_kept || free.empty()) free.push_back(static_cast<int16_t>(program.registers++));
    register_of[i] = free.back();
    free.pop_back();
    step.out = static_cast<int16_t>(program.inputs + register_of[i]);
    free.insert(free.end(), later.begin(), later.begin() + static_cast<std::ptrdiff_t>(n_later));
  }

  return written;
}

void Fuser::run(Node& root, std::vector<array>& outputs) {
  const Group& group = groups_[static_cast<size_t>(root.fused)];
  const auto [program, inputs, places, is_output] = write(root);
  const auto device = static_cast<int>(root.primitive->device().type);
  const Donors from = donors(places, inputs, tape_.tracing);
  if (group.folds.empty()) return program_kernels[device](program, inputs.arrays, outputs, from);

  std::vector<array> results;
  for (const Output& place : places) results.emplace_back(group.nodes[place.step]->shared_from_this());
  std::vector<Fold> folds;
  for (size_t k = 0; k < group.folds.size(); ++k) {
    const Node* value = group.folds[k]->inputs[0].desc();
    const auto place =
        std::find_if(places.begin(), places.end(), [&](const Output& p) { return p.node == value; });
    folds.push_back({group.folds[k]->primitive.get(), static_cast<size_t>(place - places.begin()),
                     &outputs[outputs.size() - group.folds.size() + k]});
  }
  fold_rules[device].run(program, inputs.arrays, results, is_output, from, folds);
}

bool Fuser::may_wait(const Node& root) const {
  return batch_rules[static_cast<int>(root.primitive->device().type)].run &&
         groups_[static_cast<size_t>(root.fused)].folds.empty();
}

// Only the CPU has programs wait.
void Fuser::place(ReadyProgram& ready, const Donors& donors) {
  batch_rules[static_cast<int>(Device::cpu)].place(ready.inputs, ready.results, donors);
}

ReadyProgram Fuser::prepare(Node& root) {
  Written written = write(root);
  const Donors from = donors(written.places, written.inputs, tape_.tracing);
  ReadyProgram ready{std::move(written.program), nullptr, std::move(written.inputs.arrays), {}};
  outputs(root, ready.results);
  place(ready, from);
  return ready;
}

void Fuser::run(std::span<const ReadyProgram> programs) {
  batch_rules[static_cast<int>(Device::cpu)].run(programs);
}

void Fuser::retire(Node& root) {
  const Group& group = groups_[static_cast<size_t>(root.fused)];
  for (size_t position : group.positions) tape_.nodes[position] = nullptr;
  if (tape_.tracing && root.tracer) return;  // then it is alone: interior nodes are no tracers
  if (group.positions.size() == 1) return array(root.shared_from_this()).detach();
  // Consumers first: each keeps its producers alive until it forgets them, and the root is kept by its
  // consumers.
  std::vector<array> hold;
  hold.reserve(group.nodes.size() + group.folds.size());
  for (Node* node : group.nodes) hold.emplace_back(node->shared_from_this());
  for (Node* node : group.folds) hold.emplace_back(node->shared_from_this());
  for (size_t i = hold.size(); i-- > 0;) {
    hold[i].detach();
    if (std::find(group.outputs.begin(), group.outputs.end(), hold[i].desc()) == group.outputs.end())
      hold[i].set_status(array::Status::unscheduled);
  }
}

}  // namespace detail
}  // namespace mlx::core
