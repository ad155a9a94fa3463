// Looking at graphs that are not evaluated yet: pictures, a list of operations, the memory they will take.
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

// Goes through the operations of a graph that grows: each call finds what is new. Keeps what it has seen.
class GraphWalk {
 public:
  // The operations behind `outputs` that no earlier call has returned, one array for each, inputs first.
  std::vector<array> next(const std::vector<array>& outputs);

 private:
  std::unordered_set<std::uintptr_t> seen_;
  std::vector<array> kept_;  // so that no new node gets the address of one that was seen
};

// What evaluating `outputs` would do to memory, in bytes more than arrays hold now. Runs no kernel.
struct Forecast {
  int64_t peak = 0, after = 0;
  std::string peak_operation;
};
// `given` count as evaluated, whether they are or not. `released` are arrays that the caller holds, in one
// handle each, but will not hold when the evaluation takes place.
Forecast forecast_memory(const std::vector<array>& outputs, const std::vector<array>& given = {},
                         const std::vector<array>& released = {});

}  // namespace mlx::core
