// A function as a list: it is traced on placeholders, and what of its graph depends on them is kept in
// topological order, with equal nodes merged and everything else evaluated once. compile rebuilds the graph
// from the list on other inputs, node by node and without the function; export writes the list to a file.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "mlx/compile.h"
#include "mlx/ops/rules.h"
#include "mlx/transforms/id_map.h"

namespace mlx::core::detail {

// Where a value comes from: an input, an output of an earlier node, or a constant.
struct Source {
  enum Kind : uint8_t { input, node, constant } kind;
  uint32_t index;
};

struct TracedNode {
  std::shared_ptr<Primitive> primitive;
  std::vector<Source> inputs;
  std::vector<Shape> shapes;
  std::vector<Dtype> dtypes;
  uint32_t first_value;  // its outputs are values first_value, first_value + 1, ...
  uint32_t origin;       // mlx/debug.h

  // Its outputs in a graph in which value_of(Source) is what it reads.
  template <class ValueOf>
  void build(const ValueOf& value_of, Arrays& values) const {
    Arrays in;
    in.reserve(inputs.size());
    for (Source s : inputs) in.push_back(value_of(s));
    if (shapes.size() == 1) {
      values.emplace_back(shapes[0], dtypes[0], primitive, std::move(in));
    } else {
      for (array& out : array::make_arrays(shapes, dtypes, primitive, in)) values.push_back(std::move(out));
    }
  }
};

struct TracedNodes {
  std::vector<TracedNode> nodes;
  std::vector<Source> outputs;
  size_t values = 0;
};

struct TraceOptions {
  bool shapeless = false;
  bool merge_equal = true;
  bool drop_custom_rules = false;  // functions with rules of their own become what they compute
};

class Trace {
 public:
  // `examples` say shapes and dtypes. Raises what `fun` does.
  Trace(const TracedFunction& fun, const Arrays& examples, TraceOptions options);

  Arrays replay(const Arrays& inputs) const;

  // False for a trace made while nobody asked where its nodes come from, though somebody asks now.
  bool knows_enough_origins() const;
  const std::shared_ptr<void>& extra() const { return extra_; }
  const std::vector<TracedNode>& nodes() const { return all_.nodes; }
  const Arrays& constants() const { return constants_; }
  const std::vector<Source>& outputs() const { return all_.outputs; }
  // Where the sizes are fixed after all, for a trace without sizes.
  struct Fixed {
    std::string op;
    Source source;
    Shape shape;
    bool ones_only;
    int axis;
  };
  const std::vector<Fixed>& fixed() const { return fixed_; }

 private:
  void record(const Arrays& placeholders, const Arrays& outputs, const OpenSizes* sizes);
  Source source_of(const array& a);
  void add(const array& a);
  bool add_dropped(const array& a);
  void take_numbers();
  const TracedNode* find_twin(size_t hash, const TracedNode& node) const;
  const TracedNodes& nodes_for(const Arrays& inputs) const;

  const TraceOptions options_;
  std::shared_ptr<void> extra_;
  TracedNodes all_;
  Arrays constants_;
  std::vector<Fixed> fixed_;
  struct OnDemand {
    std::once_flag once;
    TracedNodes nodes;
  };
  std::unique_ptr<OnDemand> fused_ = std::make_unique<OnDemand>();  // for evaluation only (fuse_trace.h)
  bool with_origins_ = false;
  IdMap<Source> sources_;                           // while recording
  std::unordered_multimap<size_t, size_t> merged_;  // while recording
};

// For the primitives that custom_function makes: which input such an output is the value of.
std::optional<size_t> input_behind(const Primitive& p, size_t output);

}  // namespace mlx::core::detail
