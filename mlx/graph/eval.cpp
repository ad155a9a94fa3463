// eval: collect what is pending into a tape in topological order, decide which element-wise nodes run
// together, run.
//
// Claiming. Building a tape claims every pending node that it reaches, under one mutex; a node that another
// tape has claimed is waited for when its value is needed. A tape only ever waits for older tapes, so no
// cycle of waiting arises. If a kernel throws, the tape's remaining nodes go back to `unscheduled`: nothing
// is lost, whoever needs them evaluates them again. A tape that needs such a node does not wait for it, since
// by then it may belong to a younger tape that waits for this one. It computes what it can without, so that
// tapes which need each other's nodes get on, and the rest goes back and is claimed anew.
//
// Ownership. The tape holds plain pointers: a pending node is kept alive by its consumers' inputs, or by the
// caller. After a node has run it forgets its inputs, which frees or donates their memory as early as
// possible.
//
// The GPU. Nodes on it are encoded as the tape comes to them; they stay `evaluated` until the work is done
// (flight.h), which is waited for where the CPU wants a buffer that the GPU uses, and at the end of a tape
// that somebody waits for. Others leave their work to the device, and tapes that need its values are encoded
// behind it. If that work fails, the values of these nodes are lost with what they were made of: whoever
// evaluates one meets the error again. So it is with what was made of values that the GPU found to be wrong,
// such as rows whose indices are out of range. Nodes that were not encoded yet go back to `unscheduled`.
#include "mlx/graph/eval.h"

#include <algorithm>
#include <optional>

#include "mlx/graph/backend.h"
#include "mlx/graph/batch.h"
#include "mlx/graph/flight.h"
#include "mlx/graph/fuse.h"
#include "mlx/graph/fused.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/out_of_memory.h"
#include "mlx/graph/worker.h"
#include "mlx/primitives.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

using Node = array::ArrayDesc;
using detail::InFlight;
using detail::set_status;

uint64_t last_tape = 0;  // guarded by claim_mutex()

void for_each_output(Node& node, auto&& f) {
  if (!node.group) return f(node);
  std::lock_guard lock(node.group->mutex);
  for (auto& weak : node.group->members)
    if (auto member = weak.lock()) f(*member);
}

class TapeBuilder {
 public:
  explicit TapeBuilder(Tape& tape, const detail::NodeSet* given = nullptr) : tape_(tape), given_(given) {}

  void add(const std::vector<array>& outputs) {
    std::lock_guard lock(detail::claim_mutex());
    tape_.serial = ++last_tape;
    for (const array& out : outputs) {
      if (out.status() != array::Status::unscheduled || is_given(*out.desc())) continue;
      push(*out.desc());
      walk();
    }
  }

 private:
  struct Frame {
    Node* node;
    size_t next;
  };
  bool is_given(const Node& node) const { return given_ && given_->contains(&node); }
  void push(Node& node) {
    if (!node.primitive)
      throw std::invalid_argument(
          "[eval] got an array that stands for an argument of a function being traced by compile or vmap, "
          "expected "
          "one with a value: its contents cannot be read inside the function");
    for_each_output(node, [&](Node& member) {
      if (member.status.load() == array::Status::available) return;
      member.tape = tape_.serial;  // in front of the status: who sees that one may look for the tape
      member.status.store(array::Status::evaluated);
      member.uses = 0;
      member.fused = kUndecided;
      member.shared = false;
      member.stored = false;
    });
    stack_.push_back({&node, 0});
    claimed_.push_back(&node);
  }
  void walk() {
    try {
      while (!stack_.empty()) {
        if ((++steps_ & kStepsPerCheck) == 0) check_interrupt();
        Frame& top = stack_.back();
        if (top.next == top.node->inputs.size()) {
          tape_.nodes.push_back(top.node);
          stack_.pop_back();
          continue;
        }
        Node& input = *top.node->inputs[top.next++].desc();
        const array::Status status = input.status.load(std::memory_order_acquire);
        if (status == array::Status::unscheduled && !is_given(input)) {
          push(input);
        } else if (status == array::Status::evaluated && input.tape != tape_.serial &&
                   tape_.behind.size() < kMostBehind) {
          tape_.behind.push_back(&input);
        }
      }
    } catch (...) {
      for (Node* node : claimed_)
        for_each_output(*node, [&](Node& m) {
          if (m.status.load() == array::Status::evaluated) set_status(m, array::Status::unscheduled);
        });
      throw;
    }
  }

  static constexpr uint64_t kStepsPerCheck = 0xFFFF;  // a mask
  static constexpr size_t kMostBehind = 64;
  Tape& tape_;
  const detail::NodeSet* given_;  // null in most cases
  uint64_t steps_ = 0;
  std::vector<Frame> stack_;
  std::vector<Node*> claimed_;
};

// What watches may refuse the values: until then they are nobody's.
void finish_watched(InFlight& in_flight, std::vector<array>& outputs) {
  in_flight.finish();
  for (array& out : outputs) set_status(*out.desc(), array::Status::evaluated);
}

// Returns when everything that the unit reads from outside is there, or is going to be where the GPU reads
// it. False where some of it was lost.
bool wait_for_inputs(InFlight& in_flight, const detail::Fuser& fuser, const Node& node) {
  try {
    bool waited = true;
    while (waited) {
      waited = false;
      for (const Node* member : fuser.members(node)) waited |= in_flight.wait_for_inputs(*member);
      if (!fuser.is_elementwise(node)) waited |= in_flight.wait_for_inputs(node);
    }
    return true;
  } catch (const InFlight::Overtaken&) {
    in_flight.leave_out();
    return false;
  }
}

// `watches` and `unit` are null where nobody watches.
void run_node(Node& node, bool tracing, InFlight& in_flight, detail::Watches* watches,
              const detail::Unit* unit) {
  std::vector<array> outputs = detail::outputs_to_compute(node);
  const bool on_gpu = node.primitive->device() == Device::gpu;
  if (on_gpu) {
    in_flight.start();
    node.primitive->eval_gpu(node.inputs, outputs);
  } else {
    Node* const self = &node;
    in_flight.finish_for({&self, 1});
    node.primitive->eval_cpu(node.inputs, outputs);
  }
  if (on_gpu) {
    // They stay `evaluated`, but consumers must not look for them in their group.
    for (array& out : outputs) out.desc()->fused = kAlone;
    Node* const self = &node;
    in_flight.add({&self, 1}, outputs);
  }
  if (watches) {
    if (on_gpu) finish_watched(in_flight, outputs);
    watches->computed(*unit, outputs);
  }
  for (array& out : outputs) {
    if (!on_gpu || watches) set_status(*out.desc(), array::Status::available);
    if (!(tracing && out.desc()->tracer)) out.detach();
  }
}

// Reductions of one array, in one pass.
void run_siblings(const detail::Fuser::Nodes& nodes, InFlight& in_flight) {
  std::vector<array> outputs;
  for (Node* node : nodes) outputs.emplace_back(node->shared_from_this());
  in_flight.finish_for({nodes.begin(), nodes.size()});
  detail::Fuser::run_siblings(nodes, outputs);
  for (array& out : outputs) {
    set_status(*out.desc(), array::Status::available);
    out.detach();
  }
}

// `outputs` is empty before and after: memory that groups share.
void run_group(detail::Fuser& fuser, Node& root, std::vector<array>& outputs, InFlight& in_flight,
               detail::Watches* watches, const detail::Unit& unit) {
  const bool on_gpu = root.primitive->device() == Device::gpu;
  const detail::Fuser::Nodes& members = fuser.members(root);
  fuser.outputs(root, outputs);
  if (on_gpu) {
    in_flight.start();
    fuser.run(root, outputs);
    in_flight.add({members.begin(), members.size()}, outputs);
  } else {
    in_flight.finish_for({members.begin(), members.size()});
    fuser.run(root, outputs);
  }
  if (watches) {
    if (on_gpu) finish_watched(in_flight, outputs);
    watches->computed(unit, outputs);
  }
  if (!on_gpu || watches)
    for (array& out : outputs) set_status(*out.desc(), array::Status::available);
  outputs.clear();
  fuser.retire(root);
}

}  // namespace

namespace detail {

std::mutex& claim_mutex() {
  static std::mutex mutex;
  return mutex;
}

void give_back(Tape& tape) {
  std::lock_guard lock(claim_mutex());
  for (Node* node : tape.nodes)
    if (node)
      for_each_output(*node, [&](Node& m) {
        if (m.tape == tape.serial && m.status.load() == array::Status::evaluated)
          set_status(m, array::Status::unscheduled);
      });
}

// Runs what computes a node; who finds no memory for it names its operation.
template <class F>
void named(const Node& node, F&& run) {
  try {
    run();
  } catch (const OutOfMemory& e) {
    throw OutOfMemory(node.primitive->name(), e.message());
  }
}

// What is on the GPU is waited for or, where `parks`, left to it. False where something that earlier tapes
// should have computed was lost: what is not done is to be claimed anew.
bool run_tape(Tape& tape, bool parks) {
  InFlight in_flight(tape.serial);
  std::exception_ptr error;
  std::optional<Fuser> fused;
  std::optional<Batch> batch;
  try {
    Watches watches(tape);
    Fuser& fuser = fused.emplace(tape);
    batch.emplace(tape, fuser);
    const bool watched = watches.any();
    bool complete = true;
    if (!watched) in_flight.join(tape);
    std::vector<array> outputs;
    for (size_t i = 0; i < tape.nodes.size(); ++i) {
      Node* node = tape.nodes[i];
      if (!node || fuser.is_interior(*node)) continue;
      in_flight.settle();
      if (!wait_for_inputs(in_flight, fuser, *node)) {
        complete = false;
        continue;
      }
      if (batch->is_wanted_by(*node)) batch->run();
      const Unit unit{*node, fuser.members(*node), tape, fuser.outputs(*node)};
      if (!watched && batch->takes(*node, i)) {
        fuser.is_elementwise(*node) ? in_flight.finish_for({unit.group.begin(), unit.group.size()})
                                    : in_flight.finish_for({&node, 1});
        named(*node, [&] { batch->add(*node, i); });
      } else if (fuser.is_elementwise(*node)) {
        if (watched) watches.begins(unit);
        named(*node,
              [&] { run_group(fuser, *node, outputs, in_flight, watched ? &watches : nullptr, unit); });
      } else if (const Fuser::Nodes siblings = watched ? Fuser::Nodes{} : fuser.siblings(i);
                 !siblings.empty()) {
        named(*node, [&] { run_siblings(siblings, in_flight); });
        for (size_t k = i, left = siblings.size(); left > 0; ++k)
          if (std::find(siblings.begin(), siblings.end(), tape.nodes[k]) != siblings.end())
            tape.nodes[k] = nullptr, --left;
      } else {
        if (watched) watches.begins(unit);
        named(*node, [&] { run_node(*node, tape.tracing, in_flight, watched ? &watches : nullptr, &unit); });
        tape.nodes[i] = nullptr;
      }
      if (watched) watches.ends();
      check_interrupt();
    }
    batch->run();
    if (complete) {
      if (parks)
        in_flight.park();
      else
        in_flight.finish();
      return true;
    }
  } catch (const InFlight::Overtaken&) {
    // The CPU was about to read it.
  } catch (const GpuBackend::Work::Stopped&) {
    // Without an error of this tape it is one of an earlier tape: who needs those values meets it.
  } catch (...) {
    error = std::current_exception();
  }
  try {
    if (batch) batch->run();
    in_flight.finish();  // what was encoded before is not lost
  } catch (...) {
    // These nodes have the error: whoever reads one meets it. What the CPU made of them may be another one.
    if (!error || in_flight.is_dead()) error = std::current_exception();
  }
  give_back(tape);
  if (error) std::rethrow_exception(error);
  return false;
}

}  // namespace detail

namespace {

Tape build_tape(const std::vector<array>& outputs, const detail::NodeSet* given = nullptr) {
  Tape tape;
  tape.tracing = detail::in_tracing() || detail::retain_graph();
  const bool watched = detail::observed();
  if (watched) tape.built_from = detail::now_ns();
  TapeBuilder(tape, given).add(outputs);
  if (watched) tape.built_to = detail::now_ns();
  return tape;
}

bool all_available(const std::vector<array>& arrays) {
  for (const array& a : arrays)
    if (!a.is_available()) return false;
  return true;
}

}  // namespace

void eval(std::vector<array> outputs) {
  if (all_available(outputs)) return;
  const WithoutOuterLock unlocked;
  if (detail::InOrder::any()) detail::wait_for_worker();
  while (!all_available(outputs)) {
    Tape tape = build_tape(outputs);
    detail::run_tape(tape, false);
    for (array& out : outputs)
      if (out.status() == array::Status::evaluated) detail::wait_for(*out.desc());
  }
}

void async_eval(std::vector<array> outputs) {
  if (all_available(outputs)) return;
  const WithoutOuterLock unlocked;
  detail::wait_for_room();
  // Queued in the order in which they claimed their nodes: a tape in the queue waits for earlier ones only.
  static std::mutex order;
  std::lock_guard lock(order);
  Tape tape = build_tape(outputs);
  if (tape.nodes.empty()) return;
  detail::enqueue([tape = std::move(tape), outputs = std::move(outputs)]() mutable {
    try {
      if (!detail::run_tape(tape, true)) async_eval(std::move(outputs));
    } catch (...) {
      // The nodes are unscheduled again: whoever reads one meets the error there, on his own thread.
    }
  });
}

}  // namespace mlx::core

namespace mlx::core::detail {
namespace {
thread_local int tracing_depth = 0;
thread_local int retain_depth = 0;
}  // namespace

Tape claim(const std::vector<array>& outputs, const NodeSet& given) { return build_tape(outputs, &given); }

bool in_tracing() { return tracing_depth > 0; }
bool retain_graph() { return retain_depth > 0; }
InTracing::InTracing() { ++tracing_depth; }
InTracing::~InTracing() { --tracing_depth; }
RetainGraph::RetainGraph() { ++retain_depth; }
RetainGraph::~RetainGraph() { --retain_depth; }

}  // namespace mlx::core::detail
