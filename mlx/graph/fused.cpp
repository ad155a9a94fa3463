#include "mlx/graph/fused.h"

namespace mlx::core::detail {

Donors Fused::donors(const std::vector<array>& inputs, const std::vector<array>& outputs) const {
  Fuser::Outputs places;
  long holders = 0;
  for (size_t k = 0; k < outputs.size(); ++k) {
    const bool is_last = k == program.kept.size();
    places.push_back(
        {outputs[k].desc(), is_last ? program.steps.size() - 1 : static_cast<size_t>(program.kept[k])});
    holders += !outputs[k].inputs().empty();
  }
  Fuser::Inputs from;
  for (size_t k = 0; k < inputs.size(); ++k) {
    from.arrays.push_back(&inputs[k]);
    from.uses.push_back({holders, last_reads_[k]});
  }
  return Fuser::donors(places, from, false);
}

ReadyProgram Fused::prepare(array::ArrayDesc& node) const {
  ReadyProgram ready{{}, &program, {}, outputs_to_compute(node)};
  for (const array& in : node.inputs) ready.inputs.push_back(&in);
  Fuser::place(ready, donors(node.inputs, ready.results));
  return ready;
}

std::vector<array> outputs_to_compute(array::ArrayDesc& node) {
  std::vector<array> outputs;
  if (!node.group) {
    outputs.emplace_back(node.shared_from_this());
    return outputs;
  }
  outputs = array(node.shared_from_this()).outputs();
  for (array& out : outputs)
    if (out.is_available()) out = array(out.shape(), out.dtype(), node.primitive, node.inputs);
  return outputs;
}

}  // namespace mlx::core::detail
