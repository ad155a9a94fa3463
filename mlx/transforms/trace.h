// What the transforms share: the part of a graph that depends on given arrays, in topological order.
#pragma once

#include <vector>

#include "mlx/array.h"
#include "mlx/transforms/id_map.h"

namespace mlx::core::detail {

// Siblings are one node.
inline std::uintptr_t node_id(const array& a) {
  const auto& group = a.desc()->group;
  return group ? reinterpret_cast<std::uintptr_t>(group.get()) : a.id();
}

class Dependents {
 public:
  // Nodes on paths from `sources` to `outputs`, the sources themselves left out. Only tracers are looked at,
  // so what does not lead to a source is hardly ever visited. With `through_stops` paths go on through
  // stop_gradient.
  Dependents(const std::vector<array>& outputs, const std::vector<array>& sources, bool through_stops);

  // Topological order: inputs first. One array per node.
  const std::vector<array>& nodes() const { return nodes_; }
  bool depends(const array& a) {
    const bool* found = known_.find(node_id(a));
    return found && *found;
  }

 private:
  void visit(const array& output, bool through_stops);

  IdMap<bool> known_;
  std::vector<array> nodes_;
};

}  // namespace mlx::core::detail
