// Every message that is sent to Metal and Foundation, with its types, and every enumerator that is passed.
// A test compares both with the description of the interface in tests/metal/standin.
#pragma once

#include "metal/apple/objc.h"

namespace mlx::core::metal::apple {

namespace ns {
inline const Message<Id(const char*, UInteger)> string_with_c_string{"+NSString",
                                                                     "stringWithCString:encoding:"};
inline const Message<const char*()> utf8{"NSString", "UTF8String"};
inline const Message<UInteger()> count{"NSArray", "count"};
inline const Message<Id(UInteger)> at{"NSArray", "objectAtIndex:"};
inline const Message<Id(Id)> value_of{"NSDictionary", "objectForKey:"};
inline const Message<Id()> description{"NSError", "localizedDescription"};
inline const Message<Integer()> code{"NSError", "code"};
inline const Message<Id()> user_info{"NSError", "userInfo"};
inline const Message<Id(Id)> file_url{"+NSURL", "fileURLWithPath:"};
}  // namespace ns

namespace mtl {
// MTLDevice
inline const Message<Id()> name{"MTLDevice", "name"};
inline const Message<Id()> architecture{"MTLDevice", "architecture"};
inline const Message<Id()> architecture_name{"MTLArchitecture", "name"};
inline const Message<bool(Integer)> supports_family{"MTLDevice", "supportsFamily:"};
inline const Message<UInteger()> max_buffer_length{"MTLDevice", "maxBufferLength"};
inline const Message<UInteger()> max_threadgroup_memory{"MTLDevice", "maxThreadgroupMemoryLength"};
inline const Message<Extent()> max_threads{"MTLDevice", "maxThreadsPerThreadgroup"};
inline const Message<uint64_t()> working_set{"MTLDevice", "recommendedMaxWorkingSetSize"};
inline const Message<Id(UInteger, UInteger)> new_buffer{"MTLDevice", "newBufferWithLength:options:"};
inline const Message<Id(const void*, UInteger, UInteger, Block)> new_buffer_around{
    "MTLDevice", "newBufferWithBytesNoCopy:length:options:deallocator:"};
inline const Message<SizeAndAlign(UInteger, UInteger)> heap_place{
    "MTLDevice", "heapBufferSizeAndAlignWithLength:options:"};
inline const Message<Id(Id)> new_heap{"MTLDevice", "newHeapWithDescriptor:"};
inline const Message<Id()> new_fence{"MTLDevice", "newFence"};
inline const Message<Id(Id, Id, Id*)> new_library{"MTLDevice", "newLibraryWithSource:options:error:"};
inline const Message<Id(Id, Id*)> new_pipeline{"MTLDevice", "newComputePipelineStateWithFunction:error:"};
inline const Message<Id()> new_queue{"MTLDevice", "newCommandQueue"};
inline const Message<Id()> new_shared_event{"MTLDevice", "newSharedEvent"};
inline const Message<Id(Id, Id*)> new_residency_set{"MTLDevice", "newResidencySetWithDescriptor:error:"};
// MTLBuffer, MTLHeapDescriptor, MTLHeap
inline const Message<const void*()> contents{"MTLBuffer", "contents"};
inline const Message<void(Integer)> set_heap_type{"MTLHeapDescriptor", "setType:"};
inline const Message<void(UInteger)> set_heap_options{"MTLHeapDescriptor", "setResourceOptions:"};
inline const Message<void(UInteger)> set_heap_size{"MTLHeapDescriptor", "setSize:"};
inline const Message<Id(UInteger, UInteger)> new_buffer_in{"MTLHeap", "newBufferWithLength:options:"};
inline const Message<UInteger(UInteger)> available_size{"MTLHeap", "maxAvailableSizeWithAlignment:"};
inline const Message<UInteger()> used_size{"MTLHeap", "usedSize"};
inline const Message<UInteger()> heap_size{"MTLHeap", "size"};
inline const Message<void(Id)> set_heap_label{"MTLHeap", "setLabel:"};
// MTLCompileOptions, MTLLibrary, MTLFunctionConstantValues, MTLComputePipelineState
inline const Message<void(Integer)> set_math_mode{"MTLCompileOptions", "setMathMode:"};
inline const Message<void(bool)> set_fast_math{"MTLCompileOptions", "setFastMathEnabled:"};
inline const Message<void(UInteger)> set_language{"MTLCompileOptions", "setLanguageVersion:"};
inline const Message<Id()> function_names{"MTLLibrary", "functionNames"};
inline const Message<Id(Id)> new_function{"MTLLibrary", "newFunctionWithName:"};
inline const Message<Id(Id, Id, Id*)> new_function_with{"MTLLibrary",
                                                        "newFunctionWithName:constantValues:error:"};
inline const Message<void(const void*, UInteger, UInteger)> set_constant{"MTLFunctionConstantValues",
                                                                         "setConstantValue:type:atIndex:"};
inline const Message<UInteger()> max_total_threads{"MTLComputePipelineState",
                                                   "maxTotalThreadsPerThreadgroup"};
inline const Message<UInteger()> simd_width{"MTLComputePipelineState", "threadExecutionWidth"};
inline const Message<UInteger()> static_memory{"MTLComputePipelineState", "staticThreadgroupMemoryLength"};
// MTLCommandQueue, MTLCommandBuffer
inline const Message<Id(Id)> command_buffer{"MTLCommandQueue", "commandBufferWithDescriptor:"};
inline const Message<void(Id)> add_residency_set{"MTLCommandQueue", "addResidencySet:"};
inline const Message<void(UInteger)> set_error_options{"MTLCommandBufferDescriptor", "setErrorOptions:"};
inline const Message<void(bool)> set_retained_references{"MTLCommandBufferDescriptor",
                                                         "setRetainedReferences:"};
inline const Message<Id(UInteger)> compute_encoder{"MTLCommandBuffer",
                                                   "computeCommandEncoderWithDispatchType:"};
inline const Message<void(Id, uint64_t)> encode_signal{"MTLCommandBuffer", "encodeSignalEvent:value:"};
inline const Message<void(Id, uint64_t)> encode_wait{"MTLCommandBuffer", "encodeWaitForEvent:value:"};
inline const Message<void(Block)> add_completed{"MTLCommandBuffer", "addCompletedHandler:"};
inline const Message<void()> commit{"MTLCommandBuffer", "commit"};
inline const Message<void()> wait{"MTLCommandBuffer", "waitUntilCompleted"};
inline const Message<UInteger()> status{"MTLCommandBuffer", "status"};
inline const Message<Id()> error{"MTLCommandBuffer", "error"};
inline const Message<void(Id)> set_buffer_label{"MTLCommandBuffer", "setLabel:"};
// MTLComputeCommandEncoder
inline const Message<void(Id)> set_pipeline{"MTLComputeCommandEncoder", "setComputePipelineState:"};
inline const Message<void(Id, UInteger, UInteger)> set_buffer{"MTLComputeCommandEncoder",
                                                              "setBuffer:offset:atIndex:"};
inline const Message<void(const void*, UInteger, UInteger)> set_bytes{"MTLComputeCommandEncoder",
                                                                      "setBytes:length:atIndex:"};
inline const Message<void(UInteger, UInteger)> set_threadgroup_memory{"MTLComputeCommandEncoder",
                                                                      "setThreadgroupMemoryLength:atIndex:"};
inline const Message<void(Extent, Extent)> dispatch_threads{"MTLComputeCommandEncoder",
                                                            "dispatchThreads:threadsPerThreadgroup:"};
inline const Message<void(Extent, Extent)> dispatch_groups{"MTLComputeCommandEncoder",
                                                           "dispatchThreadgroups:threadsPerThreadgroup:"};
inline const Message<void(UInteger)> barrier{"MTLComputeCommandEncoder", "memoryBarrierWithScope:"};
inline const Message<void(Id)> wait_for_fence{"MTLComputeCommandEncoder", "waitForFence:"};
inline const Message<void(Id)> update_fence{"MTLComputeCommandEncoder", "updateFence:"};
inline const Message<void(Id)> set_encoder_label{"MTLCommandEncoder", "setLabel:"};
inline const Message<void()> end_encoding{"MTLCommandEncoder", "endEncoding"};
inline const Message<Id()> info_label{"MTLCommandBufferEncoderInfo", "label"};
inline const Message<Integer()> info_state{"MTLCommandBufferEncoderInfo", "errorState"};
// MTLSharedEvent
inline const Message<uint64_t()> signaled_value{"MTLSharedEvent", "signaledValue"};
inline const Message<void(uint64_t)> set_signaled_value{"MTLSharedEvent", "setSignaledValue:"};
inline const Message<bool(uint64_t, uint64_t)> wait_until_signaled{"MTLSharedEvent",
                                                                   "waitUntilSignaledValue:timeoutMS:"};
// MTLResidencySet
inline const Message<void(Id)> add_allocation{"MTLResidencySet", "addAllocation:"};
inline const Message<void(Id)> remove_allocation{"MTLResidencySet", "removeAllocation:"};
inline const Message<void()> commit_residency{"MTLResidencySet", "commit"};
inline const Message<void()> request_residency{"MTLResidencySet", "requestResidency"};
inline const Message<void()> end_residency{"MTLResidencySet", "endResidency"};
// MTLCaptureManager
inline const Message<Id()> shared_capture_manager{"+MTLCaptureManager", "sharedCaptureManager"};
inline const Message<bool(Integer)> supports_destination{"MTLCaptureManager", "supportsDestination:"};
inline const Message<bool(Id, Id*)> start_capture{"MTLCaptureManager", "startCaptureWithDescriptor:error:"};
inline const Message<void()> stop_capture{"MTLCaptureManager", "stopCapture"};
inline const Message<bool()> is_capturing{"MTLCaptureManager", "isCapturing"};
inline const Message<void(Id)> set_capture_object{"MTLCaptureDescriptor", "setCaptureObject:"};
inline const Message<void(Integer)> set_capture_destination{"MTLCaptureDescriptor", "setDestination:"};
inline const Message<void(Id)> set_output_url{"MTLCaptureDescriptor", "setOutputURL:"};

}  // namespace mtl

// Enumerators that are passed or compared.
struct Enumerator {
  const char* type;
  const char* name;
  long value;
  constexpr operator unsigned long() const { return static_cast<unsigned long>(value); }
  constexpr operator long() const { return value; }
};
inline constexpr Enumerator kUtf8{"NSStringEncoding", "UTF8StringEncoding", 4};
inline constexpr Enumerator kFamilyApple1{"MTLGPUFamily", "GPUFamilyApple1", 1001};
inline constexpr Enumerator kFamilyApple10{"MTLGPUFamily", "GPUFamilyApple10", 1010};
inline constexpr Enumerator kStorageShared{"MTLResourceOptions", "ResourceStorageModeShared", 0};
inline constexpr Enumerator kUntracked{"MTLResourceOptions", "ResourceHazardTrackingModeUntracked", 256};
inline constexpr Enumerator kAutomatic{"MTLHeapType", "HeapTypeAutomatic", 0};
inline constexpr Enumerator kMathSafe{"MTLMathMode", "MathModeSafe", 0};
inline constexpr Enumerator kMathFast{"MTLMathMode", "MathModeFast", 2};
inline constexpr Enumerator kTypeFloat{"MTLDataType", "DataTypeFloat", 3};
inline constexpr Enumerator kTypeInt{"MTLDataType", "DataTypeInt", 29};
inline constexpr Enumerator kTypeUInt{"MTLDataType", "DataTypeUInt", 33};
inline constexpr Enumerator kTypeBool{"MTLDataType", "DataTypeBool", 53};
inline constexpr Enumerator kConcurrent{"MTLDispatchType", "DispatchTypeConcurrent", 1};
inline constexpr Enumerator kBuffers{"MTLBarrierScope", "BarrierScopeBuffers", 1};
inline constexpr Enumerator kStatusError{"MTLCommandBufferStatus", "CommandBufferStatusError", 5};
inline constexpr Enumerator kEncoderStatus{"MTLCommandBufferErrorOption",
                                           "CommandBufferErrorOptionEncoderExecutionStatus", 1};
inline constexpr Enumerator kEncoderFaulted{"MTLCommandEncoderErrorState", "CommandEncoderErrorStateFaulted",
                                            4};
inline constexpr Enumerator kEncoderAffected{"MTLCommandEncoderErrorState",
                                             "CommandEncoderErrorStateAffected", 2};
inline constexpr Enumerator kTimeout{"MTLCommandBufferError", "CommandBufferErrorTimeout", 2};
inline constexpr Enumerator kAccessRevoked{"MTLCommandBufferError", "CommandBufferErrorAccessRevoked", 4};
inline constexpr Enumerator kDeviceRemoved{"MTLCommandBufferError", "CommandBufferErrorDeviceRemoved", 11};
inline constexpr Enumerator kOutOfMemory{"MTLCommandBufferError", "CommandBufferErrorOutOfMemory", 8};
inline constexpr Enumerator kTraceDocument{"MTLCaptureDestination", "CaptureDestinationGPUTraceDocument", 2};
inline constexpr const Enumerator* kEnumerators[] = {
    &kUtf8,       &kFamilyApple1,  &kFamilyApple10, &kStorageShared, &kUntracked,      &kAutomatic,
    &kMathSafe,   &kMathFast,      &kTypeFloat,     &kTypeInt,       &kTypeUInt,       &kTypeBool,
    &kConcurrent, &kBuffers,       &kStatusError,   &kEncoderStatus, &kEncoderFaulted, &kEncoderAffected,
    &kTimeout,    &kAccessRevoked, &kDeviceRemoved, &kOutOfMemory,   &kTraceDocument,
};

}  // namespace mlx::core::metal::apple
