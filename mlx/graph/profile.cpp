#include <algorithm>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "mlx/debug.h"
#include "mlx/graph/observe.h"
#include "mlx/graph/origin.h"
#include "mlx/graph/worker.h"
#include "mlx/primitives.h"

namespace mlx::core::debug {
namespace {

using detail::now_ns;
using detail::Unit;
using Inputs = std::vector<const array*>;

// Units that cannot be told apart in a report: same operations on same shapes, built at the same places.
struct KindKey {
  std::vector<uint64_t> words;
  bool operator==(const KindKey&) const = default;

  void add(uint64_t word) { words.push_back(word); }
  void add(const Shape& shape, Dtype dtype) {
    add(static_cast<uint64_t>(dtype.val()) << 8 | shape.size());
    for (const ShapeElem n : shape) add(static_cast<uint64_t>(n));
  }
  struct Hash {
    size_t operator()(const KindKey& key) const {
      size_t hash = 0;
      for (const uint64_t word : key.words) hash = (hash ^ word) * 0x9e3779b97f4a7c15ull + (hash >> 29);
      return hash;
    }
  };
};

// Spans of building begin after the evaluations in them. Nodes that an evaluation makes for itself are part
// of it.
void take_evaluations_out(std::vector<ProfileBuilt>& built, std::vector<ProfileSpan> evaluations) {
  std::ranges::sort(evaluations, {}, &ProfileSpan::begin);
  std::unordered_map<uint32_t, std::vector<ProfileSpan>> by_thread;
  for (const ProfileSpan& span : evaluations) by_thread[span.thread].push_back(span);
  std::erase_if(built, [&](const ProfileBuilt& node) {
    const auto& own = by_thread[node.thread];
    const auto after = std::ranges::upper_bound(own, node.end, {}, &ProfileSpan::begin);
    return after != own.begin() && node.end < std::prev(after)->end;
  });
  std::vector<ProfileSpan> busy;
  for (const ProfileSpan& span : evaluations) {
    if (busy.empty() || span.begin > busy.back().end)
      busy.push_back(span);
    else
      busy.back().end = std::max(busy.back().end, span.end);
  }
  for (ProfileBuilt& node : built) {
    const auto next = std::ranges::upper_bound(busy, node.end, {}, &ProfileSpan::end);
    if (next != busy.begin()) node.begin = std::max(node.begin, std::prev(next)->end);
    const int64_t until = next == busy.end() ? node.end : std::min(node.end, next->begin);
    node.alone = std::max(until - node.begin, int64_t{0});
  }
  std::erase_if(built, [](const ProfileBuilt& node) { return node.alone == 0; });
}

}  // namespace

class Profiler::Impl : public detail::Observer, public detail::BuildListener {
 public:
  std::unique_ptr<detail::TapeWatch> watch(const Tape& tape) override;

  uint32_t kind_of(const Unit& unit, const Inputs& inputs, KindKey& key) {
    key.words.clear();
    const auto add = [&](const array::ArrayDesc& node) {
      key.add(std::hash<std::string_view>()(node.primitive->name()));
      key.add(node.origin);
    };
    if (unit.group.empty()) add(unit.root);
    for (const array::ArrayDesc* node : unit.group) add(*node);
    for (const array::ArrayDesc* node : unit.reductions()) add(*node);
    for (const array::ArrayDesc* node : unit.outputs) key.add(node->shape, node->dtype);
    key.add(unit.root.shape, unit.root.dtype);
    for (const array* in : inputs) key.add(in->shape(), in->dtype());
    std::lock_guard lock(mutex_);
    const auto [at, is_new] = kinds_.try_emplace(key, static_cast<uint32_t>(data_.kinds.size()));
    if (is_new) data_.kinds.push_back(describe(unit, inputs));
    return at->second;
  }
  uint32_t thread() {
    std::lock_guard lock(mutex_);
    return this_thread();
  }
  void built(const char* operation, uint32_t origin, int64_t begin, int64_t end) override {
    std::lock_guard lock(mutex_);
    data_.built.push_back(
        {operation, origin, this_thread(), std::max(begin - start_, int64_t{0}), end - start_, 0});
  }
  uint32_t this_thread() {
    return threads_.try_emplace(std::this_thread::get_id(), static_cast<uint32_t>(threads_.size()))
        .first->second;
  }
  void add(const std::vector<ProfileEvent>& events) {
    std::lock_guard lock(mutex_);
    for (ProfileEvent event : events) {
      event.begin -= start_;
      event.end -= start_;
      data_.events.push_back(event);
    }
  }
  void add_overhead(int64_t ns) {
    std::lock_guard lock(mutex_);
    data_.overhead += ns;
  }
  void add_span(std::vector<ProfileSpan> ProfileData::* list, uint32_t thread, int64_t begin, int64_t end) {
    std::lock_guard lock(mutex_);
    (data_.*list).push_back({thread, begin - start_, end - start_});
  }
  void stop() {
    std::lock_guard lock(mutex_);
    if (data_.wall == 0) end(data_);
  }
  ProfileData data() const {
    std::lock_guard lock(mutex_);
    ProfileData copy = data_;
    if (copy.wall == 0) end(copy);
    return copy;
  }

 private:
  void end(ProfileData& data) const {
    data.wall = now_ns() - start_;
    data.recording = detail::origin_time() - recorded_before_;
    take_evaluations_out(data.built, data.evaluations);
  }
  static ProfileKind describe(const Unit& unit, const Inputs& inputs) {
    ProfileKind kind;
    const auto add = [&](const array::ArrayDesc& node) {
      kind.names.emplace_back(node.primitive->name());
      kind.origins.push_back(node.origin);
    };
    if (unit.group.empty()) add(unit.root);
    for (const array::ArrayDesc* node : unit.group) add(*node);
    for (const array::ArrayDesc* node : unit.reductions()) add(*node);
    kind.elementwise = !unit.group.empty();
    kind.shape = unit.root.shape;
    if (unit.group.empty()) {
      for (const array& in : unit.root.inputs) kind.inputs.emplace_back(in.shape(), in.dtype());
    } else {
      for (const array* in : inputs) kind.inputs.emplace_back(in->shape(), in->dtype());
    }
    const auto& siblings = unit.root.group;
    if (!siblings) {
      if (unit.group.empty()) kind.outputs.emplace_back(unit.root.shape, unit.root.dtype);
      for (const array::ArrayDesc* node : unit.outputs) kind.outputs.emplace_back(node->shape, node->dtype);
    } else {
      for (size_t i = 0; i < siblings->shapes.size(); ++i)
        kind.outputs.emplace_back(siblings->shapes[i], siblings->dtypes[i]);
    }
    return kind;
  }

  const int64_t start_ = now_ns();
  const int64_t recorded_before_ = detail::origin_time();
  mutable std::mutex mutex_;
  ProfileData data_;
  std::unordered_map<KindKey, uint32_t, KindKey::Hash> kinds_;
  std::unordered_map<std::thread::id, uint32_t> threads_;
};

namespace {

template <class Impl>
class ProfileWatch : public detail::TapeWatch {
 public:
  ProfileWatch(Impl& impl, const Tape& tape) : impl_(impl), begin_(now_ns()), thread_(impl.thread()) {
    events_.reserve(tape.nodes.size());
    if (tape.built_from != 0) {
      // Built on another thread where the evaluation is asynchronous; then the two are apart.
      impl_.add_span(&ProfileData::planning, thread_, tape.built_from, tape.built_to);
      impl_.add_span(&ProfileData::evaluations, thread_, tape.built_from, tape.built_to);
    }
    plan_from_ = now_ns();
    overhead_ = plan_from_ - begin_;
  }
  ~ProfileWatch() override {
    const int64_t from = now_ns();
    // The plan is given up; after an operation that failed there is no telling.
    if (!running_ && planned_) impl_.add_span(&ProfileData::planning, thread_, event_.end, from);
    impl_.add(events_);
    const int64_t end = now_ns();
    impl_.add_overhead(overhead_ + end - from);
    impl_.add_span(&ProfileData::evaluations, thread_, begin_, end);
  }

  void begins(const Unit& unit) override {
    const int64_t from = now_ns();
    if (!planned_) {
      impl_.add_span(&ProfileData::planning, thread_, plan_from_, from);
      planned_ = true;
    }
    running_ = true;
    inputs_.clear();
    unit.inputs(inputs_);
    event_ = {.kind = impl_.kind_of(unit, inputs_, key_), .thread = thread_};
    buffers_.clear();
    for (const array* in : inputs_) {
      event_.read += static_cast<int64_t>(in->data_size() * in->itemsize());
      buffers_.push_back(in->data_shared_ptr().get());
    }
    event_.begin = now_ns();
    overhead_ += event_.begin - from;
  }
  void computed(const Unit& unit, std::vector<array>& outputs) override {
    for (const array& out : outputs) {
      event_.written += static_cast<int64_t>(out.data_size() * out.itemsize());
      const auto* buffer = out.data_shared_ptr().get();
      event_.shares_memory =
          event_.shares_memory ||
          (unit.group.empty() && std::find(buffers_.begin(), buffers_.end(), buffer) != buffers_.end());
    }
  }
  void ends() override {
    event_.end = now_ns();
    running_ = false;
    events_.push_back(event_);
  }

 private:
  Impl& impl_;
  const int64_t begin_;
  int64_t plan_from_ = 0;
  const uint32_t thread_;
  bool planned_ = false, running_ = false;
  int64_t overhead_ = 0;
  ProfileEvent event_;
  std::vector<ProfileEvent> events_;
  KindKey key_;
  Inputs inputs_;
  std::vector<const array::Data*> buffers_;
};

}  // namespace

std::unique_ptr<detail::TapeWatch> Profiler::Impl::watch(const Tape& tape) {
  return std::make_unique<ProfileWatch<Impl>>(*this, tape);
}

Profiler::Profiler() : impl_(std::make_shared<Impl>()) {
  detail::add_observer(impl_);
  detail::add_listener(impl_.get());
}
Profiler::~Profiler() { stop(); }
void Profiler::stop() {
  detail::wait_for_worker();  // what was begun in the block is part of it
  detail::remove_observer(impl_.get());
  detail::remove_listener(impl_.get());
  impl_->stop();
}
ProfileData Profiler::data() const { return impl_->data(); }

}  // namespace mlx::core::debug
