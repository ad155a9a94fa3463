#include "mlx/transforms/trace.h"

#include <algorithm>

#include "mlx/primitives.h"

namespace mlx::core::detail {

Dependents::Dependents(const std::vector<array>& outputs, const std::vector<array>& sources,
                       bool through_stops) {
  for (const array& source : sources) known_.set(node_id(source), true);
  for (const array& out : outputs) visit(out, through_stops);
}

void Dependents::visit(const array& output, bool through_stops) {
  struct Frame {
    const array* node;
    size_t next;
    bool depends;
  };
  std::vector<Frame> stack;
  const auto push = [&](const array& a) {
    known_.set(node_id(a), false);  // until an input says otherwise
    const bool closed = !a.has_primitive() || (!through_stops && a.primitive().stops_gradient());
    stack.push_back({&a, closed ? a.inputs().size() : 0, false});
  };
  if (known_.find(node_id(output)) || !output.is_tracer()) return;
  push(output);
  while (!stack.empty()) {
    Frame& top = stack.back();
    const auto& inputs = top.node->inputs();
    if (top.next < inputs.size()) {
      const array& input = inputs[top.next];
      if (const bool* found = known_.find(node_id(input))) {
        top.depends = top.depends || *found;
        ++top.next;
      } else if (!input.is_tracer()) {
        ++top.next;
      } else {
        push(input);  // looked at again when it is known
      }
      continue;
    }
    const Frame done = top;
    stack.pop_back();
    if (done.depends) {
      known_.set(node_id(*done.node), true);
      nodes_.push_back(*done.node);
    }
  }
}

}  // namespace mlx::core::detail
