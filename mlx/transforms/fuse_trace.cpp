#include "mlx/transforms/fuse_trace.h"

#include <algorithm>
#include <unordered_map>

#include "mlx/graph/eval.h"
#include "mlx/graph/fused.h"

namespace mlx::core::detail {
namespace {

using Desc = array::ArrayDesc;

constexpr size_t kMostElements = 1 << 14;

struct Claimed {
  explicit Claimed(const Arrays& outputs, const NodeSet& given) : tape(claim(outputs, given)) {}
  ~Claimed() { give_back(tape); }
  Claimed(const Claimed&) = delete;
  Claimed& operator=(const Claimed&) = delete;
  Tape tape;
};

class FusedTrace {
 public:
  FusedTrace(const TracedNodes& from, const Arrays& inputs, const Arrays& constants)
      : from_(from), moved_(from.values) {
    for (size_t k = 0; k < from.nodes.size(); ++k)
      for (size_t j = 0; j < from.nodes[k].shapes.size(); ++j) node_of_.push_back(k);
    NodeSet given;
    const Arrays outputs = build(inputs, constants, given);
    Claimed claimed(outputs, given);
    Fuser fuser(claimed.tape);
    for (Desc* node : claimed.tape.nodes) {
      if (fuser.is_interior(*node)) continue;
      if (!Fuser::is_elementwise(*node)) {
        keep(*node);
      } else if (is_small(fuser, *node)) {
        fuse(fuser, *node);
      } else {
        for (const Desc* member : fuser.members(*node)) keep(*member);
        for (const Desc* output : fuser.outputs(*node))
          if (!Fuser::is_elementwise(*output)) keep(*output);
      }
    }
    for (const Source s : from.outputs) to_.outputs.push_back(moved(s));
  }
  TracedNodes take() { return std::move(to_); }

 private:
  // The graph, on inputs without values; `sources_` knows its nodes afterwards.
  Arrays build(const Arrays& inputs, const Arrays& constants, NodeSet& given) {
    const auto give = [&](const array& a, Source s) {
      given.insert(a.desc());
      sources_.emplace(a.desc(), s);
    };
    for (const array& in : inputs) {
      placeholders_.emplace_back(in.shape(), in.dtype(), nullptr, Arrays{});
      give(placeholders_.back(), {Source::input, static_cast<uint32_t>(placeholders_.size() - 1)});
    }
    for (size_t k = 0; k < constants.size(); ++k)
      give(constants[k], {Source::constant, static_cast<uint32_t>(k)});
    Arrays values, outputs;
    values.reserve(from_.values);
    const auto value_of = [&](Source s) -> const array& {
      return s.kind == Source::input  ? placeholders_[s.index]
             : s.kind == Source::node ? values[s.index]
                                      : constants[s.index];
    };
    for (const TracedNode& node : from_.nodes) {
      node.build(value_of, values);
      for (size_t k = node.first_value; k < values.size(); ++k)
        sources_.emplace(values[k].desc(), Source{Source::node, static_cast<uint32_t>(k)});
    }
    for (const Source s : from_.outputs) outputs.push_back(value_of(s));
    return outputs;
  }

  static bool is_small(const Fuser& fuser, const Desc& root) {
    return root.size <= kMostElements && fuser.members(root).size() > 1 && fuser.may_wait(root);
  }

  Source moved(Source s) const { return s.kind == Source::node ? Source{Source::node, moved_[s.index]} : s; }
  void add(TracedNode node) {
    node.first_value = static_cast<uint32_t>(to_.values);
    to_.values += node.shapes.size();
    to_.nodes.push_back(std::move(node));
  }

  void keep(const Desc& desc) {
    TracedNode node = from_.nodes[node_of_[sources_.at(&desc).index]];
    for (size_t j = 0; j < node.shapes.size(); ++j)
      moved_[node.first_value + j] = static_cast<uint32_t>(to_.values + j);
    for (Source& s : node.inputs) s = moved(s);
    add(std::move(node));
  }

  void fuse(Fuser& fuser, Desc& root) {
    Fuser::Written written = fuser.write(root);
    TracedNode node{nullptr, {}, {}, {}, 0, 0};
    Fused::LastReads last_reads;
    for (size_t k = 0; k < written.inputs.arrays.size(); ++k) {
      node.inputs.push_back(moved(sources_.at(written.inputs.arrays[k]->desc())));
      last_reads.push_back(written.inputs.uses[k].last_read);
    }
    for (const Fuser::Output& place : written.places) {
      moved_[sources_.at(place.node).index] = static_cast<uint32_t>(to_.values + node.shapes.size());
      node.shapes.push_back(place.node->shape);
      node.dtypes.push_back(place.node->dtype);
    }
    std::string name;
    for (const Desc* member : fuser.members(root)) {
      if (!name.empty()) name += '+';
      name += member->primitive->name();
    }
    node.primitive = std::make_shared<Fused>(root.primitive->stream(), std::move(written.program), last_reads,
                                             std::move(name));
    add(std::move(node));
  }

  const TracedNodes& from_;
  TracedNodes to_;
  std::vector<size_t> node_of_;  // of a value
  std::vector<uint32_t> moved_;  // values of `from_` to those of `to_`
  Arrays placeholders_;
  std::unordered_map<const Desc*, Source> sources_;
};

}  // namespace

TracedNodes fuse_small(const TracedNodes& from, const Arrays& inputs, const Arrays& constants) {
  return FusedTrace(from, inputs, constants).take();
}

}  // namespace mlx::core::detail
