#include "mlx/graph/flight.h"

#include <algorithm>
#include <limits>

#include "mlx/graph/eval.h"
#include "mlx/graph/flights.h"
#include "mlx/graph/interrupt.h"
#include "mlx/primitives.h"

namespace mlx::core::detail {

using Node = array::ArrayDesc;

namespace {

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

std::atomic<uint64_t> continued{0};

}  // namespace

void set_status(Node& node, array::Status status) { Flights::all().set_status(node, status); }
void wait_for(const Node& node) { wait_for(node, std::numeric_limits<uint64_t>::max()); }
void wait_for(const Node& node, uint64_t before) {
  const WithoutOuterLock unlocked;
  Flights::all().wait_for(node, before);
}
void wait_for_flights() { Flights::all().wait_for_all(); }
uint64_t continued_flights() { return continued.load(); }

// --- one flight ---

Flight::Flight() : work_(gpu_backend()->begin()) {
  work_->retired = [this](GpuBackend::Work::Retired&& what) { retired(std::move(what)); };
}
Flight::~Flight() {
  work_->submit();
  while (work_->retire()) {
  }
}

void Flight::enter(uint64_t serial) {
  work_->enter();
  std::lock_guard lock(mutex_);
  has_owner_ = true;
  own_ = end();
  tapes_.push_back({serial, end()});
}

void Flight::leave() {
  work_->leave();
  std::lock_guard lock(mutex_);
  settle_now(own_);
  has_owner_ = false;
  tapes_.back().end = end();
  arrive();
}

void Flight::add(std::span<Node* const> readers, std::span<const array> outputs) {
  std::lock_guard lock(mutex_);
  const size_t unit = end();
  SmallVector<size_t, 4> made_of;
  for (const Node* reader : readers)
    for (const array& input : reader->inputs)
      if (const Entry* entry = find(*input.desc())) made_of.push_back(entry->number);
  for (const array& out : outputs) {
    Node& node = *out.desc();
    node.uses = static_cast<uint32_t>(end());
    entries_.push_back({node.weak_from_this(), &node, node.primitive->stream(), end(), unit, made_of});
  }
  work_->node = end();
}

const Flight::Entry* Flight::find(const Node& node) const {
  if (node.status.load(std::memory_order_acquire) != array::Status::evaluated) return nullptr;
  const uint64_t tape = node.tape;
  if (std::none_of(tapes_.begin(), tapes_.end(), [&](const OfTape& t) { return t.serial == tape; }))
    return nullptr;
  const auto at = static_cast<uint32_t>(node.uses - static_cast<uint32_t>(first_));
  return at < entries_.size() && entries_[at].key == &node ? &entries_[at] : nullptr;
}
bool Flight::has(const Node& node) const {
  std::lock_guard lock(mutex_);
  return find(node);
}
bool Flight::has_others() const {
  std::lock_guard lock(mutex_);
  return first_ < own_;
}

void Flight::finish() {
  work_->submit();
  while (work_->retire()) {
  }
  settle();
}
void Flight::settle() {
  std::exception_ptr error;
  {
    std::lock_guard lock(mutex_);
    error = settle_now(own_);
  }
  if (error) std::rethrow_exception(error);
}

bool Flight::wait_some() {
  const bool any = work_->retire();
  Flights::all().forget(take_finished());
  return any;
}

void Flight::retired(GpuBackend::Work::Retired&& what) {
  std::lock_guard lock(mutex_);
  late_.insert(late_.end(), what.late.begin(), what.late.end());
  if (what.error) {
    if (!failure_) failure_ = what.error;
    dead_ = true;
  } else if (!failure_) {
    done_ = std::max(done_, what.nodes);
  }
  if (!has_owner_) {
    settle_now(end());
  } else if (late_.empty() && !failure_) {
    arrive();
  } else {
    work_->trouble.store(true,
                         std::memory_order_release);  // the owner may have settled before this was known
  }
}

std::exception_ptr Flight::settle_now(size_t own) {
  work_->trouble.store(false, std::memory_order_release);
  std::exception_ptr of_owner;
  std::stable_sort(late_.begin(), late_.end(), [](const auto& a, const auto& b) { return a.node < b.node; });
  for (const GpuBackend::Work::Late& late : late_) {
    if (late.node >= own && !of_owner) of_owner = late.error;
    for (size_t i = std::max(late.node, first_); i < end(); ++i) {
      Entry& e = entries_[i - first_];
      const bool is_lost =
          e.unit == late.node || std::any_of(e.made_of.begin(), e.made_of.end(), [&](size_t from) {
            return from >= first_ && entries_[from - first_].lost;
          });
      if (is_lost && !e.lost) e.lost = late.error;
    }
  }
  late_.clear();
  if (failure_) {
    for (size_t i = std::max(done_, first_); i < end(); ++i)
      if (Entry& e = entries_[i - first_]; !e.lost) e.lost = failure_;
    done_ = end();
    of_owner = failure_;
  }
  // Those behind are lost at once: whoever encodes next must not read them.
  std::vector<std::shared_ptr<Node>> lost;
  for (Entry& e : entries_) {
    std::shared_ptr<Node> node = e.lost ? e.node.lock() : nullptr;
    if (!node) continue;
    node->data = nullptr;
    if (!node->primitive) node->primitive = std::make_shared<Lost>(e.stream, e.lost);
    e.node.reset();
    lost.push_back(std::move(node));
  }
  if (!lost.empty()) {
    std::lock_guard lock(claim_mutex());
    for (const std::shared_ptr<Node>& node : lost) set_status(*node, array::Status::unscheduled);
  }
  arrive();
  return of_owner;
}

void Flight::arrive() {
  for (; first_ < done_ && !entries_.empty(); ++first_) {
    if (!entries_.front().lost)
      if (const std::shared_ptr<Node> node = entries_.front().node.lock())
        set_status(*node, array::Status::available);
    entries_.pop_front();
  }
}

std::vector<uint64_t> Flight::take_finished() {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> out;
  const size_t open = has_owner_;  // its last tape is not at its end
  while (tapes_.size() > open && tapes_.front().end <= first_) {
    out.push_back(tapes_.front().serial);
    tapes_.pop_front();
  }
  return out;
}

// --- the flight of a tape ---

InFlight::~InFlight() {
  if (!flight_) return;
  try {
    finish();
  } catch (...) {
    // Who evaluated has asked before.
  }
  park();
}

void InFlight::start() {
  if (flight_) return;
  Flights::all().wait_for_room();
  flight_ = std::make_shared<Flight>();
  Flights::all().add(serial_, flight_);
  flight_->enter(serial_);
}

void InFlight::join(const Tape& tape) {
  if (tape.behind.empty() || !gpu_backend()) return;
  const bool uses_gpu = std::any_of(tape.nodes.begin(), tape.nodes.end(), [](const Node* node) {
    return node && node->primitive->device() == Device::gpu;
  });
  if (!uses_gpu) return;
  for (const Node* node : tape.behind) {
    flight_ = Flights::all().take(*node, serial_);
    if (!flight_) continue;
    ++continued;
    return flight_->enter(serial_);
  }
}

bool InFlight::is_encoded(const Node& node) const {
  return (!leaves_out_ && node.tape == serial_) || (flight_ && flight_->has(node));
}
bool InFlight::is_inside(const Node& input, const Node& node) const {
  return input.tape == serial_ && input.fused >= 0 && input.fused == node.fused;
}

bool InFlight::wait_for_inputs(const Node& node) {
  bool waited = false;
  for (const array& input : node.inputs) {
    const Node& in = *input.desc();
    const array::Status status = in.status.load(std::memory_order_acquire);
    if (status == array::Status::available) continue;
    const bool waits = status == array::Status::evaluated;
    if (waits && (is_encoded(in) || is_inside(in, node))) continue;
    if (flight_) {
      if (waits) flight_->count_wait(node.primitive->name());
      // Whoever computes it may need what this tape has taken.
      if (flight_->has_others()) finish();
    }
    if (waits) wait_for(in, serial_);
    if (in.status.load(std::memory_order_acquire) != array::Status::available) throw Overtaken();
    waited = true;
  }
  return waited;
}

void InFlight::finish_for(std::span<Node* const> nodes) {
  if (!flight_) return;
  const bool waits = std::any_of(nodes.begin(), nodes.end(), [&](const Node* node) {
    return used_by_gpu(node->inputs) ||
           std::any_of(node->inputs.begin(), node->inputs.end(),
                       [&](const array& in) { return flight_->has(*in.desc()); });
  });
  if (!waits) return;
  finish();
  // What an earlier tape's error took along is met here.
  for (Node* node : nodes) wait_for_inputs(*node);
}

void InFlight::park() {
  if (!flight_) return;
  const std::shared_ptr<Flight> flight = std::move(flight_);
  flight_ = nullptr;
  flight->submit();
  flight->leave();
  Flights::all().give(*flight);
  Flights::all().forget(flight->take_finished());
}

}  // namespace mlx::core::detail
