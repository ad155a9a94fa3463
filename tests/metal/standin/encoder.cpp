// Encoders: commands are kept until endEncoding.
#include <algorithm>

#include "metal.h"

namespace standin {
namespace {

void use(EncoderFields& f, Id resource) {
  CommandBufferFields& b = as<CommandBuffer>(f.buffer).fields;
  b.used.push_back(resource);
  if (b.settings.retained) b.retained.emplace_back(resource);
}
metal::Size size_of(Extent e) {
  return {static_cast<uint32_t>(e.width), static_cast<uint32_t>(e.height), static_cast<uint32_t>(e.depth)};
}

void end_encoding(Id self, Selector) {
  EncoderFields& f = encoding(self, "endEncoding");
  if (f.ended) return;
  f.ended = true;
  CommandBufferFields& b = as<CommandBuffer>(f.buffer).fields;
  b.open_encoder = nullptr;
  if (follows(b.steps, f.step)) b.commands->barrier();
  b.steps.push_back(std::move(f.step));
  b.encoders.push_back(f.label);
  for (const auto& command : f.commands) command(*b.commands, f.label);
  f.commands.clear();
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

}  // namespace

EncoderFields& encoding(Id self, const char* what) {
  EncoderFields& f = as<ComputeCommandEncoder>(self).fields;
  if (f.ended) fault(std::string(what) + " after endEncoding");
  return f;
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
        const BufferFields& m = as<Buffer>(buffer).fields;
        if (offset > m.length) return fault("setBuffer:offset:atIndex: with an offset beyond the buffer");
        use(f, buffer);
        f.step.buffers.push_back(buffer);
        f.commands.push_back(
            [memory = m.memory, index, from = m.offset + offset, n = m.length - offset](
                C& c, const std::string&) { c.set_buffer(static_cast<uint32_t>(index), memory, from, n); });
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
      encoder, "waitForFence:", +[](Id self, Selector, Id fence) {
        Step& step = encoding(self, "waitForFence:").step;
        if (std::count(step.updates.begin(), step.updates.end(), fence))
          return fault("waitForFence: of a fence that the encoder has updated");
        step.waits.push_back(fence);
      });
  method(
      encoder, "updateFence:", +[](Id self, Selector, Id fence) {
        encoding(self, "updateFence:").step.updates.push_back(fence);
      });
  method(
      encoder, "memoryBarrierWithScope:", +[](Id self, Selector, UInteger scope) {
        EncoderFields& f = encoding(self, "memoryBarrierWithScope:");
        if (scope != 1) return fault("memoryBarrierWithScope: for other things than buffers");
        f.commands.push_back([](C& c, const std::string&) { c.barrier(); });
      });
}

}  // namespace standin
