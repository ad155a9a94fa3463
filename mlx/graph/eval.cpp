// eval: collect what is pending into a tape in topological order, decide which element-wise nodes run
// together, run.
//
// Claiming. Building a tape claims every pending node that it reaches, under one mutex; a node that another
// tape has claimed is waited for when its value is needed. A tape only ever waits for older tapes, so no
// cycle of waiting arises. If a kernel throws, the tape's remaining nodes go back to `unscheduled`: nothing
// is lost, whoever needs them evaluates them again.
//
// Ownership. The tape holds plain pointers: a pending node is kept alive by its consumers' inputs, or by the
// caller. After a node has run it forgets its inputs, which frees or donates their memory as early as
// possible.
//
// The GPU. Nodes on it are encoded as the tape comes to them; they stay `evaluated` until the work is done
// (InFlight), which is waited for where the CPU wants a buffer that the GPU uses, and at the end of the tape.
// If that work fails, the values of these nodes are lost with what they were made of: whoever evaluates one
// meets the error again. So it is with nodes that were encoded behind one whose indices, as the GPU found
// out, are out of range. Nodes that were not encoded yet go back to `unscheduled`.
#include "mlx/graph/eval.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "mlx/graph/backend.h"
#include "mlx/graph/fuse.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/out_of_memory.h"
#include "mlx/graph/worker.h"
#include "mlx/primitives.h"
#include "mlx/transforms.h"

namespace mlx::core {
namespace {

using Node = array::ArrayDesc;

std::mutex claim_mutex;
uint64_t last_tape = 0;  // guarded by claim_mutex

// Threads that wait for a node somebody else computes. Those who finish nodes look at the counter only.
std::mutex wait_mutex;
std::condition_variable wait_condition;
std::atomic<int> waiters{0};

void set_status(Node& node, array::Status status) {
  node.status.store(status, std::memory_order_seq_cst);
  if (waiters.load(std::memory_order_seq_cst) > 0) {
    std::lock_guard lock(wait_mutex);
    wait_condition.notify_all();
  }
}

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
    std::lock_guard lock(claim_mutex);
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
      member.status.store(array::Status::evaluated);
      member.tape = tape_.serial;
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
        if (input.status.load(std::memory_order_acquire) == array::Status::unscheduled && !is_given(input))
          push(input);
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
  Tape& tape_;
  const detail::NodeSet* given_;  // null in most cases
  uint64_t steps_ = 0;
  std::vector<Frame> stack_;
  std::vector<Node*> claimed_;
};

void wait_for_inputs(Node& node, uint64_t serial) {
  for (const array& input : node.inputs) {
    const Node& in = *input.desc();
    if (in.status.load(std::memory_order_acquire) != array::Status::available && in.tape != serial)
      const_cast<array&>(input).wait();
  }
}

// Takes the place of what computed a value that a failure of the GPU has destroyed.
class Lost final : public Primitive {
 public:
  Lost(Stream s, std::exception_ptr error) : Primitive(s), error_(std::move(error)) {}
  void eval_cpu(const std::vector<array>&, std::vector<array>&) override { std::rethrow_exception(error_); }
  void eval_gpu(const std::vector<array>&, std::vector<array>&) override { std::rethrow_exception(error_); }
  const char* name() const override { return "Lost"; }

 private:
  const std::exception_ptr error_;
};

// What a tape has given to the GPU and not waited for yet.
class InFlight {
 public:
  bool started() const { return work_ != nullptr; }
  void start() {
    if (!work_) work_ = gpu_backend()->begin();
  }
  void add(Node& node) {
    nodes_.push_back({node.weak_from_this(), node.primitive->stream()});
    work_->node = nodes_.size();
  }

  // The CPU is about to read these, or to write into them.
  void finish_for(const std::vector<array>& inputs) {
    if (used_by_gpu(inputs)) finish();
  }
  void finish() {
    if (!work_) return;
    try {
      work_->finish();
    } catch (const GpuBackend::Work::Late& late) {
      arrived(late.node);
      lose(late.error);
      std::rethrow_exception(late.error);
    } catch (...) {
      lose(std::current_exception());
      throw;
    }
    arrived(nodes_.size());
  }

 private:
  struct Pending {
    std::weak_ptr<Node> node;
    Stream stream;
  };
  // The first `count` have their values.
  void arrived(size_t count) {
    const auto end = nodes_.begin() + static_cast<std::ptrdiff_t>(count);
    for (auto p = nodes_.begin(); p != end; ++p)
      if (const auto node = p->node.lock()) set_status(*node, array::Status::available);
    nodes_.erase(nodes_.begin(), end);
    work_->node = nodes_.size();
  }
  void lose(const std::exception_ptr& error) {
    for (const Pending& p : nodes_) {
      const auto node = p.node.lock();
      if (!node) continue;
      node->data = nullptr;
      if (!node->primitive) node->primitive = std::make_shared<Lost>(p.stream, error);
      set_status(*node, array::Status::unscheduled);
    }
    nodes_.clear();
    work_->node = 0;
  }

  std::unique_ptr<GpuBackend::Work> work_;
  std::vector<Pending> nodes_;
};

// `watches` and `unit` are null where nobody watches.
void run_node(Node& node, bool tracing, InFlight& in_flight, detail::Watches* watches,
              const detail::Unit* unit) {
  std::vector<array> outputs;
  if (node.group) {
    outputs = array(node.shared_from_this()).outputs();
    // An output that is available already was kept from an earlier run and must not change under its readers.
    for (array& out : outputs)
      if (out.is_available()) out = array(out.shape(), out.dtype(), out.primitive_ptr(), out.inputs());
  } else {
    outputs.push_back(array(node.shared_from_this()));
  }
  const bool on_gpu = node.primitive->device() == Device::gpu;
  if (on_gpu) {
    in_flight.start();
    node.primitive->eval_gpu(node.inputs, outputs);
  } else {
    if (in_flight.started()) in_flight.finish_for(node.inputs);
    node.primitive->eval_cpu(node.inputs, outputs);
  }
  if (on_gpu)
    for (array& out : outputs) {
      // It stays `evaluated`, but consumers must not look for it in their group.
      out.desc()->fused = kAlone;
      in_flight.add(*out.desc());
    }
  if (watches) {
    if (on_gpu) in_flight.finish();
    watches->computed(*unit, outputs);
  }
  for (array& out : outputs) {
    if (!on_gpu) set_status(*out.desc(), array::Status::available);
    if (!(tracing && out.desc()->tracer)) out.detach();
  }
}

// `outputs` is empty before and after: memory that groups share.
void run_group(detail::Fuser& fuser, Node& root, std::vector<array>& outputs, InFlight& in_flight,
               detail::Watches* watches, const detail::Unit& unit) {
  const bool on_gpu = root.primitive->device() == Device::gpu;
  fuser.outputs(root, outputs);
  if (on_gpu) {
    in_flight.start();
    fuser.run(root, outputs);
    for (array& out : outputs) in_flight.add(*out.desc());
  } else {
    if (in_flight.started())
      for (const Node* member : fuser.members(root)) in_flight.finish_for(member->inputs);
    fuser.run(root, outputs);
  }
  if (watches) {
    if (on_gpu) in_flight.finish();
    watches->computed(unit, outputs);
  }
  if (!on_gpu)
    for (array& out : outputs) set_status(*out.desc(), array::Status::available);
  outputs.clear();
  fuser.retire(root);
}

}  // namespace

namespace detail {

void give_back(Tape& tape) {
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

void run_tape(Tape& tape) {
  InFlight in_flight;
  try {
    Watches watches(tape);
    Fuser fuser(tape);
    const bool watched = watches.any();
    std::vector<array> outputs;
    for (size_t i = 0; i < tape.nodes.size(); ++i) {
      Node* node = tape.nodes[i];
      if (!node || fuser.is_interior(*node)) continue;
      for (Node* member : fuser.members(*node)) wait_for_inputs(*member, tape.serial);
      const Unit unit{*node, fuser.members(*node), tape, fuser.outputs(*node)};
      if (fuser.is_elementwise(*node)) {
        if (watched) watches.begins(unit);
        named(*node,
              [&] { run_group(fuser, *node, outputs, in_flight, watched ? &watches : nullptr, unit); });
      } else {
        wait_for_inputs(*node, tape.serial);
        if (watched) watches.begins(unit);
        named(*node, [&] { run_node(*node, tape.tracing, in_flight, watched ? &watches : nullptr, &unit); });
        tape.nodes[i] = nullptr;
      }
      if (watched) watches.ends();
      check_interrupt();
    }
    in_flight.finish();
  } catch (...) {
    try {
      in_flight.finish();  // what was encoded before is not lost
    } catch (...) {
      // These nodes have the error: whoever reads one meets it.
    }
    give_back(tape);
    throw;
  }
}

void wait_for(const Node& node) {
  const WithoutOuterLock unlocked;
  ++waiters;
  {
    std::unique_lock lock(wait_mutex);
    wait_condition.wait(lock, [&] { return node.status.load() != array::Status::evaluated; });
  }
  --waiters;
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
  while (!all_available(outputs)) {
    Tape tape = build_tape(outputs);
    detail::run_tape(tape);
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
      detail::run_tape(tape);
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
