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
        "MTLCommandBufferEncoderInfo", "MTLEvent", "MTLFence", "MTLResidencySet", "MTLCaptureManager"})
    add_class(name, nullptr);
  add_class("MTLResource", "MTLAllocation");
  add_class("MTLBuffer", "MTLResource");
  add_class("MTLHeap", "MTLAllocation");
  add_class("MTLComputeCommandEncoder", "MTLCommandEncoder");
  add_class("MTLSharedEvent", "MTLEvent");
  add_class("MTLCompileOptions", nullptr, made<CompileOptions>);
  add_class("MTLHeapDescriptor", nullptr, made<HeapDescriptor>);
  add_class("MTLFunctionConstantValues", nullptr, made<FunctionConstantValues>);
  add_class("MTLCommandBufferDescriptor", nullptr, made<CommandBufferDescriptor>);
  add_class("MTLResidencySetDescriptor", nullptr, made<ResidencySetDescriptor>);
  add_class("MTLCaptureDescriptor", nullptr, made<CaptureDescriptor>);
  add_device();
  add_heaps();
  add_fences();
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
// The next n heaps, or buffers in heaps, are not made.
EXPORT void standin_fail_heaps(long n) { heaps_to_fail = n; }
EXPORT void standin_fail_in_heaps(long n) { pieces_to_fail = n; }
EXPORT void standin_watch_across_queues(bool watch) { watch_across_queues = watch; }
// Of buffers in heaps from now on; 0: as at first.
EXPORT void standin_align_in_heaps(size_t bytes) { heap_alignment = bytes; }
// What the system gave for heaps that live.
EXPORT size_t standin_heap_bytes() { return heap_bytes; }
// How many heaps and buffers residency sets keep.
EXPORT size_t standin_wired_entries() { return all_entries; }
// The bytes that residency sets keep, and the most that they have kept since the last question.
EXPORT size_t standin_wired() { return all_wired; }
EXPORT size_t standin_most_wired() { return most_wired.exchange(all_wired); }
