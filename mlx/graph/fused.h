// A small element-wise group as one node of the graph. Where a function is compiled, its trace is replayed
// with such nodes in place of those of the group (mlx/transforms/fuse_trace.h): what is little work then is
// little to build, to order and to group, too. Only the evaluator sees them: transforms and tools are given
// the nodes one by one.
#pragma once

#include <string>

#include "mlx/graph/fuse.h"
#include "mlx/primitives.h"

namespace mlx::core::detail {

class Fused final : public Primitive {
 public:
  using LastReads = SmallVector<size_t, 8>;
  // `last_reads`: of each input, the last step that reads it. `name`: the operations, joined by +.
  Fused(Stream s, Program program, LastReads last_reads, std::string name)
      : Primitive(s), program(std::move(program)), last_reads_(last_reads), name_(std::move(name)) {}

  const Program program;
  const char* name() const override { return name_.c_str(); }
  // All but to run it; the outputs have memory then.
  ReadyProgram prepare(array::ArrayDesc& node) const;
  // Of the outputs of a node, which hold the inputs each.
  Donors donors(const std::vector<array>& inputs, const std::vector<array>& outputs) const;

 private:
  const LastReads last_reads_;
  const std::string name_;
};

// All outputs of the node's operation, whoever holds them. One that is available already was kept from an
// earlier run and must not change under its readers: another takes its place.
std::vector<array> outputs_to_compute(array::ArrayDesc& node);

}  // namespace mlx::core::detail
