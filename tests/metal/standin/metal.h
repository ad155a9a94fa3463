// The classes of Metal, on top of the device that stands behind (the simulator of MLX_STANDIN_DEVICE): what
// their objects hold. Encoders and command buffers are watched as Metal's validation layer does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
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
inline std::atomic<size_t> all_entries{0};
inline std::atomic<long> heaps_to_fail{0}, pieces_to_fail{0};
// Whether encoders of two queues count as unordered that use the same memory: they may read it at a time, and
// nothing here knows who writes.
inline std::atomic<bool> watch_across_queues{false};
inline std::atomic<size_t> heap_alignment{0}, heap_bytes{0};

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
struct Completion {
  std::mutex mutex;
  std::condition_variable changed;
  long status = 0;
};
constexpr UInteger kUntrackedMemory = 256;  // MTLResourceHazardTrackingModeUntracked
// A piece of a heap, free again when it dies.
class Piece {
 public:
  Piece() = default;
  Piece(Id heap, size_t offset) : heap_(heap), offset_(offset) {}
  Piece(Piece&& other) noexcept : heap_(std::exchange(other.heap_, nullptr)), offset_(other.offset_) {}
  Piece& operator=(Piece&& other) noexcept {
    std::swap(heap_, other.heap_);
    std::swap(offset_, other.offset_);
    return *this;
  }
  ~Piece();
  Id heap() const { return heap_; }

 private:
  Id heap_ = nullptr;  // not retained
  size_t offset_ = 0;
};
struct BufferFields {
  std::shared_ptr<metal::Buffer> memory;
  size_t offset = 0, length = 0;  // in `memory`
  UInteger options = 0;
  Piece piece;
  // The encoder that used it last, where nobody but the host code orders that (hazards.cpp).
  Id queue = nullptr;
  uint64_t encoder = 0;
  std::shared_ptr<Completion> completion;
};
CLASS(Buffer, BufferFields);
struct HeapDescriptorFields {
  size_t size = 0;
  long type = 0;
  UInteger options = kUntrackedMemory;
};
CLASS(HeapDescriptor, HeapDescriptorFields);
struct HeapFields {
  std::shared_ptr<metal::Buffer> memory;
  HeapDescriptorFields made;
  std::map<size_t, size_t> pieces;  // offset, length
  std::string label;
};
struct Heap : Instance {
  static constexpr const char* kName = "MTLHeap";
  HeapFields fields;
};
// Of each queue the number of encoders, from its first one on, that all are done.
using Clock = std::map<Id, uint64_t>;
struct FenceFields {
  Clock clock;
  bool updated = false;
};
CLASS(Fence, FenceFields);
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
  uint64_t encoders = 0, finished = 0;  // of committed command buffers; of the first ones, known to be done
  std::deque<std::pair<uint64_t, std::shared_ptr<Completion>>> unfinished;  // by the number of encoders
};
CLASS(CommandQueue, QueueFields);
struct DescriptorFields {
  bool retained = true;
  UInteger errors = 0;
};
CLASS(CommandBufferDescriptor, DescriptorFields);
struct EventFields {
  std::shared_ptr<metal::Event> event;
  std::map<uint64_t, Clock> signals;  // by command buffers
};
CLASS(SharedEvent, EventFields);
struct InfoFields {
  Held label;
  long state = 0;
};
CLASS(CommandBufferEncoderInfo, InfoFields);
// Buffers bound to an encoder are resident by that; a set makes what it was committed with resident beyond
// it.
class Wired {
 public:
  Wired() : Wired(0, 0) {}
  Wired(size_t entries, size_t bytes) : entries_(entries), bytes_(bytes) {
    all_entries += entries;
    all_wired += bytes;
  }
  Wired(Wired&& other) noexcept
      : entries_(std::exchange(other.entries_, 0)), bytes_(std::exchange(other.bytes_, 0)) {}
  Wired& operator=(Wired&& other) noexcept {
    std::swap(entries_, other.entries_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Wired() {
    all_entries -= entries_;
    all_wired -= bytes_;
  }

 private:
  size_t entries_, bytes_;
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

// What a command buffer does to be ordered among others: an encoder, or an event.
struct Step {
  Id event = nullptr;
  bool signals = false;
  uint64_t value = 0;
  std::vector<Id> waits, updates;  // fences
  std::vector<Id> buffers;
};
struct BlockLayout;
struct CommandBufferFields {
  std::shared_ptr<metal::CommandBuffer> commands;
  Held queue;
  DescriptorFields settings;
  Id open_encoder = nullptr;
  std::vector<std::string> encoders;  // labels
  std::vector<Step> steps;
  std::vector<Id> used;  // not retained
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
  Step step;
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
// Whether Metal, or a fence, lets an encoder begin when those before it in the command buffer are done.
bool follows(const std::vector<Step>& before, const Step& encoder);
// At a commit: encoders that use the same untracked memory must be ordered by fences, events or the host.
void check_order(CommandBufferFields& f);
// How many bytes an allocation of a residency set has.
size_t allocated_size(Id allocation);

// The methods of these classes, one file each.
void add_device();
void add_heaps();
void add_fences();
void add_library();
void add_commands();
void add_encoder();
void add_residency_and_capture();

}  // namespace standin
