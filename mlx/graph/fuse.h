// Which element-wise nodes of a tape run together. A node joins the group of its consumers when they are all
// in the same group, have its shape, and nobody outside holds it: then its values never leave the cache. One
// backward pass over the tape decides; each group is written as a Program and given to the backend.
#pragma once

#include <cstdint>
#include <vector>

#include "mlx/array.h"
#include "mlx/graph/program.h"

namespace mlx::core {

// Pending nodes in topological order; an entry becomes null when it has run.
struct Tape {
  std::vector<array::ArrayDesc*> nodes;
  uint64_t serial = 0;
  bool tracing = false;                  // tracers among the nodes keep their graph
  int64_t built_from = 0, built_to = 0;  // ns, where somebody watches (mlx/graph/observe.h)
};

// ArrayDesc::fused before a consumer has been seen, and where consumers disagree. From 0 on it is a group.
inline constexpr int32_t kUndecided = -1;
inline constexpr int32_t kAlone = -2;

namespace detail {

class Fuser {
 public:
  using Node = array::ArrayDesc;
  explicit Fuser(Tape& tape);

  static bool is_elementwise(const Node& node);
  // True for a node whose value is computed inside another node's group.
  bool is_interior(const Node& node) const {
    return node.fused >= 0 && groups_[static_cast<size_t>(node.fused)].root != &node;
  }
  // The nodes that run with `root`, in topological order, itself last; none where it is not element-wise.
  const std::vector<Node*>& members(const Node& root) const;
  // The position of an input whose buffer `root` may take over, or -1. `references` says how often the
  // group's nodes hold each input.
  static int donor(const Node& root, const std::vector<const array*>& inputs,
                   const std::vector<long>& references, bool tracing);
  // Computes root's data from the group's inputs.
  void run(Node& root);
  // Forgets the inputs of all members, which may free nodes of the group: its tape entries are nulled first.
  void retire(Node& root);

 private:
  struct Group {
    Node* root;
    std::vector<Node*> nodes;       // reversed while being built
    std::vector<size_t> positions;  // in the tape
    size_t inputs;                  // at most so many arrays from outside
  };
  bool joins(const Node& node) const;

  Tape& tape_;
  std::vector<Group> groups_;
};

}  // namespace detail

}  // namespace mlx::core
