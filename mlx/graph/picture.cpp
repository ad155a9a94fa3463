// The graph as data, with what would run together (mlx/debug.h).
#include <unordered_map>
#include <unordered_set>

#include "mlx/debug.h"
#include "mlx/graph/eval.h"
#include "mlx/graph/fuse.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph_utils.h"
#include "mlx/primitives.h"

namespace mlx::core::debug {
namespace {

// Asked before anybody else holds the nodes: what a group may keep inside depends on that.
std::unordered_map<const array::ArrayDesc*, int> groups_of(const std::vector<array>& outputs) {
  const WithoutOuterLock unlocked;
  Tape tape = detail::claim(outputs, {});
  struct GiveBack {
    Tape& tape;
    ~GiveBack() { detail::give_back(tape); }
  } const give_back{tape};
  const detail::Fuser fuser(tape);
  std::unordered_map<const array::ArrayDesc*, int> groups;
  int next = 0;
  for (const array::ArrayDesc* node : tape.nodes) {
    if (fuser.is_interior(*node) || fuser.members(*node).size() < 2) continue;
    for (const array::ArrayDesc* member : fuser.members(*node)) groups[member] = next;
    ++next;
  }
  return groups;
}

}  // namespace

std::vector<GraphNode> graph(const std::vector<array>& outputs) {
  const auto groups = groups_of(outputs);
  std::vector<GraphNode> nodes;
  std::unordered_set<std::uintptr_t> leaves;
  const auto add_leaf = [&](const array& a) {
    if (!a.has_primitive() && leaves.insert(a.id()).second) nodes.push_back({"", {}, {a}, -1});
  };
  GraphWalk walk;
  for (const array& a : walk.next(outputs)) {
    for (const array& in : a.inputs()) add_leaf(in);
    const auto group = groups.find(a.desc());
    nodes.push_back(
        {a.primitive().name(), a.inputs(), a.outputs(), group == groups.end() ? -1 : group->second});
  }
  for (const array& out : outputs) add_leaf(out);
  return nodes;
}

}  // namespace mlx::core::debug
