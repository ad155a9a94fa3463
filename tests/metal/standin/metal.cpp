// The classes of Metal, on top of the device that stands behind (the simulator of MLX_STANDIN_DEVICE).
// Encoders and command buffers are watched as Metal's validation layer does.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "runtime.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace metal = mlx::core::metal;

using standin::Id;
extern "C" {
extern Id MTLCommandBufferEncoderInfoErrorKey __attribute__((visibility("default")));
Id MTLCommandBufferEncoderInfoErrorKey = nullptr;
const standin::ClassInfo* objc_getClass(const char* name);
}

namespace standin {
namespace {

constexpr long kCommitted = 2, kCompleted = 4, kFailed = 5;             // MTLCommandBufferStatus
constexpr long kEncoderCompleted = 1, kEncoderFaulted = 4;              // MTLCommandEncoderErrorState
constexpr long kInternal = 1, kAccessRevoked = 4, kCompileFailure = 3;  // errors

std::atomic<long> next_failure{0};  // a code of MTLCommandBufferError, for the next command buffer
std::atomic<bool> capturing{false};
std::atomic<size_t> all_wired{0}, most_wired{0};  // bytes that residency sets keep

metal::Device* behind() {
  static metal::Device* const device = [] {
    const char* file = std::getenv("MLX_STANDIN_DEVICE");
    void* library = dlopen(file ? file : "libmlx_metal_sim.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) die(std::string("no device: ") + dlerror());
    auto* make = reinterpret_cast<metal::Device* (*)()>(dlsym(library, "mlx_metal_simulator_device"));
    if (!make) die("no mlx_metal_simulator_device in the device's library");
    return make();
  }();
  return device;
}

// NSError** of a method that failed with `e`.
Id refuse(Id* error, long code, const std::string& text) {
  if (error) *error = autorelease(make_error(code, text));
  return nullptr;
}

#define CLASS(Name, Fields)                           \
  struct Name : Instance {                            \
    static constexpr const char* kName = "MTL" #Name; \
    Fields fields;                                    \
  }

struct DeviceFields {};
CLASS(Device, DeviceFields);
struct ArchitectureFields {};
CLASS(Architecture, ArchitectureFields);
CLASS(Buffer, std::shared_ptr<metal::Buffer>);
struct Options {
  bool fast = false;
  UInteger language = 0;
};
CLASS(CompileOptions, Options);
CLASS(Library, std::shared_ptr<metal::Library>);
struct FunctionFields {
  std::shared_ptr<metal::Library> library;
  std::string name;
  std::vector<metal::FunctionConstant> constants;
};
CLASS(Function, FunctionFields);
CLASS(FunctionConstantValues, std::vector<metal::FunctionConstant>);
CLASS(ComputePipelineState, std::shared_ptr<metal::Pipeline>);
struct QueueFields {
  std::shared_ptr<metal::Queue> queue;
  std::shared_ptr<std::atomic<bool>> dead = std::make_shared<std::atomic<bool>>(false);
  std::vector<Held> residency;
};
CLASS(CommandQueue, QueueFields);
struct DescriptorFields {
  bool retained = true;
  UInteger errors = 0;
};
CLASS(CommandBufferDescriptor, DescriptorFields);
CLASS(SharedEvent, std::shared_ptr<metal::Event>);
struct InfoFields {
  Held label;
  long state = 0;
};
CLASS(CommandBufferEncoderInfo, InfoFields);
// Buffers bound to an encoder are resident by that; a set makes what it was committed with resident beyond
// it.
class Wired {
 public:
  Wired() : Wired(0) {}
  explicit Wired(size_t bytes) : bytes_(bytes) { all_wired += bytes; }
  Wired(Wired&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  Wired& operator=(Wired&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Wired() { all_wired -= bytes_; }

 private:
  size_t bytes_;
};
struct ResidencyFields {
  std::vector<Id> allocations;  // not retained
  bool changed = false;         // since the last commit
  Wired wired;                  // what it was committed with
};
CLASS(ResidencySet, ResidencyFields);
struct Nothing {};
CLASS(ResidencySetDescriptor, Nothing);
CLASS(CaptureManager, Nothing);
struct CaptureFields {
  Held object, url;
  long destination = 1;
};
CLASS(CaptureDescriptor, CaptureFields);

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

struct Completion {
  std::mutex mutex;
  std::condition_variable changed;
  long status = 0;
};
struct CommandBufferFields {
  std::shared_ptr<metal::CommandBuffer> commands;
  Held queue;
  DescriptorFields settings;
  Id open_encoder = nullptr;
  std::vector<std::string> encoders;  // labels
  std::vector<Id> used;               // not retained
  std::vector<Held> retained;
  std::vector<std::shared_ptr<BlockLayout>> handlers;
  std::shared_ptr<Completion> completion = std::make_shared<Completion>();
  Held error;
};
CLASS(CommandBuffer, CommandBufferFields);
struct EncoderFields {
  Held buffer;
  bool ended = true;
  std::string label;
  Id pipeline = nullptr;
  std::vector<std::function<void(metal::CommandBuffer&, const std::string&)>> commands;
};
struct ComputeCommandEncoder : Instance {
  static constexpr const char* kName = "MTLComputeCommandEncoder";
  EncoderFields fields;
};

CommandBufferFields& open_buffer(Id self, const char* what) {
  CommandBufferFields& f = as<CommandBuffer>(self).fields;
  if (f.completion->status >= kCommitted) fault(std::string(what) + " after commit");
  return f;
}
EncoderFields& encoding(Id self, const char* what) {
  EncoderFields& f = as<ComputeCommandEncoder>(self).fields;
  if (f.ended) fault(std::string(what) + " after endEncoding");
  return f;
}
void use(EncoderFields& f, Id resource) {
  CommandBufferFields& b = as<CommandBuffer>(f.buffer).fields;
  b.used.push_back(resource);
  if (b.settings.retained) b.retained.emplace_back(resource);
}
metal::Size size_of(Extent e) {
  return {static_cast<uint32_t>(e.width), static_cast<uint32_t>(e.height), static_cast<uint32_t>(e.depth)};
}

// What the device is about to use must be there.
void check_resources(const CommandBufferFields& f) {
  for (Id resource : f.used)
    if (as<Instance>(resource).dead) fault("commit of a command buffer that uses a deallocated resource");
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

void end_encoding(Id self, Selector) {
  EncoderFields& f = encoding(self, "endEncoding");
  if (f.ended) return;
  f.ended = true;
  CommandBufferFields& b = as<CommandBuffer>(f.buffer).fields;
  b.open_encoder = nullptr;
  if (!b.encoders.empty())
    b.commands->barrier();  // encoders follow one another where they touch the same memory
  b.encoders.push_back(f.label);
  for (const auto& command : f.commands) command(*b.commands, f.label);
  f.commands.clear();
}

Id new_encoder(Id self, Selector, UInteger) {
  CommandBufferFields& f = open_buffer(self, "computeCommandEncoderWithDispatchType:");
  if (f.open_encoder) fault("an encoder was asked for while another one is open");
  auto* e = new ComputeCommandEncoder{{ComputeCommandEncoder::kName,
                                       [](Instance* i) {
                                         auto& fields = static_cast<ComputeCommandEncoder*>(i)->fields;
                                         if (!fields.ended)
                                           fault("an encoder was deallocated without endEncoding");
                                         fields = {};
                                       }},
                                      {}};
  e->fields.buffer = Held(self);
  e->fields.ended = false;
  f.open_encoder = id_of(e);
  return autorelease(id_of(e));
}

template <auto Dispatch>
void dispatch(Id self, Selector selector, Extent grid, Extent group) {
  const auto* name = reinterpret_cast<const char*>(selector);
  EncoderFields& f = encoding(self, name);
  if (!f.pipeline) return fault(std::string(name) + " without a pipeline");
  const auto& pipeline = as<ComputePipelineState>(f.pipeline).fields;
  const UInteger threads = group.width * group.height * group.depth;
  if (threads == 0 || threads > pipeline->max_threads_per_threadgroup())
    return fault(std::string(name) + " with " + std::to_string(threads) + " threads in a threadgroup");
  f.commands.push_back(
      [g = size_of(grid), t = size_of(group)](metal::CommandBuffer& c, const std::string& label) {
        (c.*Dispatch)(g, t, label);
      });
}

void add_encoder() {
  using C = metal::CommandBuffer;
  const char* encoder = "MTLComputeCommandEncoder";
  method("MTLCommandEncoder", "endEncoding", end_encoding);
  method(
      "MTLCommandEncoder",
      "setLabel:", +[](Id self, Selector, Id label) { encoding(self, "setLabel:").label = text_of(label); });
  method(
      encoder, "setComputePipelineState:", +[](Id self, Selector, Id state) {
        EncoderFields& f = encoding(self, "setComputePipelineState:");
        f.pipeline = state;
        use(f, state);
        f.commands.push_back(
            [p = as<ComputePipelineState>(state).fields](C& c, const std::string&) { c.set_pipeline(p); });
      });
  method(
      encoder,
      "setBuffer:offset:atIndex:", +[](Id self, Selector, Id buffer, UInteger offset, UInteger index) {
        EncoderFields& f = encoding(self, "setBuffer:offset:atIndex:");
        if (index > 30) return fault("setBuffer:offset:atIndex: with index " + std::to_string(index));
        if (as<Instance>(buffer).dead) return fault("setBuffer:offset:atIndex: with a deallocated buffer");
        const auto& memory = as<Buffer>(buffer).fields;
        if (offset > memory->length())
          return fault("setBuffer:offset:atIndex: with an offset beyond the buffer");
        use(f, buffer);
        f.commands.push_back([=](C& c, const std::string&) {
          c.set_buffer(static_cast<uint32_t>(index), memory, offset, memory->length() - offset);
        });
      });
  method(
      encoder,
      "setBytes:length:atIndex:", +[](Id self, Selector, const void* bytes, UInteger n, UInteger index) {
        EncoderFields& f = encoding(self, "setBytes:length:atIndex:");
        if (n == 0 || n > 4096 || index > 30)
          return fault("setBytes:length:atIndex: of " + std::to_string(n) + " bytes");
        f.commands.push_back(
            [=, copy = std::string(static_cast<const char*>(bytes), n)](C& c, const std::string&) {
              c.set_bytes(static_cast<uint32_t>(index), copy.data(), copy.size());
            });
      });
  method(
      encoder, "setThreadgroupMemoryLength:atIndex:", +[](Id self, Selector, UInteger n, UInteger index) {
        EncoderFields& f = encoding(self, "setThreadgroupMemoryLength:atIndex:");
        if (n % 16 || n > behind()->info().max_threadgroup_memory)
          return fault("setThreadgroupMemoryLength:atIndex: of " + std::to_string(n) + " bytes");
        f.commands.push_back(
            [=](C& c, const std::string&) { c.set_threadgroup_memory(static_cast<uint32_t>(index), n); });
      });
  method(encoder, "dispatchThreads:threadsPerThreadgroup:", dispatch<&C::dispatch_threads>);
  method(encoder, "dispatchThreadgroups:threadsPerThreadgroup:", dispatch<&C::dispatch_groups>);
  method(
      encoder, "memoryBarrierWithScope:", +[](Id self, Selector, UInteger scope) {
        EncoderFields& f = encoding(self, "memoryBarrierWithScope:");
        if (scope != 1) return fault("memoryBarrierWithScope: for other things than buffers");
        f.commands.push_back([](C& c, const std::string&) { c.barrier(); });
      });
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
        f.commands->signal(as<SharedEvent>(event).fields, value);
      });
  method(
      buffer, "encodeWaitForEvent:value:", +[](Id self, Selector, Id event, uint64_t value) {
        CommandBufferFields& f = open_buffer(self, "encodeWaitForEvent:value:");
        if (f.open_encoder) return fault("encodeWaitForEvent:value: while an encoder is open");
        f.commands->wait_for(as<SharedEvent>(event).fields, value);
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
}

void add_device() {
  const char* device = "MTLDevice";
  method(device, "name", +[](Id, Selector) { return autorelease(make_string(behind()->info().name)); });
  method(device, "architecture", +[](Id, Selector) { return autorelease(id_of(create<Architecture>())); });
  method(
      "MTLArchitecture", "name",
      +[](Id, Selector) { return autorelease(make_string(behind()->info().architecture)); });
  method(
      device, "supportsFamily:", +[](Id, Selector, Integer family) {
        return family >= 1001 && family <= 1000 + behind()->info().family;
      });
  method(
      device, "maxBufferLength",
      +[](Id, Selector) -> UInteger { return behind()->info().max_buffer_length; });
  method(
      device, "maxThreadgroupMemoryLength",
      +[](Id, Selector) -> UInteger { return behind()->info().max_threadgroup_memory; });
  method(
      device, "maxThreadsPerThreadgroup", +[](Id, Selector) {
        const metal::Size s = behind()->info().max_threads_per_threadgroup;
        return Extent{s.x, s.y, s.z};
      });
  method(
      device, "recommendedMaxWorkingSetSize",
      +[](Id, Selector) -> uint64_t { return behind()->info().recommended_working_set; });
  method(
      device, "newBufferWithLength:options:", +[](Id, Selector, UInteger n, UInteger options) -> Id {
        if (options & 0xf0) fault("newBufferWithLength:options: of memory that the CPU does not share");
        if (n == 0) fault("newBufferWithLength:options: of no bytes");
        try {
          auto memory = behind()->allocate(n);
          auto* b = create<Buffer>();
          b->fields = std::move(memory);
          return id_of(b);
        } catch (const std::exception&) {
          return nullptr;
        }
      });
  method(
      device, "newBufferWithBytesNoCopy:length:options:deallocator:",
      +[](Id, Selector, const void* bytes, UInteger n, UInteger, Block) -> Id {
        auto memory = behind()->wrap(const_cast<void*>(bytes), n);
        if (!memory) return nullptr;
        auto* b = create<Buffer>();
        b->fields = std::move(memory);
        return id_of(b);
      });
  method(
      "MTLBuffer", "contents",
      +[](Id self, Selector) -> const void* { return as<Buffer>(self).fields->contents(); });
  method(
      device,
      "newLibraryWithSource:options:error:", +[](Id, Selector, Id source, Id options, Id* error) -> Id {
        const Options& o = as<CompileOptions>(options).fields;
        // Metal calls a source program_source, but its messages go by #line.
        const std::string& text = text_of(source);
        const std::string line = "#line 1 \"";
        const std::string name = text.compare(0, line.size(), line) == 0
                                     ? text.substr(line.size(), text.find('"', line.size()) - line.size())
                                     : "program_source";
        try {
          auto library = behind()->compile(
              text, name,
              {o.fast, static_cast<int>(o.language >> 16), static_cast<int>(o.language & 0xffff)});
          auto* l = create<Library>();
          l->fields = std::move(library);
          return id_of(l);
        } catch (const std::exception& e) {
          return refuse(error, kCompileFailure, e.what());
        }
      });
  method(
      "MTLCompileOptions", "setMathMode:", +[](Id self, Selector, Integer mode) {
        as<CompileOptions>(self).fields.fast = mode == 2;
      });
  method(
      "MTLCompileOptions", "setFastMathEnabled:", +[](Id self, Selector, bool fast) {
        as<CompileOptions>(self).fields.fast = fast;
      });
  method(
      "MTLCompileOptions", "setLanguageVersion:", +[](Id self, Selector, UInteger version) {
        as<CompileOptions>(self).fields.language = version;
      });
  method(
      "MTLLibrary", "functionNames", +[](Id self, Selector) {
        std::vector<Id> names;
        for (const std::string& name : as<Library>(self).fields->kernels())
          names.push_back(make_string(name));
        const Id array = make_array(names);
        for (Id name : names) release(name);
        return autorelease(array);
      });
  static const auto function = [](Id self, Id name, std::vector<metal::FunctionConstant> constants) -> Id {
    const auto& library = as<Library>(self).fields;
    const auto kernels = library->kernels();
    if (std::find(kernels.begin(), kernels.end(), text_of(name)) == kernels.end()) return nullptr;
    auto* f = create<Function>();
    f->fields = {library, text_of(name), std::move(constants)};
    return id_of(f);
  };
  method(
      "MTLLibrary",
      "newFunctionWithName:", +[](Id self, Selector, Id name) { return function(self, name, {}); });
  method(
      "MTLLibrary", "newFunctionWithName:constantValues:error:",
      +[](Id self, Selector, Id name, Id values, Id* error) -> Id {
        const Id f = function(self, name, as<FunctionConstantValues>(values).fields);
        return f ? f : refuse(error, 5, "no function " + text_of(name));
      });
  method(
      "MTLFunctionConstantValues", "setConstantValue:type:atIndex:",
      +[](Id self, Selector, const void* value, UInteger type, UInteger index) {
        auto& all = as<FunctionConstantValues>(self).fields;
        const auto add = [&]<class T>(T v) {
          std::memcpy(&v, value, sizeof v);
          all.push_back({static_cast<uint16_t>(index), v});
        };
        if (type == 53)
          add(bool{});
        else if (type == 29)
          add(int32_t{});
        else if (type == 33)
          add(uint32_t{});
        else if (type == 3)
          add(float{});
        else
          fault("setConstantValue:type:atIndex: with type " + std::to_string(type));
      });
  method(
      device, "newComputePipelineStateWithFunction:error:", +[](Id, Selector, Id function, Id* error) -> Id {
        const FunctionFields& f = as<Function>(function).fields;
        try {
          auto pipeline = f.library->pipeline(f.name, f.constants);
          auto* p = create<ComputePipelineState>();
          p->fields = std::move(pipeline);
          return id_of(p);
        } catch (const std::exception& e) {
          return refuse(error, 3, e.what());
        }
      });
  const char* pipeline = "MTLComputePipelineState";
  method(
      pipeline, "maxTotalThreadsPerThreadgroup", +[](Id self, Selector) -> UInteger {
        return as<ComputePipelineState>(self).fields->max_threads_per_threadgroup();
      });
  method(
      pipeline, "threadExecutionWidth",
      +[](Id self, Selector) -> UInteger { return as<ComputePipelineState>(self).fields->simd_width(); });
  method(
      pipeline, "staticThreadgroupMemoryLength", +[](Id self, Selector) -> UInteger {
        return as<ComputePipelineState>(self).fields->static_threadgroup_memory();
      });
  method(
      device, "newCommandQueue", +[](Id, Selector) {
        auto* q = create<CommandQueue>();
        q->fields.queue = behind()->new_queue();
        return id_of(q);
      });
  method(
      device, "newSharedEvent", +[](Id, Selector) {
        auto* e = create<SharedEvent>();
        e->fields = behind()->new_event();
        return id_of(e);
      });
  method(
      "MTLSharedEvent", "signaledValue",
      +[](Id self, Selector) { return as<SharedEvent>(self).fields->value(); });
  method(
      "MTLSharedEvent", "setSignaledValue:", +[](Id self, Selector, uint64_t value) {
        as<SharedEvent>(self).fields->signal(value);
      });
  method(
      "MTLSharedEvent",
      "waitUntilSignaledValue:timeoutMS:", +[](Id self, Selector, uint64_t value, uint64_t ms) {
        return as<SharedEvent>(self).fields->wait(value, ms);
      });
}

void add_residency_and_capture() {
  method(
      "MTLDevice", "newResidencySetWithDescriptor:error:", +[](Id, Selector, Id, Id*) {
        return id_of(create<ResidencySet>());
      });
  const char* set = "MTLResidencySet";
  method(
      set, "addAllocation:", +[](Id self, Selector, Id allocation) {
        if (as<Instance>(allocation).dead) return fault("addAllocation: of a deallocated buffer");
        auto& f = as<ResidencySet>(self).fields;
        f.allocations.push_back(allocation);
        f.changed = true;
      });
  method(
      set, "removeAllocation:", +[](Id self, Selector, Id allocation) {
        auto& f = as<ResidencySet>(self).fields;
        const auto found = std::find(f.allocations.begin(), f.allocations.end(), allocation);
        if (found == f.allocations.end())
          return fault("removeAllocation: of what is not in the residency set");
        f.allocations.erase(found);
        f.changed = true;
      });
  method(
      set, "commit", +[](Id self, Selector) {
        auto& f = as<ResidencySet>(self).fields;
        for (Id allocation : f.allocations)
          if (as<Instance>(allocation).dead) fault("a residency set was committed with a deallocated buffer");
        f.changed = false;
        size_t bytes = 0;
        for (Id allocation : f.allocations)
          if (!as<Instance>(allocation).dead) bytes += as<Buffer>(allocation).fields->length();
        f.wired = Wired();
        f.wired = Wired(bytes);
        most_wired = std::max(most_wired.load(), all_wired.load());
      });
  method(
      set, "requestResidency", +[](Id self, Selector) {
        if (as<ResidencySet>(self).fields.changed) fault("requestResidency before commit");
      });
  method(set, "endResidency", +[](Id, Selector) {});
  method(
      "MTLCaptureManager", "sharedCaptureManager",
      +[](Id, Selector) {
        static CaptureManager* const manager = create<CaptureManager>();
        return id_of(manager);
      },
      '+');
  method("MTLCaptureManager", "isCapturing", +[](Id, Selector) { return capturing.load(); });
  method(
      "MTLCaptureManager", "supportsDestination:", +[](Id, Selector, Integer destination) {
        return destination == 2 && std::getenv("MTL_CAPTURE_ENABLED") != nullptr;
      });
  method(
      "MTLCaptureManager", "startCaptureWithDescriptor:error:", +[](Id, Selector, Id descriptor, Id* error) {
        const CaptureFields& f = as<CaptureDescriptor>(descriptor).fields;
        if (f.destination != 2 || !Id{f.url} || !Id{f.object}) {
          refuse(error, 3, "the capture's descriptor is incomplete");
          return false;
        }
        return !capturing.exchange(true);
      });
  method("MTLCaptureManager", "stopCapture", +[](Id, Selector) { capturing = false; });
  method(
      "MTLCaptureDescriptor", "setCaptureObject:", +[](Id self, Selector, Id object) {
        as<CaptureDescriptor>(self).fields.object = Held(object);
      });
  method(
      "MTLCaptureDescriptor", "setDestination:", +[](Id self, Selector, Integer destination) {
        as<CaptureDescriptor>(self).fields.destination = destination;
      });
  method(
      "MTLCaptureDescriptor", "setOutputURL:", +[](Id self, Selector, Id url) {
        as<CaptureDescriptor>(self).fields.url = Held(url);
      });
}

template <class T>
Id made() {
  return id_of(create<T>());
}

}  // namespace

void add_metal() {
  for (const char* name :
       {"MTLDevice", "MTLArchitecture", "MTLAllocation", "MTLLibrary", "MTLFunction",
        "MTLComputePipelineState", "MTLCommandQueue", "MTLCommandBuffer", "MTLCommandEncoder",
        "MTLCommandBufferEncoderInfo", "MTLEvent", "MTLResidencySet", "MTLCaptureManager"})
    add_class(name, nullptr);
  add_class("MTLResource", "MTLAllocation");
  add_class("MTLBuffer", "MTLResource");
  add_class("MTLComputeCommandEncoder", "MTLCommandEncoder");
  add_class("MTLSharedEvent", "MTLEvent");
  add_class("MTLCompileOptions", nullptr, made<CompileOptions>);
  add_class("MTLFunctionConstantValues", nullptr, made<FunctionConstantValues>);
  add_class("MTLCommandBufferDescriptor", nullptr, made<CommandBufferDescriptor>);
  add_class("MTLResidencySetDescriptor", nullptr, made<ResidencySetDescriptor>);
  add_class("MTLCaptureDescriptor", nullptr, made<CaptureDescriptor>);
  add_device();
  add_commands();
  add_encoder();
  add_residency_and_capture();
}

}  // namespace standin

using namespace standin;

EXPORT Id MTLCreateSystemDefaultDevice() {
  objc_getClass("NSString");
  if (!MTLCommandBufferEncoderInfoErrorKey)
    MTLCommandBufferEncoderInfoErrorKey = make_string("MTLCommandBufferEncoderInfoErrorKey");
  return id_of(create<Device>());
}
// For tests: the next command buffer that is committed fails with this MTLCommandBufferError. After 4 (access
// revoked) so do all later ones of its queue.
EXPORT void standin_fail_next(long code) { next_failure = code; }
// The bytes that residency sets keep, and the most that they have kept since the last question.
EXPORT size_t standin_wired() { return all_wired; }
EXPORT size_t standin_most_wired() { return most_wired.exchange(all_wired); }
