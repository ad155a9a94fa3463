// Memory of the real device: buffers, the heaps that the smaller ones lie in, and what stays resident.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "metal/apple/messages.h"

namespace mlx::core::metal::apple {

// Of all memory. Metal does not follow who touches what: the fence of each queue keeps its order
// (commands.cpp).
inline constexpr UInteger kMemory = UInteger{kStorageShared} | UInteger{kUntracked};

// Which allocations (heaps, and buffers outside of them) stay in memory that the device can reach at once: up
// to a limit, the first ones to come. macOS 15 and later; before, there is nothing to be done and the limit
// means nothing. What is bound to an encoder is resident while it runs, here as there.
class Residency {
 public:
  explicit Residency(Id device);
  void add(Id allocation, size_t bytes);
  void remove(Id allocation, size_t bytes);
  void set_limit(size_t bytes);
  // Before work is committed: what was added and removed so far counts.
  void update();
  void attach(Id queue) const;

 private:
  struct Entry {
    Id allocation;
    size_t bytes;
    bool wired;
  };
  void wire(Entry& entry);
  std::mutex mutex_;
  Ref set_;
  size_t limit_ = 0, wired_ = 0;
  bool changed_ = false;
  std::vector<Entry> entries_;
};

// Memory that the system gave, an entry of the residency set while it lives.
class Allocation {
 public:
  Allocation(Ref object, size_t bytes, std::shared_ptr<Residency> residency)
      : object_(std::move(object)), bytes_(bytes), residency_(std::move(residency)) {
    residency_->add(object_, bytes_);
  }
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;
  ~Allocation() { residency_->remove(object_, bytes_); }
  Id object() const { return object_; }
  size_t bytes() const { return bytes_; }

 private:
  Ref object_;
  size_t bytes_;
  std::shared_ptr<Residency> residency_;
};

class AppleBuffer final : public Buffer {
 public:
  // `memory` is the buffer itself, or the heap that it lies in.
  AppleBuffer(Ref object, void* contents, size_t length, std::shared_ptr<const Allocation> memory)
      : Buffer(contents, length), memory_(std::move(memory)), object_(std::move(object)) {}
  Id object() const { return object_; }

 private:
  std::shared_ptr<const Allocation> memory_;  // goes behind the buffer
  Ref object_;
};

// Heaps for buffers of up to an eighth of one: fewer allocations of the system, and fewer entries where
// residency is told. A heap lives as long as any of its buffers.
class Heaps {
 public:
  Heaps(Ref device, std::shared_ptr<Residency> residency)
      : device_(std::move(device)), residency_(std::move(residency)) {}
  // Null where the buffer had better be one of its own, or there is no memory for another heap.
  std::shared_ptr<Buffer> allocate(size_t length);

 private:
  std::shared_ptr<const Allocation> another();
  const Ref device_;
  const std::shared_ptr<Residency> residency_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<const Allocation>> heaps_;
  size_t made_ = 0;
};

}  // namespace mlx::core::metal::apple
