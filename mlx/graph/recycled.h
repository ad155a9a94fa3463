// Memory for objects of one type that come and go by the hundreds with every graph: a list of free blocks per
// thread. The system's allocator keeps few of each size at hand and searches and joins blocks for the rest.
#pragma once

#include <cstddef>
#include <new>

namespace mlx::core::detail {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kRecycledAtMost = 0;  // so that a use after the end is seen
#else
inline constexpr int kRecycledAtMost = 1024;
#endif

// For std::allocate_shared: T is then the object with its reference counts.
template <class T>
class Recycled {
 public:
  using value_type = T;
  Recycled() = default;
  template <class U>
  Recycled(const Recycled<U>&) {}  // NOLINT: allocators convert

  T* allocate(size_t n) {
    if (n == 1 && list.first) {
      Block* block = list.first;
      list.first = block->next;
      --list.count;
      return static_cast<T*>(static_cast<void*>(block));
    }
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(alignof(T))));
  }
  void deallocate(T* p, size_t n) {
    if (n == 1 && list.count < list.at_most) {
      if (!list.first) static_cast<void>(&at_exit);  // constructed with the first block that is kept
      list.first = new (p) Block{list.first};
      ++list.count;
      return;
    }
    ::operator delete(p, std::align_val_t(alignof(T)));
  }
  friend bool operator==(const Recycled&, const Recycled&) { return true; }

 private:
  struct Block {
    Block* next;
  };
  static_assert(sizeof(T) >= sizeof(Block) && alignof(T) >= alignof(Block));
  // Trivial, so that objects which outlive the thread's other variables still find it.
  struct List {
    Block* first;
    int count, at_most;
  };
  struct AtExit {
    ~AtExit() {
      list.at_most = 0;
      while (Block* block = list.first) {
        list.first = block->next;
        ::operator delete(block, std::align_val_t(alignof(T)));
      }
      list.count = 0;
    }
  };
  static inline thread_local constinit List list{nullptr, 0, kRecycledAtMost};
  static inline thread_local AtExit at_exit;
};

}  // namespace mlx::core::detail
