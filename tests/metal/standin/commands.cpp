// Command buffers and queues: what is checked at their commit, how they fail, who is told.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include "metal.h"

extern "C" {
extern mlx::core::metal::apple::Id MTLCommandBufferEncoderInfoErrorKey __attribute__((visibility("default")));
}

namespace standin {

// A block as its ABI has it, copied to the heap and back.
struct BlockLayout {
  void* isa;
  int flags, reserved;
  void (*invoke)(BlockLayout*, Id);
  struct {
    unsigned long reserved, size;
    void (*copy)(BlockLayout*, const BlockLayout*);
    void (*dispose)(BlockLayout*);
  } const* descriptor;
};

namespace {

constexpr long kCommitted = 2, kCompleted = 4, kFailed = 5;  // MTLCommandBufferStatus
constexpr long kEncoderCompleted = 1, kEncoderFaulted = 4;   // MTLCommandEncoderErrorState
constexpr long kInternal = 1, kAccessRevoked = 4;            // MTLCommandBufferError

std::shared_ptr<BlockLayout> copy_block(Block block) {
  const auto* from = static_cast<const BlockLayout*>(block);
  const bool helpers = from->flags & (1 << 25);
  auto* to = static_cast<BlockLayout*>(std::malloc(from->descriptor->size));
  std::memcpy(static_cast<void*>(to), from, from->descriptor->size);
  if (helpers) from->descriptor->copy(to, from);
  return {to, [helpers](BlockLayout* b) {
            if (helpers) b->descriptor->dispose(b);
            std::free(b);
          }};
}

// What the device is about to use must be there.
void check_resources(const CommandBufferFields& f) {
  for (Id resource : f.used)
    if (as<Instance>(resource).dead) fault("commit of a command buffer that uses a deallocated resource");
  for (const Step& step : f.steps)
    for (Id buffer : step.buffers)
      if (const Id heap = as<Buffer>(buffer).fields.piece.heap(); heap && as<Instance>(heap).dead)
        fault("commit of a command buffer that uses a buffer of a deallocated heap");
  for (const Held& set : as<CommandQueue>(f.queue).fields.residency) {
    const ResidencyFields& r = as<ResidencySet>(set).fields;
    if (r.changed)
      fault("commit of a command buffer while a residency set of its queue has changes to commit");
    for (Id allocation : r.allocations)
      if (as<Instance>(allocation).dead)
        fault("commit of a command buffer while a residency set of its queue holds a deallocated buffer");
  }
}

void complete(Id self, long code, const std::string& text) {
  CommandBufferFields& f = as<CommandBuffer>(self).fields;
  for (Id resource : f.used)
    if (as<Instance>(resource).dead) fault("a resource was deallocated before its command buffer completed");
  if (code) {
    std::vector<Id> infos;
    for (const std::string& label : f.encoders) {
      auto* info = create<CommandBufferEncoderInfo>();
      const bool named = !label.empty() && text.find(label) != std::string::npos;
      const Id name = make_string(label);
      info->fields.label = Held(name);
      release(name);
      info->fields.state = named || f.encoders.size() == 1 ? kEncoderFaulted : kEncoderCompleted;
      infos.push_back(id_of(info));
    }
    Id dictionary = nullptr;
    if (f.settings.errors & 1) {
      const Id array = make_array(infos);
      dictionary = make_dictionary(MTLCommandBufferEncoderInfoErrorKey, array);
      release(array);
    }
    for (Id info : infos) release(info);
    const Id error = make_error(code, text, dictionary);
    f.error = Held(error);
    release(error);
    if (dictionary) release(dictionary);
  }
  f.retained.clear();
  const auto completion = f.completion;
  {
    std::lock_guard lock(completion->mutex);
    completion->status = code ? kFailed : kCompleted;
  }
  for (const auto& handler : std::exchange(f.handlers, {})) handler->invoke(handler.get(), self);
  f.commands.reset();
  release(self);  // of commit
  {
    std::lock_guard lock(completion->mutex);
    completion->status += 100;  // handlers have run
  }
  completion->changed.notify_all();
}

void commit(Id self, Selector) {
  CommandBufferFields& f = open_buffer(self, "commit");
  if (f.completion->status >= kCommitted) return;
  if (f.open_encoder) fault("commit while an encoder is open");
  check_resources(f);
  check_order(f);
  f.completion->status = kCommitted;
  retain(self);
  auto& queue = as<CommandQueue>(f.queue).fields;
  const long failure = next_failure.exchange(0);
  if (failure == kAccessRevoked) *queue.dead = true;
  if (failure || *queue.dead) {
    const long code = failure ? failure : kAccessRevoked;
    std::thread([=] { complete(self, code, "Caused GPU error (injected)"); }).detach();
    return;
  }
  f.commands->commit([self](std::exception_ptr error) {
    if (!error) return complete(self, 0, "");
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      complete(self, kInternal, e.what());
    }
  });
}

}  // namespace

CommandBufferFields& open_buffer(Id self, const char* what) {
  CommandBufferFields& f = as<CommandBuffer>(self).fields;
  if (f.completion->status >= kCommitted) fault(std::string(what) + " after commit");
  return f;
}

void add_commands() {
  method(
      "MTLCommandQueue", "commandBufferWithDescriptor:", +[](Id self, Selector, Id descriptor) {
        auto* b = create<CommandBuffer>();
        b->fields.commands = as<CommandQueue>(self).fields.queue->command_buffer();
        b->fields.queue = Held(self);
        b->fields.settings = as<CommandBufferDescriptor>(descriptor).fields;
        return autorelease(id_of(b));
      });
  method(
      "MTLCommandQueue", "addResidencySet:", +[](Id self, Selector, Id set) {
        if (as<Instance>(set).dead) return fault("addResidencySet: of a deallocated set");
        auto& sets = as<CommandQueue>(self).fields.residency;
        if (sets.size() == 32) return fault("addResidencySet: to a queue that has 32 of them");
        sets.emplace_back(set);
      });
  method(
      "MTLCommandBufferDescriptor", "setErrorOptions:", +[](Id self, Selector, UInteger options) {
        as<CommandBufferDescriptor>(self).fields.errors = options;
      });
  method(
      "MTLCommandBufferDescriptor", "setRetainedReferences:", +[](Id self, Selector, bool retained) {
        as<CommandBufferDescriptor>(self).fields.retained = retained;
      });
  const char* buffer = "MTLCommandBuffer";
  method(buffer, "computeCommandEncoderWithDispatchType:", new_encoder);
  method(buffer, "commit", commit);
  method(buffer, "setLabel:", +[](Id self, Selector, Id) { open_buffer(self, "setLabel:"); });
  method(
      buffer, "addCompletedHandler:", +[](Id self, Selector, Block block) {
        open_buffer(self, "addCompletedHandler:").handlers.push_back(copy_block(block));
      });
  method(
      buffer, "encodeSignalEvent:value:", +[](Id self, Selector, Id event, uint64_t value) {
        CommandBufferFields& f = open_buffer(self, "encodeSignalEvent:value:");
        if (f.open_encoder) return fault("encodeSignalEvent:value: while an encoder is open");
        f.steps.push_back({event, true, value, {}, {}, {}});
        f.commands->signal(as<SharedEvent>(event).fields.event, value);
      });
  method(
      buffer, "encodeWaitForEvent:value:", +[](Id self, Selector, Id event, uint64_t value) {
        CommandBufferFields& f = open_buffer(self, "encodeWaitForEvent:value:");
        if (f.open_encoder) return fault("encodeWaitForEvent:value: while an encoder is open");
        f.steps.push_back({event, false, value, {}, {}, {}});
        f.commands->wait_for(as<SharedEvent>(event).fields.event, value);
      });
  method(
      buffer, "waitUntilCompleted", +[](Id self, Selector) {
        const auto completion = as<CommandBuffer>(self).fields.completion;
        std::unique_lock lock(completion->mutex);
        if (completion->status < kCommitted) return fault("waitUntilCompleted before commit");
        completion->changed.wait(lock, [&] { return completion->status > 100; });
      });
  method(
      buffer, "status", +[](Id self, Selector) -> UInteger {
        const auto completion = as<CommandBuffer>(self).fields.completion;
        std::lock_guard lock(completion->mutex);
        return static_cast<UInteger>(completion->status % 100);
      });
  method(buffer, "error", +[](Id self, Selector) -> Id { return as<CommandBuffer>(self).fields.error; });
  method(
      "MTLCommandBufferEncoderInfo", "label",
      +[](Id self, Selector) -> Id { return as<CommandBufferEncoderInfo>(self).fields.label; });
  method(
      "MTLCommandBufferEncoderInfo", "errorState",
      +[](Id self, Selector) -> Integer { return as<CommandBufferEncoderInfo>(self).fields.state; });
  method(
      "MTLDevice", "newCommandQueue", +[](Id, Selector) {
        auto* q = create<CommandQueue>();
        q->fields.queue = behind()->new_queue();
        return id_of(q);
      });
}

}  // namespace standin
