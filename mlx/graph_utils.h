// Pictures of graphs: as a list of operations, or for Graphviz.
#pragma once

#include <ostream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "mlx/array.h"

namespace mlx::core {

// Names arrays A, B, ..., Z, AA, ... in the order in which they are asked for, unless a name was set.
struct NodeNamer {
  const std::string& get_name(const array& x);
  void set_name(const array& x, std::string n);

 private:
  std::unordered_map<std::uintptr_t, std::string> names_;
  std::unordered_set<std::string> taken_{""};
  size_t next_ = 0;
};

// One line per array or operation, each after what it depends on.
void print_graph(std::ostream& os, NodeNamer namer, const std::vector<array>& outputs);
inline void print_graph(std::ostream& os, const std::vector<array>& outputs) {
  print_graph(os, NodeNamer(), outputs);
}
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void print_graph(std::ostream& os, Arrays&&... outputs) {
  print_graph(os, NodeNamer(), std::vector<array>{std::forward<Arrays>(outputs)...});
}
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void print_graph(std::ostream& os, NodeNamer namer, Arrays&&... outputs) {
  print_graph(os, std::move(namer), std::vector<array>{std::forward<Arrays>(outputs)...});
}

// In the DOT language: arrays are ellipses, operations rectangles.
void export_to_dot(std::ostream& os, NodeNamer namer, const std::vector<array>& outputs);
inline void export_to_dot(std::ostream& os, const std::vector<array>& outputs) {
  export_to_dot(os, NodeNamer(), outputs);
}
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void export_to_dot(std::ostream& os, Arrays&&... outputs) {
  export_to_dot(os, NodeNamer(), std::vector<array>{std::forward<Arrays>(outputs)...});
}
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void export_to_dot(std::ostream& os, NodeNamer namer, Arrays&&... outputs) {
  export_to_dot(os, std::move(namer), std::vector<array>{std::forward<Arrays>(outputs)...});
}

}  // namespace mlx::core
