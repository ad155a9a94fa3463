// Which element-wise nodes of a tape run together. A node joins the group of the consumer that runs first, if
// that has a group of the node's shape. Where nobody else wants it, its values never leave the cache; where
// somebody outside holds it (an optimizer its moments, besides the weights made of them), or what runs later
// reads it (a backward pass the values of the forward one), it is kept: one more result of the same pass.
// Reductions along the same axes of values of a group are folded: they take the values in block by block, in
// the same pass. One backward pass over the tape decides; each group is written as a Program and given to the
// backend.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "mlx/array.h"
#include "mlx/graph/program.h"

namespace mlx::core {

// Pending nodes in topological order; an entry becomes null when it has run.
struct Tape {
  std::vector<array::ArrayDesc*> nodes;
  uint64_t serial = 0;
  std::vector<array::ArrayDesc*> behind;  // what it needs of other tapes and was not there when it began
  bool tracing = false;                   // tracers among the nodes keep their graph
  int64_t built_from = 0, built_to = 0;   // ns, where somebody watches (mlx/graph/observe.h)
};

// ArrayDesc::fused before a consumer has been seen, and of what runs by itself. From 0 on it is a group.
// While consumers are counted it is that of the first one to run: its group or, where it runs by itself as
// entry i of the tape, kAlone - i; ArrayDesc::shared says whether others run at another time.
inline constexpr int32_t kUndecided = -1;
inline constexpr int32_t kAlone = -2;

namespace detail {

class Fuser {
 public:
  using Node = array::ArrayDesc;
  using Nodes = SmallVector<Node*, 4>;  // most groups are small
  explicit Fuser(Tape& tape);

  static bool is_elementwise(const Node& node);
  // True for a node that is computed inside another node's group.
  bool is_interior(const Node& node) const {
    return node.fused >= 0 && groups_[static_cast<size_t>(node.fused)].root != &node;
  }
  // The nodes that run with `root`, in topological order, itself last; none where it is not element-wise.
  const Nodes& members(const Node& root) const;
  // Of them those that somebody else wants, in the same order, then the group's reductions.
  const Nodes& outputs(const Node& root) const;
  void outputs(const Node& root, std::vector<array>& out) const;

  // The arrays that a group reads.
  struct Inputs {
    struct Use {
      long references;   // by the group's nodes
      size_t last_read;  // the last step that reads it
    };
    std::vector<const array*> arrays;
    SmallVector<Use, 8> uses;
    // The position of the array that `step` reads.
    size_t add(const array& input, size_t step);
  };
  struct Output {
    const Node* node;
    size_t step;
    bool has_memory = true;
  };
  // For each output the position of an input whose buffer it may take over, or -1.
  using Outputs = SmallVector<Output, 4>;
  static Donors donors(const Outputs& outputs, const Inputs& inputs, bool tracing);
  // The reductions of the array that entry `position` of the tape, a node that runs by itself, reduces, which
  // gain by being done with it, itself first; none where there are no others.
  Nodes siblings(size_t position) const;
  // Computes them.
  static void run_siblings(const Nodes& siblings, std::vector<array>& outputs);
  // A group as a program.
  struct Written {
    Program program;
    Inputs inputs;
    Outputs places;
    SmallVector<char, 4> is_output;
  };
  Written write(Node& root) const;
  // Computes the data of the group's outputs from its inputs.
  void run(Node& root, std::vector<array>& outputs);
  // Can the group be prepared now and run with others later? Its outputs get their memory then.
  bool may_wait(const Node& root) const;
  ReadyProgram prepare(Node& root);
  static void place(ReadyProgram& ready, const Donors& donors);
  static void run(std::span<const ReadyProgram> programs);
  // Forgets the inputs of all members, which may free nodes of the group: its tape entries are nulled first.
  void retire(Node& root);

 private:
  struct Reduction {
    Node* node;
    size_t position;    // in the tape
    int64_t wanted_at;  // the entry of the first node that reads its result
  };
  using Reductions = SmallVector<Reduction, 2>;
  struct Group {
    Node* root;
    Nodes nodes;                       // reversed while being built, as `outputs`
    SmallVector<size_t, 4> positions;  // in the tape
    size_t inputs = 1;                 // at most so many arrays from outside
    size_t results = 0;                // besides the root
    Nodes outputs;
    std::vector<Node*> folds;
    std::vector<Node*> folded;  // values that are reduced and no outputs
  };
  bool is_pending(const Node& node) const {
    return node.tape == tape_.serial &&
           node.status.load(std::memory_order_relaxed) == array::Status::evaluated;
  }
  bool joins(const Node& node, bool is_result) const;
  // Of the reductions `all` of one value: does one become a part of the group?
  bool folds_with(const Group& group, const Reductions& all, const Reduction& reduction) const;
  void place(Node& node, size_t position);
  void place_reduced(Node& node, size_t position, bool is_held, const Reductions& reductions);
  void open_group(Node& root);
  // To the group that `fused` says.
  Group& add_member(Node& node, size_t position, bool is_result);
  // Is it one that waits for the group of its input? Nothing else then decides when that runs.
  bool waits_for_group(Node& reduction, size_t position);
  // The entry of the tape at which what `fused` stands for runs.
  int64_t runs_at(int32_t fused) const;
  void count_use(Node& input, int32_t consumer) const;
  void set_apart(array::Group& group) const;

  Tape& tape_;
  std::vector<Group> groups_;
  std::unordered_map<const Node*, Reductions> waiting_;  // by the value that they reduce
};

}  // namespace detail

}  // namespace mlx::core
