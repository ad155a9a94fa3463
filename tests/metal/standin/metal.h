// The classes of Metal, on top of the device that stands behind (the simulator of MLX_STANDIN_DEVICE): what
// their objects hold. Encoders and command buffers are watched as Metal's validation layer does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime.h"

namespace standin {

namespace metal = mlx::core::metal;

inline std::atomic<long> next_failure{0};  // a code of MTLCommandBufferError, for the next command buffer
inline std::atomic<size_t> all_wired{0}, most_wired{0};  // bytes that residency sets keep

metal::Device* behind();
// NSError** of a method that failed.
Id refuse(Id* error, long code, const std::string& text);

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

struct BlockLayout;
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

// What is still open, for a message of this name; a fault where it is not.
CommandBufferFields& open_buffer(Id self, const char* what);
EncoderFields& encoding(Id self, const char* what);
Id new_encoder(Id self, Selector, UInteger);

// The methods of these classes, one file each.
void add_device();
void add_library();
void add_commands();
void add_encoder();
void add_residency_and_capture();

}  // namespace standin
