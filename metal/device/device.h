// The seam between the host code of the Metal backend and what executes its kernels: Metal itself
// (metal/apple) or the simulator (metal/sim). It is Metal's own model with nothing added but two things that
// let the simulator be stricter than the hardware: a binding says how many bytes the kernel may touch, and a
// dispatch carries the name of the operation that it works for.
//
// Dispatches of one command buffer run concurrently unless a barrier stands between them; command buffers of
// one queue run in the order of their commits; between queues only events order anything.
//
// Errors. What is wrong with a call (no such kernel, source that does not compile, a size beyond a limit) is
// thrown by the call. What goes wrong on the device is thrown by CommandBuffer::wait and handed to the
// completion handler; never from a thread of the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace mlx::core::metal {

struct Size {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
  bool operator==(const Size&) const = default;
};

struct DeviceInfo {
  std::string name;          // "Apple M3 Max"
  std::string architecture;  // "applegpu_g15s"; of the simulator "simulator"
  int family = 0;            // n of MTLGPUFamilyApple<n>
  size_t memory_size = 0;    // of the machine
  size_t max_buffer_length = 0;
  size_t recommended_working_set = 0;
  size_t resource_limit = 0;  // buffers that can exist at once
  size_t max_threadgroup_memory = 32768;
  Size max_threads_per_threadgroup{1024, 1024, 1024};  // per axis; their product is the pipeline's limit
};

// Raised for what went wrong while the device executed: names the operation, the kernel, and, in the
// simulator, the thread and the line of source.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory that the CPU and the device share, uninitialised.
class Buffer {
 public:
  Buffer(void* contents, size_t length) : contents_(contents), length_(length) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  virtual ~Buffer() = default;
  void* contents() const { return contents_; }
  size_t length() const { return length_; }

 private:
  void* contents_;
  size_t length_;
};

// A kernel with its function constants set, ready to be dispatched.
class Pipeline {
 public:
  virtual ~Pipeline() = default;
  virtual uint32_t max_threads_per_threadgroup() const = 0;
  virtual uint32_t simd_width() const = 0;
  virtual size_t static_threadgroup_memory() const = 0;
};

// constant T name [[function_constant(index)]];
struct FunctionConstant {
  uint16_t index;
  std::variant<bool, int32_t, uint32_t, float> value;
};

class Library {
 public:
  virtual ~Library() = default;
  // Throws std::invalid_argument where there is no kernel of this name or a constant is missing.
  virtual std::shared_ptr<Pipeline> pipeline(const std::string& kernel,
                                             const std::vector<FunctionConstant>& constants = {}) = 0;
  virtual std::vector<std::string> kernels() const = 0;
};

struct CompileOptions {
  bool fast_math = false;
  // The version of the Metal Shading Language that is asked for: {3, 1} has bfloat.
  int language_major = 3, language_minor = 1;
};

// A value that only grows, by which queues and the CPU wait for each other.
class Event {
 public:
  virtual ~Event() = default;
  virtual uint64_t value() const = 0;
  virtual void signal(uint64_t value) = 0;  // from the CPU
  // False where `timeout_ms` passed first.
  virtual bool wait(uint64_t value, uint64_t timeout_ms) = 0;
};

class CommandBuffer {
 public:
  virtual ~CommandBuffer() = default;

  // What is set stays set for the following dispatches.
  virtual void set_pipeline(std::shared_ptr<Pipeline> pipeline) = 0;
  // The kernel may touch `length` bytes from `offset` on. The buffer is kept until the commands are done.
  virtual void set_buffer(uint32_t index, std::shared_ptr<Buffer> buffer, size_t offset, size_t length) = 0;
  // At most 4 KiB, copied: an argument in the constant address space.
  virtual void set_bytes(uint32_t index, const void* bytes, size_t length) = 0;
  virtual void set_threadgroup_memory(uint32_t index, size_t bytes) = 0;
  template <class T>
  void set_value(uint32_t index, const T& value) {
    set_bytes(index, &value, sizeof(T));
  }

  // `threads` need not be a multiple of `threads_per_group`: the last groups are smaller then.
  virtual void dispatch_threads(Size threads, Size threads_per_group, const std::string& operation) = 0;
  virtual void dispatch_groups(Size groups, Size threads_per_group, const std::string& operation) = 0;
  // What is dispatched later sees what was written by what was dispatched before.
  virtual void barrier() = 0;
  virtual void wait_for(std::shared_ptr<Event> event, uint64_t value) = 0;
  virtual void signal(std::shared_ptr<Event> event, uint64_t value) = 0;

  // Ends encoding. `done` is called once, on any thread, with null or the error. It must not throw.
  virtual void commit(std::function<void(std::exception_ptr)> done = {}) = 0;
  // After commit: returns when the commands are done and throws what went wrong.
  virtual void wait() = 0;
};

class Queue {
 public:
  virtual ~Queue() = default;
  virtual std::shared_ptr<CommandBuffer> command_buffer() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;

  // Throws std::bad_alloc where there is no memory, std::invalid_argument beyond max_buffer_length.
  virtual std::shared_ptr<Buffer> allocate(size_t length) = 0;
  // Memory that somebody else owns, where the device can use it as it is (page-aligned); else null.
  virtual std::shared_ptr<Buffer> wrap(void* memory, size_t length) = 0;

  // Source of the Metal Shading Language, without #include of files of its own; #line directives name them.
  // `name` is for messages. Throws std::invalid_argument with the compiler's log.
  virtual std::shared_ptr<Library> compile(const std::string& source, const std::string& name,
                                           const CompileOptions& options = {}) = 0;
  virtual std::shared_ptr<Queue> new_queue() = 0;
  virtual std::shared_ptr<Event> new_event() = 0;

  // How many bytes stay resident; 0 releases all. The device bounds it by the recommended working set.
  virtual void set_wired_limit(size_t bytes) = 0;
  // Writes what the device executes to a file, until stop_capture. Throws std::runtime_error where the device
  // cannot.
  virtual void start_capture(const std::string& path) = 0;
  virtual void stop_capture() = 0;
};

// The device of this process, chosen once: the simulator where MLX_METAL_SIMULATOR is 1, Metal's default
// device on a Mac; null where there is none.
Device* device();

}  // namespace mlx::core::metal
