// Fences and events, and what they order: Metal does not follow untracked memory, so two encoders that use it
// must not overlap.
#include <algorithm>

#include "metal.h"

namespace standin {
namespace {

constexpr long kCompleted = 4;  // MTLCommandBufferStatus

void merge(Clock& to, const Clock& from) {
  for (const auto& [queue, encoders] : from) to[queue] = std::max(to[queue], encoders);
}
bool is_untracked(Id buffer) { return as<Buffer>(buffer).fields.options & kUntrackedMemory; }
bool meets(const std::vector<Id>& some, const std::vector<Id>& others) {
  return std::any_of(some.begin(), some.end(),
                     [&](Id id) { return std::count(others.begin(), others.end(), id); });
}
bool is_done(Completion& completion) {
  std::lock_guard lock(completion.mutex);
  return completion.status >= kCompleted;
}

}  // namespace

bool follows(const std::vector<Step>& before, const Step& encoder) {
  std::vector<Id> tracked;
  for (Id buffer : encoder.buffers)
    if (!is_untracked(buffer)) tracked.push_back(buffer);
  return std::any_of(before.begin(), before.end(), [&](const Step& step) {
    return meets(step.buffers, tracked) || meets(step.updates, encoder.waits);
  });
}

void check_order(CommandBufferFields& f) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  const Id queue = f.queue;
  QueueFields& q = as<CommandQueue>(queue).fields;
  for (; !q.unfinished.empty() && is_done(*q.unfinished.front().second); q.unfinished.pop_front())
    q.finished = q.unfinished.front().first;
  Clock waited, done;  // behind events; what the next signal tells
  for (const Step& step : f.steps) {
    if (step.event) {
      auto& signals = as<SharedEvent>(step.event).fields.signals;
      if (step.signals) {
        if (!signals.empty()) merge(done, signals.rbegin()->second);
        merge(signals[step.value], done);
      } else if (const auto found = signals.lower_bound(step.value); found != signals.end()) {
        merge(waited, found->second);
        merge(done, waited);
      }
      continue;
    }
    Clock clock = waited;
    for (Id fence : step.waits) {
      const FenceFields& from = as<Fence>(fence).fields;
      if (!from.updated) fault("waitForFence: of a fence that nothing before updates");
      merge(clock, from.clock);
    }
    const uint64_t number = ++q.encoders;
    q.unfinished.emplace_back(number, f.completion);
    clock[queue] = std::max(clock[queue], q.finished);
    for (Id buffer : step.buffers) {
      BufferFields& b = as<Buffer>(buffer).fields;
      if (!is_untracked(buffer) || as<Instance>(buffer).dead) continue;
      const bool own = b.queue == queue && b.encoder == number;
      if (!own && (b.queue == queue || watch_across_queues) && b.completion && !is_done(*b.completion) &&
          clock[b.queue] < b.encoder)
        fault("two encoders use an untracked buffer, and no fence, event or wait orders them");
      b.queue = queue;
      b.encoder = number;
      b.completion = f.completion;
    }
    if (clock[queue] == number - 1) clock[queue] = number;
    for (Id fence : step.updates) {
      FenceFields& to = as<Fence>(fence).fields;
      merge(to.clock, clock);
      to.updated = true;
    }
    merge(done, clock);
  }
}

void add_fences() {
  method("MTLDevice", "newFence", +[](Id, Selector) { return id_of(create<Fence>()); });
  method(
      "MTLDevice", "newSharedEvent", +[](Id, Selector) {
        auto* e = create<SharedEvent>();
        e->fields.event = behind()->new_event();
        return id_of(e);
      });
  method(
      "MTLSharedEvent", "signaledValue",
      +[](Id self, Selector) { return as<SharedEvent>(self).fields.event->value(); });
  method(
      "MTLSharedEvent", "setSignaledValue:", +[](Id self, Selector, uint64_t value) {
        as<SharedEvent>(self).fields.event->signal(value);
      });
  method(
      "MTLSharedEvent",
      "waitUntilSignaledValue:timeoutMS:", +[](Id self, Selector, uint64_t value, uint64_t ms) {
        return as<SharedEvent>(self).fields.event->wait(value, ms);
      });
}

}  // namespace standin
