#include "mlx/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "mlx/graph/poison.h"
#include "mlx/graph/system.h"
#include "mlx/memory.h"

namespace mlx::core {
namespace allocator {
namespace {

constexpr size_t kAlign = 64;              // a cache line and an AVX-512 register
constexpr size_t kHuge = size_t{2} << 20;  // x86 huge page
constexpr size_t kSmallest = 64;

// Stands in the 64 bytes before the memory that is handed out.
struct Header {
  size_t requested;
  size_t capacity;
};
static_assert(sizeof(Header) <= kAlign);

Header* header_of(void* ptr) { return reinterpret_cast<Header*>(static_cast<char*>(ptr) - kAlign); }

// Size classes: four per power of two, so at most a fifth of a buffer is unused.
size_t class_of(size_t size) {
  if (size <= kSmallest) return 0;
  const size_t units = (size - 1) / (kSmallest / 4);
  const int top = std::bit_width(units) - 1;  // >= 2
  return static_cast<size_t>(top - 2) * 4 + ((units >> (top - 2)) & 3) + 1;
}
size_t class_capacity(size_t index) {
  if (index == 0) return kSmallest;
  const size_t exponent = (index - 1) / 4, step = (index - 1) % 4;
  return ((5 + step) << exponent) * (kSmallest / 4);
}

class CachingAllocator final : public Allocator {
 public:
  CachingAllocator() : memory_limit_(system::physical_memory()), cache_limit_(memory_limit_ / 4) {}

  Buffer malloc(size_t size) override {
    const size_t limit = memory_limit_.load(std::memory_order_relaxed);
    const size_t active = active_.fetch_add(size, std::memory_order_relaxed) + size;
    if (active > limit || size > limit) {
      active_.fetch_sub(size, std::memory_order_relaxed);
      throw std::bad_alloc();
    }
    const size_t index = class_of(size), capacity = class_capacity(index);
    void* ptr = take_cached(index);
    if (!ptr && active + cached_.load(std::memory_order_relaxed) > limit) clear();
    if (!ptr) ptr = from_system(capacity);
    if (!ptr) {
      clear();
      ptr = from_system(capacity);
    }
    if (!ptr) {
      active_.fetch_sub(size, std::memory_order_relaxed);
      throw std::bad_alloc();
    }
    header_of(ptr)->requested = size;
    detail::permit_access(ptr, size);
    size_t peak = peak_.load(std::memory_order_relaxed);
    while (active > peak && !peak_.compare_exchange_weak(peak, active, std::memory_order_relaxed)) {
    }
    return Buffer(ptr);
  }

  void free(Buffer buffer) override {
    void* ptr = buffer.ptr();
    if (!ptr) return;
    const Header header = *header_of(ptr);
    active_.fetch_sub(header.requested, std::memory_order_relaxed);
    const size_t cached = cached_.load(std::memory_order_relaxed);
    if (cached + header.capacity > cache_limit_.load(std::memory_order_relaxed)) return to_system(ptr);
    detail::forbid_access(ptr, header.capacity);
    std::lock_guard lock(mutex_);
    free_[class_of(header.capacity)].push_back(ptr);
    cached_.fetch_add(header.capacity, std::memory_order_relaxed);
  }

  size_t size(Buffer buffer) const override { return buffer.ptr() ? header_of(buffer.ptr())->requested : 0; }

  void clear() { trim(0); }
  void trim(size_t limit) {
    std::vector<void*> freed;
    {
      std::lock_guard lock(mutex_);
      for (size_t index = free_.size(); index-- > 0 && cached_ > limit;) {
        while (!free_[index].empty() && cached_ > limit) {
          freed.push_back(free_[index].back());
          free_[index].pop_back();
          cached_.fetch_sub(class_capacity(index), std::memory_order_relaxed);
        }
      }
    }
    for (void* ptr : freed) to_system(ptr);
  }

  std::atomic<size_t> active_{0}, peak_{0}, cached_{0};
  std::atomic<size_t> memory_limit_, cache_limit_;

 private:
  void* take_cached(size_t index) {
    if (cached_.load(std::memory_order_relaxed) == 0) return nullptr;
    std::lock_guard lock(mutex_);
    auto& list = free_[index];
    if (list.empty()) return nullptr;
    void* ptr = list.back();
    list.pop_back();
    cached_.fetch_sub(class_capacity(index), std::memory_order_relaxed);
    return ptr;
  }
  static void* from_system(size_t capacity) {
    const size_t total = capacity + kAlign;
    if (total < capacity) return nullptr;
    const bool huge = total >= 2 * kHuge;
    const size_t align = huge ? kHuge : kAlign;
    if (total > SIZE_MAX - align) return nullptr;
    void* base = std::aligned_alloc(align, (total + align - 1) / align * align);
    if (!base) return nullptr;
    if (huge) system::prefer_huge_pages(base, total);
    new (base) Header{0, capacity};
    detail::forbid_access(static_cast<char*>(base) + sizeof(Header), total - sizeof(Header));
    return static_cast<char*>(base) + kAlign;
  }
  static void to_system(void* ptr) { std::free(header_of(ptr)); }

  std::mutex mutex_;
  std::array<std::vector<void*>, 256> free_;
};

CachingAllocator& caching_allocator() {
  // Never destroyed: arrays held by other static objects give their memory back after main.
  static auto* instance = std::make_unique<CachingAllocator>().release();
  return *instance;
}

}  // namespace

Allocator& allocator() { return caching_allocator(); }

Data::~Data() {
  if (deleter_) {
    deleter_(buffer_);
  } else if (buffer_.ptr()) {
    allocator().free(buffer_);
  }
}

Data malloc(size_t size) { return Data(allocator().malloc(size)); }
Buffer make_buffer(void* ptr, size_t size) { return allocator().make_buffer(ptr, size); }
void release(Buffer buffer) { allocator().release(buffer); }
bool can_reuse_alien_buffer(void*) { return true; }

}  // namespace allocator

namespace {
auto& memory() { return allocator::caching_allocator(); }
}  // namespace

size_t get_active_memory() { return memory().active_; }
size_t get_peak_memory() { return memory().peak_; }
void reset_peak_memory() { memory().peak_ = memory().active_.load(); }
size_t get_cache_memory() { return memory().cached_; }
size_t get_memory_limit() { return memory().memory_limit_; }
size_t set_memory_limit(size_t limit) { return memory().memory_limit_.exchange(limit); }
size_t set_cache_limit(size_t limit) {
  const size_t previous = memory().cache_limit_.exchange(limit);
  memory().trim(limit);
  return previous;
}
void clear_cache() { memory().clear(); }
size_t set_wired_limit(size_t) { return 0; }

}  // namespace mlx::core
