#include "mlx/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mlx/graph/memory_watch.h"
#include "mlx/graph/out_of_memory.h"
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
  void* handle;                   // of the source; null: memory of the system
  std::atomic<uint64_t> holders;  // see below
};
static_assert(sizeof(Header) <= kAlign);

// holders: how many hold the block (its Data, and each pin) above, the user of the pins below: 0 without
// pins, kSeveral where they are of different users.
constexpr uint64_t kHolder = uint64_t{1} << 32;
constexpr uint32_t kSeveral = ~uint32_t{0};
thread_local uint32_t this_user = 0;

std::atomic<Source*> source{nullptr};

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
    detail::AllocationHook hook(detail::AllocationHook::malloc);
    const size_t limit = memory_limit_.load(std::memory_order_relaxed);
    const size_t active = active_.fetch_add(size, std::memory_order_relaxed) + size;
    if (active > limit || size > limit) refuse(size, active, "the memory limit is " + std::to_string(limit));
    const size_t index = class_of(size), capacity = class_capacity(index);
    void* ptr = take_cached(index);
    if (!ptr && active + cached_.load(std::memory_order_relaxed) > limit) clear();
    if (!ptr) ptr = from_system(capacity);
    if (!ptr) {
      clear();
      ptr = from_system(capacity);
    }
    if (!ptr) refuse(size, active, "and there is no more");
    header_of(ptr)->requested = size;
    header_of(ptr)->holders.store(kHolder, std::memory_order_relaxed);
    detail::permit_access(ptr, size);
    size_t peak = peak_.load(std::memory_order_relaxed);
    while (active > peak && !peak_.compare_exchange_weak(peak, active, std::memory_order_relaxed)) {
    }
    hook.allocated(ptr, size, active, cached_.load(std::memory_order_relaxed));
    return Buffer(ptr);
  }

  void free(Buffer buffer) override {
    void* ptr = buffer.ptr();
    if (!ptr) return;
    const Header& header = *header_of(ptr);
    if (header.holders.load(std::memory_order_acquire) != kHolder && !let_go(ptr)) return;
    recycle(ptr);
  }

  // Less one holder; true where it was the last one.
  static bool let_go(void* ptr) {
    std::atomic<uint64_t>& holders = header_of(ptr)->holders;
    uint64_t now = holders.load(std::memory_order_relaxed), next;
    do {
      next = now - kHolder;
      // One holder left is the Data, or a pin whose user no longer matters.
      if (next < 2 * kHolder) next &= ~uint64_t{kSeveral};
    } while (!holders.compare_exchange_weak(now, next, std::memory_order_acq_rel));
    return next < kHolder;
  }

  // Gives memory back that nobody holds any more.
  void recycle(void* ptr) {
    detail::AllocationHook hook(detail::AllocationHook::free);
    const Header& header = *header_of(ptr);
    hook.freed(ptr, header.requested);
    active_.fetch_sub(header.requested, std::memory_order_relaxed);
    const size_t cached = cached_.load(std::memory_order_relaxed);
    const size_t capacity = header.capacity;
    const bool of_system = !header.handle && source.load(std::memory_order_relaxed);
    if (of_system || cached + capacity > cache_limit_.load(std::memory_order_relaxed)) return to_system(ptr);
    detail::forbid_access(ptr, capacity);
    std::lock_guard lock(mutex_);
    free_[class_of(capacity)].push_back(ptr);
    cached_.fetch_add(capacity, std::memory_order_relaxed);
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
  // Takes back what malloc has counted.
  [[noreturn]] void refuse(size_t size, size_t active, const std::string& why) {
    active_.fetch_sub(size, std::memory_order_relaxed);
    throw OutOfMemory("malloc", "got no memory for " + std::to_string(size) +
                                    " bytes: " + std::to_string(active - size) + " are in use, " + why);
  }
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
    if (Source* from = source.load(std::memory_order_acquire)) {
      const Source::Block block = from->get(total);
      return block.memory ? start(block.memory, total, capacity, block.handle) : nullptr;
    }
    const bool huge = total >= 2 * kHuge;
    const size_t align = huge ? kHuge : kAlign;
    if (total > SIZE_MAX - align) return nullptr;
    void* base = std::aligned_alloc(align, (total + align - 1) / align * align);
    if (!base) return nullptr;
    if (huge) system::prefer_huge_pages(base, total);
    return start(base, total, capacity, nullptr);
  }
  static void* start(void* base, size_t total, size_t capacity, void* handle) {
    new (base) Header{0, capacity, handle, kHolder};
    detail::forbid_access(static_cast<char*>(base) + sizeof(Header), total - sizeof(Header));
    return static_cast<char*>(base) + kAlign;
  }
  static void to_system(void* ptr) {
    Header* header = header_of(ptr);
    if (!header->handle) return std::free(header);
    detail::permit_access(header + 1, kAlign - sizeof(Header) + header->capacity);  // what start() forbade
    source.load(std::memory_order_acquire)->give({header, header->handle});
  }

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

void set_source(Source& from) {
  source.store(&from, std::memory_order_release);
  caching_allocator().clear();
}
void* source_handle(Buffer buffer) { return header_of(buffer.ptr())->handle; }

void pin(Buffer buffer, uint32_t user) {
  std::atomic<uint64_t>& holders = header_of(buffer.ptr())->holders;
  uint64_t now = holders.load(std::memory_order_relaxed), next;
  do {
    const auto before = static_cast<uint32_t>(now);
    const uint32_t whose = before == 0 || before == user ? user : kSeveral;
    next = (now & ~uint64_t{kSeveral}) + kHolder + whose;
  } while (!holders.compare_exchange_weak(now, next, std::memory_order_acq_rel));
}
void unpin(Buffer buffer) {
  if (CachingAllocator::let_go(buffer.ptr())) caching_allocator().recycle(buffer.ptr());
}
bool is_pinned(Buffer buffer) {
  return buffer.ptr() &&
         header_of(buffer.ptr())->holders.load(std::memory_order_acquire) > kHolder + kSeveral;
}
bool is_writable(Buffer buffer) {
  if (!buffer.ptr()) return true;
  const auto user = static_cast<uint32_t>(header_of(buffer.ptr())->holders.load(std::memory_order_acquire));
  return user == 0 || user == this_user;
}
uint32_t pin_user() { return this_user; }
void set_pin_user(uint32_t user) { this_user = user; }

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

}  // namespace mlx::core
