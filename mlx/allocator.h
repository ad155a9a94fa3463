// Memory of arrays: a caching allocator with counters and a limit (mlx/memory.h has the public controls).
#pragma once

#include <cstddef>
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

// Uninitialised, 64-byte aligned memory. Raises std::bad_alloc (MemoryError in Python) beyond the memory
// limit.
Data malloc(size_t size);
Buffer make_buffer(void* ptr, size_t size);
void release(Buffer buffer);
bool can_reuse_alien_buffer(void* ptr);

}  // namespace mlx::core::allocator
