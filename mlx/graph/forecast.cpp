#include "mlx/graph/forecast.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "mlx/graph/batch.h"
#include "mlx/graph/eval.h"
#include "mlx/graph/fuse.h"
#include "mlx/graph/interrupt.h"
#include "mlx/graph_utils.h"

namespace mlx::core {

MemoryRules& memory_rules(Device::DeviceType type) {
  static MemoryRules rules[2];
  return rules[static_cast<int>(type)];
}

namespace {

using Node = array::ArrayDesc;

// A buffer without memory, whose end is noticed.
struct Counted {
  Counted(int64_t& live, int64_t bytes, bool owned) : live(live), bytes(bytes), data(data_of(owned)) {}
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { live -= bytes; }
  static array::Data data_of(bool owned) {
    const allocator::Buffer nowhere(nullptr);
    return owned ? array::Data(nowhere) : array::Data(nowhere, [](allocator::Buffer) {});
  }
  int64_t& live;
  const int64_t bytes;
  array::Data data;
};

// Where the elements of shadows are said to lie: views move their pointers, nobody reads.
char ground[1];

}  // namespace

void ShadowMemory::hold(array& out, size_t bytes, bool owned) {
  auto counted = std::make_shared<Counted>(live_, static_cast<int64_t>(bytes), owned);
  array::Data* data = &counted->data;
  out.set_data(array::Data(allocator::Buffer(nullptr)));  // for strides and flags
  out.desc()->data = std::shared_ptr<array::Data>(std::move(counted), data);
  out.desc()->data_ptr = ground;
}

void ShadowMemory::add(int64_t bytes) {
  live_ += bytes;
  if (live_ <= peak_) return;
  peak_ = live_;
  peak_operation_ = operation_;
}

void ShadowMemory::allocate(array& out, size_t bytes) {
  hold(out, bytes, true);
  add(static_cast<int64_t>(bytes));
}

void ShadowMemory::scratch(size_t bytes) {
  scratch_ += static_cast<int64_t>(bytes);
  add(static_cast<int64_t>(bytes));
}

void ShadowMemory::end() { live_ -= std::exchange(scratch_, 0); }

namespace {

class ShadowRun {
 public:
  ShadowRun(const Tape& tape, const detail::Fuser& fuser, const std::vector<array>& given,
            const std::vector<array>& released)
      : tape_(tape), fuser_(fuser), batching_(tape, fuser) {
    std::vector<array> all;  // until consumers and holders have their handles
    for (Node* node : tape.nodes) add_node(*node, all);
    hold_what_others_hold(given, released);
  }

  void run() {
    for (size_t i = 0; i < tape_.nodes.size(); ++i) {
      Node* const node = tape_.nodes[i];
      if (fuser_.is_interior(*node)) continue;
      if (!batching_.empty() && batching_.is_wanted_by(*node)) run_batch();
      memory_.begin(node->primitive->name());
      std::vector<array> computed = fuser_.is_elementwise(*node) ? run_group(*node) : run_single(*node);
      if (batching_.takes(*node, i)) {
        batch_.push_back(std::move(computed));
        batching_.add(*node);
        if (batching_.is_full()) run_batch();
      } else {
        retire(std::move(computed));
      }
      memory_.end();
    }
    run_batch();
  }
  const ShadowMemory& memory() const { return memory_; }

 private:
  using Handle = std::shared_ptr<Node>;
  Handle shadow(const Node& node) const {
    const auto at = shadows_.find(&node);
    return at == shadows_.end() ? nullptr : at->second.lock();
  }

  void add_node(Node& node, std::vector<array>& all) {
    const auto add = [&](const Node& member) {
      all.emplace_back(member.shape, member.dtype, nullptr, inputs_of(member, all));
      shadows_[&member] = all.back().desc_ptr();
    };
    if (!node.group) return add(node);
    for (const Handle& member : members_of(node))
      if (member) add(*member);
  }

  // The outputs of the node's operation; null where nobody holds one.
  static std::vector<Handle> members_of(Node& node) {
    std::vector<Handle> out;
    std::lock_guard lock(node.group->mutex);
    for (const auto& weak : node.group->members) out.push_back(weak.lock());
    return out;
  }

  std::vector<array> inputs_of(const Node& node, std::vector<array>& all) {
    std::vector<array> out;
    for (const array& in : node.inputs) {
      ++uses_[in.desc()];
      const Handle known = shadow(*in.desc());
      out.push_back(known ? array(known) : add_leaf(in, all));
    }
    return out;
  }

  // Something that has its value, or counts as if it had.
  array add_leaf(const array& in, std::vector<array>& all) {
    array out(in.shape(), in.dtype(), nullptr, {});
    if (in.is_available()) {  // else another thread may be writing its data
      const auto& data = in.data_shared_ptr();
      const auto [at, is_new] = buffers_.try_emplace(data.get());
      ++at->second.users;
      if (is_new) {
        const bool owned = data->is_owned();
        memory_.hold(out, owned ? in.buffer_size() : 0, owned);
        at->second.shadow = out.data_shared_ptr();
        at->second.real = data;
      }
      out.desc()->data = at->second.shadow.lock();
      out.desc()->data_ptr = ground;
      out.desc()->strides = in.strides();
      out.desc()->flags = in.flags();
      out.desc()->data_size = in.data_size();
    } else {
      memory_.hold(out, in.nbytes(), true);
    }
    shadows_[in.desc()] = out.desc_ptr();
    all.push_back(out);
    return out;
  }

  void hold_what_others_hold(const std::vector<array>& given, const std::vector<array>& released) {
    std::unordered_map<const Node*, long> discount;
    for (const array& a : given) ++discount[a.desc()];
    for (const array& a : released) discount[a.desc()] += 2;  // in the vector, and with the caller
    for (const auto& [node, weak] : shadows_) {
      const long others = node->weak_from_this().use_count() - uses_[node] - discount[node];
      if (others > 0) held_.emplace_back(weak.lock());
    }
    for (const auto& [data, buffer] : buffers_)
      if (buffer.real.use_count() > buffer.users) held_buffers_.push_back(buffer.shadow.lock());
  }

  // They return what keeps its inputs until it is retired.
  std::vector<array> run_single(Node& node) {
    const Handle self = shadow(node);
    if (!self) return {};
    std::vector<array> outputs;
    if (!node.group) {
      outputs.emplace_back(self);
    } else {
      const std::vector<Handle> members = members_of(node);
      for (size_t i = 0; i < members.size(); ++i) {
        const Handle known = members[i] ? shadow(*members[i]) : nullptr;
        if (known) {
          outputs.emplace_back(known);
        } else {
          outputs.emplace_back(node.group->shapes[i], node.group->dtypes[i], nullptr, self->inputs);
        }
      }
    }
    for (array& out : outputs) out.desc()->stored = node.stored;
    const Primitive& primitive = *node.primitive;
    const auto* rule = memory_rules(primitive.device().type).find(typeid(primitive));
    if (!rule) rule = memory_rules(Device::cpu).find(typeid(primitive));
    if (rule) {
      (*rule)(primitive, self->inputs, outputs, memory_);
    } else {
      for (array& out : outputs) memory_.allocate(out);
    }
    return outputs;
  }

  std::vector<array> run_group(Node& root) {
    std::vector<array> group, outputs, reductions;
    detail::Fuser::Inputs inputs;
    detail::Fuser::Outputs places;
    const detail::Fuser::Nodes& wanted = fuser_.outputs(root);
    for (Node* node : fuser_.members(root)) {
      const Handle self = shadow(*node);
      group.emplace_back(self);
      for (size_t k = 0; k < node->inputs.size(); ++k) {
        const Node& in = *node->inputs[k].desc();
        if (in.tape != tape_.serial || in.fused != root.fused) inputs.add(self->inputs[k], group.size() - 1);
      }
      if (std::find(wanted.begin(), wanted.end(), node) == wanted.end()) continue;
      outputs.push_back(group.back());
      places.push_back({self.get(), group.size() - 1});
    }
    const Donors donors = detail::Fuser::donors(places, inputs, false);
    auto rule = memory_rules(root.primitive->device().type).program();
    if (!rule) rule = memory_rules(Device::cpu).program();
    if (rule) {
      rule(inputs.arrays, outputs, donors, memory_);
    } else {
      for (array& out : outputs) memory_.allocate(out);
    }
    for (const Node* node : wanted) {
      if (detail::Fuser::is_elementwise(*node)) continue;
      reductions.emplace_back(shadow(*node));
      memory_.allocate(reductions.back());
    }
    for (array& reduction : reductions) reduction.detach();
    return group;
  }
  static void retire(std::vector<array> group) {
    for (size_t i = group.size(); i-- > 0;) group[i].detach();
  }
  void run_batch() {
    batching_.clear();
    for (std::vector<array>& group : batch_) retire(std::move(group));
    batch_.clear();
  }

  struct Buffer {
    std::weak_ptr<array::Data> shadow, real;
    long users = 0;  // leaves that lie in it
  };
  const Tape& tape_;
  const detail::Fuser& fuser_;
  detail::Batching batching_;
  ShadowMemory memory_;  // before all that lies in it
  std::unordered_map<const Node*, std::weak_ptr<Node>> shadows_;
  std::unordered_map<const Node*, long> uses_;
  std::unordered_map<const array::Data*, Buffer> buffers_;
  std::vector<std::vector<array>> batch_;
  std::vector<array> held_;
  std::vector<std::shared_ptr<array::Data>> held_buffers_;
};

struct GiveBack {
  Tape& tape;
  ~GiveBack() { detail::give_back(tape); }
};

}  // namespace

Forecast forecast_memory(const std::vector<array>& outputs, const std::vector<array>& given,
                         const std::vector<array>& released) {
  const WithoutOuterLock unlocked;  // who has claimed nodes may want it before he lets go
  detail::NodeSet set;
  for (const array& a : given) set.insert(a.desc());
  Tape tape = detail::claim(outputs, set);
  const GiveBack give_back{tape};
  const detail::Fuser fuser(tape);
  ShadowRun run(tape, fuser, given, released);
  run.run();
  const ShadowMemory& memory = run.memory();
  return {memory.peak(), memory.live(), memory.peak_operation()};
}

}  // namespace mlx::core
