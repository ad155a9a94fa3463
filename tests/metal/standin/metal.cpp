// The entry points: the default device, and what tests ask for.
#include "metal.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using standin::Id;
extern "C" {
extern Id MTLCommandBufferEncoderInfoErrorKey __attribute__((visibility("default")));
Id MTLCommandBufferEncoderInfoErrorKey = nullptr;
const standin::ClassInfo* objc_getClass(const char* name);
}

namespace standin {
namespace {

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
  add_library();
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
