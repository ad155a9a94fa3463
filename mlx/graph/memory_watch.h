// How the allocator tells who watches memory (mlx/debug.h). It costs one load while nobody does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

namespace mlx::core::detail {

extern std::atomic<int> allocation_watchers;

// Lives in a call of the allocator. While somebody watches, it lets one call at a time pass, so that what is
// told is in the order in which the counters change.
class AllocationHook {
 public:
  enum Call : bool { free, malloc };
  explicit AllocationHook(Call call) {
    if (allocation_watchers.load(std::memory_order_relaxed) != 0) [[unlikely]]
      begin(call);
  }
  AllocationHook(const AllocationHook&) = delete;
  AllocationHook& operator=(const AllocationHook&) = delete;
  ~AllocationHook() = default;
  // `active` and `cached` are the counters after the call.
  void allocated(const void* buffer, size_t bytes, size_t active, size_t cached) {
    if (lock_) tell_allocated(buffer, bytes, active, cached);
  }
  void freed(const void* buffer, size_t bytes) {
    if (lock_) tell_freed(buffer, bytes);
  }

 private:
  void begin(Call call);
  void tell_allocated(const void* buffer, size_t bytes, size_t active, size_t cached);
  void tell_freed(const void* buffer, size_t bytes);
  std::unique_lock<std::mutex> lock_;
  uint32_t origin_ = 0;
};

}  // namespace mlx::core::detail
