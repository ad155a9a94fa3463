// Small element-wise groups of a tape, found by the fuser or fused before, that do not need each other. One
// by itself is too little for several threads, so those that come one after the other wait until somebody
// needs a value of theirs, or until there are enough: then they run together, each on one thread.
//
// A group that waits has its results' memory, its nodes and their inputs: nobody takes over what it is going
// to read. It counts as computed for what decides about memory (donors, forecasts), and bounds keep small
// what is held for longer than it would be.
#pragma once

#include <vector>

#include "mlx/graph/fuse.h"

namespace mlx::core::detail {

// Which groups wait, and when they run. It depends on the tape alone: forecasts of memory follow it.
class Batching {
 public:
  using Node = array::ArrayDesc;
  Batching(const Tape& tape, const Fuser& fuser) : tape_(tape), fuser_(fuser) {}

  bool empty() const { return waiting_ == 0; }
  // Does the group of `root`, which is entry `position` of the tape, wait?
  bool takes(const Node& root, size_t position) const;
  // Does what runs by `node` read a value of a group that waits?
  bool is_wanted_by(const Node& node) const;
  void add(Node& root);
  bool is_full() const;
  void clear();

 private:
  bool waits(const Node& node) const { return node.tape == tape_.serial && node.uses == kWaits; }
  bool reads(const Node& node, const Node& root) const;
  void add_output(std::shared_ptr<Node> output);

  static constexpr uint32_t kWaits = ~uint32_t{0};  // ArrayDesc::uses, which counts no more by then
  const Tape& tape_;
  const Fuser& fuser_;
  size_t waiting_ = 0, bytes_ = 0;
  std::vector<std::shared_ptr<Node>> outputs_;
};

class Batch {
 public:
  using Node = array::ArrayDesc;
  Batch(Tape& tape, Fuser& fuser) : tape_(tape), fuser_(fuser), batching_(tape, fuser) {}
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  bool takes(const Node& root, size_t position) const { return batching_.takes(root, position); }
  bool is_wanted_by(const Node& node) const { return !batching_.empty() && batching_.is_wanted_by(node); }
  void add(Node& root, size_t position);
  // Computes what waits; its values are available then.
  void run();

 private:
  Tape& tape_;
  Fuser& fuser_;
  Batching batching_;
  std::vector<size_t> positions_;
  std::vector<ReadyProgram> programs_;
};

}  // namespace mlx::core::detail
