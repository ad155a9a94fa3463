// Memory of arrays: a caching allocator with counters and a limit (mlx/memory.h has the public controls).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace mlx::core::allocator {

// A piece of memory by address; owns nothing.
class Buffer {
 public:
  explicit Buffer(void* ptr) : ptr_(ptr) {}
  void* raw_ptr() { return ptr_; }
  const void* ptr() const { return ptr_; }
  void* ptr() { return ptr_; }

 private:
  void* ptr_;
};

class Allocator {
 public:
  virtual Buffer malloc(size_t size) = 0;
  virtual void free(Buffer buffer) = 0;
  virtual size_t size(Buffer buffer) const = 0;
  // Wraps memory that somebody else owns, where the device can use it as it is; a null buffer where it
  // cannot.
  virtual Buffer make_buffer(void*, size_t) { return Buffer(nullptr); }
  virtual void release(Buffer) {}

  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  virtual ~Allocator() = default;
};

Allocator& allocator();

using Deleter = std::function<void(Buffer)>;

// Owns a buffer: gives it back to the allocator, or to `deleter` where there is one.
class Data {
 public:
  explicit Data(Buffer buffer) : buffer_(buffer) {}
  Data(Buffer buffer, Deleter deleter) : buffer_(buffer), deleter_(std::move(deleter)) {}
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  Data(Data&& other) noexcept : buffer_(other.buffer_), deleter_(std::move(other.deleter_)) {
    other.buffer_ = Buffer(nullptr);
  }
  ~Data();
  Buffer buffer() const { return buffer_; }
  // False for memory that came from outside (numpy, DLPack, a mapped file): it is never written to.
  bool is_owned() const { return !deleter_; }

 private:
  Buffer buffer_;
  Deleter deleter_;
};

// Where the allocator gets its memory: the system, or a device that shares memory with the CPU.
class Source {
 public:
  struct Block {
    void* memory;  // 64-byte aligned; null where there is no more
    void* handle;  // what the source knows it by; not null
  };
  virtual Block get(size_t size) = 0;
  virtual void give(Block block) = 0;

  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;
};
// New memory comes from `source` from now on; what came from elsewhere goes back there.
void set_source(Source& source);
// Of the block that an owned buffer lies in; null for memory of the system.
void* source_handle(Buffer buffer);

// A device that works on a buffer pins it: memory that is freed meanwhile is kept until the last pin is gone.
// `user` (not 0) says whose pin it is: nobody else may write into the buffer, whoever holds the array.
void pin(Buffer buffer, uint32_t user);
void unpin(Buffer buffer);
bool is_pinned(Buffer buffer);
// False where somebody pins the buffer who is not this thread's user.
bool is_writable(Buffer buffer);
// Whose pins this thread's writes need not fear, since they are ordered behind them; 0: nobody's.
uint32_t pin_user();
void set_pin_user(uint32_t user);

// Uninitialised, 64-byte aligned memory. Raises std::bad_alloc (MemoryError in Python) beyond the memory
// limit.
Data malloc(size_t size);
Buffer make_buffer(void* ptr, size_t size);
void release(Buffer buffer);
bool can_reuse_alien_buffer(void* ptr);

}  // namespace mlx::core::allocator
