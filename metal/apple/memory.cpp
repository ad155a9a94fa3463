#include "metal/apple/memory.h"

#include <algorithm>
#include <string>
#include <utility>

namespace mlx::core::metal::apple {
namespace {

constexpr size_t kHeapBytes = size_t{8} << 20;
constexpr size_t kLargestInHeap = kHeapBytes / 8;
constexpr size_t kAlignment = 64;  // of memory that the CPU's kernels work on (allocator::Source)

std::shared_ptr<Buffer> buffer_in(const std::shared_ptr<const Allocation>& heap, size_t length) {
  Ref object = Ref::owned(mtl::new_buffer_in(heap->object(), length, kMemory));
  if (!object) return nullptr;
  void* contents = const_cast<void*>(mtl::contents(object));
  return std::make_shared<AppleBuffer>(std::move(object), contents, length, heap);
}

}  // namespace

std::shared_ptr<Buffer> Heaps::allocate(size_t length) {
  if (length > kLargestInHeap) return nullptr;
  const SizeAndAlign place = mtl::heap_place(device_, length, kMemory);
  if (place.align % kAlignment != 0) return nullptr;
  std::lock_guard lock(mutex_);
  struct Choice {
    size_t used;
    std::shared_ptr<const Allocation> heap;
  };
  std::vector<Choice> roomy;
  size_t bytes = 0, used = 0;
  std::erase_if(heaps_, [&](const std::weak_ptr<const Allocation>& entry) {
    const auto heap = entry.lock();
    if (!heap) return true;
    const size_t in_use = mtl::used_size(heap->object());
    bytes += heap->bytes();
    used += in_use;
    if (mtl::available_size(heap->object(), place.align) >= place.size) roomy.push_back({in_use, heap});
    return false;
  });
  // The fullest comes first, so that others run empty and go.
  std::sort(roomy.begin(), roomy.end(), [](const Choice& a, const Choice& b) { return a.used > b.used; });
  for (const Choice& choice : roomy)
    if (auto buffer = buffer_in(choice.heap, length)) return buffer;
  // Where small buffers that live long have left others no room, no heap is added to so many that are empty.
  if (used < bytes / 2) return nullptr;
  const auto heap = another();
  return heap ? buffer_in(heap, length) : nullptr;
}

std::shared_ptr<const Allocation> Heaps::another() {
  const Ref descriptor = make("MTLHeapDescriptor");
  mtl::set_heap_type(descriptor, long{kAutomatic});
  mtl::set_heap_options(descriptor, kMemory);
  mtl::set_heap_size(descriptor, kHeapBytes);
  Ref object = Ref::owned(mtl::new_heap(device_, Id{descriptor}));
  if (!object) return nullptr;
  mtl::set_heap_label(object, Id{string("arrays, heap " + std::to_string(++made_))});
  const size_t bytes = mtl::heap_size(object);
  auto heap = std::make_shared<const Allocation>(std::move(object), bytes, residency_);
  heaps_.push_back(heap);
  return heap;
}

Residency::Residency(Id device) {
  if (!mtl::new_residency_set.understood_by(device)) return;
  Pool pool;
  Id error = nullptr;
  set_ = Ref::owned(mtl::new_residency_set(device, make("MTLResidencySetDescriptor"), &error));
}

void Residency::wire(Entry& entry) {
  if (entry.wired || entry.bytes > limit_ - wired_) return;
  entry.wired = true;
  wired_ += entry.bytes;
  mtl::add_allocation(set_, entry.allocation);
  changed_ = true;
}

void Residency::add(Id allocation, size_t bytes) {
  if (!set_) return;
  std::lock_guard lock(mutex_);
  entries_.push_back({allocation, bytes, false});
  if (limit_ > 0) wire(entries_.back());
}

void Residency::remove(Id allocation, size_t bytes) {
  if (!set_) return;
  std::lock_guard lock(mutex_);
  // The youngest die first, mostly.
  for (size_t i = entries_.size(); i-- > 0;) {
    if (entries_[i].allocation != allocation) continue;
    if (entries_[i].wired) {
      mtl::remove_allocation(set_, allocation);
      wired_ -= bytes;
      changed_ = true;
    }
    entries_[i] = entries_.back();
    entries_.pop_back();
    return;
  }
}

void Residency::set_limit(size_t bytes) {
  if (!set_) return;
  std::lock_guard lock(mutex_);
  for (Entry& e : entries_)
    if (e.wired) {
      mtl::remove_allocation(set_, e.allocation);
      e.wired = false;
    }
  limit_ = bytes;
  wired_ = 0;
  if (limit_ > 0)
    for (Entry& e : entries_) wire(e);
  mtl::commit_residency(set_);
  changed_ = false;
  if (limit_ > 0) {
    mtl::request_residency(set_);
  } else {
    mtl::end_residency(set_);
  }
}

void Residency::update() {
  if (!set_) return;
  std::lock_guard lock(mutex_);
  if (!std::exchange(changed_, false)) return;
  mtl::commit_residency(set_);
}

void Residency::attach(Id queue) const {
  if (set_) mtl::add_residency_set(queue, Id{set_});
}

}  // namespace mlx::core::metal::apple
