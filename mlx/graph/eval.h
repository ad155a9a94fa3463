// What the transforms and the bindings need to know about evaluation.
#pragma once

#include <mutex>
#include <unordered_set>

#include "mlx/array.h"

namespace mlx::core {
struct Tape;
}

namespace mlx::core::detail {

// True on a thread inside vjp, jvp or vmap (tracing), or where evaluating must keep graphs.
bool in_tracing();
bool retain_graph();

struct InTracing {
  InTracing();
  ~InTracing();
  InTracing(const InTracing&) = delete;
  InTracing& operator=(const InTracing&) = delete;
};
struct RetainGraph {
  RetainGraph();
  ~RetainGraph();
  RetainGraph(const RetainGraph&) = delete;
  RetainGraph& operator=(const RetainGraph&) = delete;
};

// Blocks while another thread computes the node.
void wait_for(const array::ArrayDesc& node);

// Claims what is pending for `outputs`, without the nodes in `given` and what only they need.
using NodeSet = std::unordered_set<const array::ArrayDesc*>;
Tape claim(const std::vector<array>& outputs, const NodeSet& given);
// Makes the tape's nodes pending again.
void give_back(Tape& tape);
// Held while a tape is built, and by who makes nodes pending that were claimed: a tape that found a node to
// be another one's must not claim it a moment later, behind what reads it.
std::mutex& claim_mutex();

}  // namespace mlx::core::detail
