// Buffers, and heaps that they may lie in: the first piece that is free and long enough.
#include <algorithm>

#include "metal.h"

namespace standin {
namespace {

constexpr size_t kPage = 16384;
std::mutex heaps_mutex;  // of all heaps' pieces

bool failed(std::atomic<long>& left) {
  if (left <= 0) return false;
  --left;
  return true;
}
size_t up(size_t n, size_t step) { return (n + step - 1) / step * step; }

SizeAndAlign place_of(size_t length) {
  const size_t align = heap_alignment ? heap_alignment.load() : length < kPage ? 256 : kPage;
  return {up(length, align), align};
}

// Calls f(offset, length) for each gap, beginning at a multiple of `align`, until it returns true.
template <class F>
void each_gap(const HeapFields& heap, size_t align, F f) {
  size_t at = 0;
  const auto gap = [&](size_t end) { return at < end && f(at, end - at); };
  for (const auto& [offset, length] : heap.pieces) {
    if (gap(offset)) return;
    at = up(offset + length, align);
  }
  gap(heap.made.size);
}

std::shared_ptr<metal::Buffer> memory_of(size_t bytes) {
  try {
    return behind()->allocate(bytes);
  } catch (const std::exception&) {
    return nullptr;
  }
}

Id new_buffer(std::shared_ptr<metal::Buffer> memory, size_t offset, size_t length, UInteger options,
              Piece piece = {}) {
  auto* b = create<Buffer>();
  b->fields = {std::move(memory), offset, length, options, std::move(piece), nullptr, 0, nullptr};
  return id_of(b);
}
bool sensible(const char* what, size_t length, UInteger options) {
  if (options & 0xf0) fault(std::string(what) + " of memory that the CPU does not share");
  if (length == 0) fault(std::string(what) + " of no bytes");
  return length > 0 && !(options & 0xf0);
}

Id new_heap(Id, Selector, Id descriptor) {
  HeapDescriptorFields made = as<HeapDescriptor>(descriptor).fields;
  if (made.type != 0) return fault("newHeapWithDescriptor: of a type that is not stood in for"), nullptr;
  if (!sensible("newHeapWithDescriptor:", made.size, made.options) || failed(heaps_to_fail)) return nullptr;
  made.size = up(made.size, kPage);
  auto memory = memory_of(made.size);
  if (!memory) return nullptr;
  heap_bytes += made.size;
  return id_of(new Heap{{Heap::kName,
                         [](Instance* i) {
                           HeapFields& heap = static_cast<Heap*>(i)->fields;
                           std::lock_guard lock(heaps_mutex);
                           if (!heap.pieces.empty()) fault("a heap was deallocated while its buffers live");
                           heap_bytes -= heap.made.size;
                           heap = {};
                         }},
                        {std::move(memory), made, {}, {}}});
}

Id new_buffer_in(Id self, Selector, UInteger length, UInteger options) {
  HeapFields& heap = as<Heap>(self).fields;
  if (!sensible("-[MTLHeap newBufferWithLength:options:]", length, options)) return nullptr;
  if (options != heap.made.options)
    return fault("-[MTLHeap newBufferWithLength:options:] with other options than its heap's"), nullptr;
  if (failed(pieces_to_fail)) return nullptr;
  const SizeAndAlign place = place_of(length);
  std::lock_guard lock(heaps_mutex);
  Id made = nullptr;
  each_gap(heap, place.align, [&](size_t offset, size_t room) {
    if (room < place.size) return false;
    heap.pieces[offset] = place.size;
    made = new_buffer(heap.memory, offset, length, options, Piece(self, offset));
    return true;
  });
  return made;
}

}  // namespace

Piece::~Piece() {
  if (!heap_ || as<Instance>(heap_).dead) return;
  std::lock_guard lock(heaps_mutex);
  as<Heap>(heap_).fields.pieces.erase(offset_);
}

size_t allocated_size(Id allocation) {
  return as<Instance>(allocation).isa->name == Heap::kName ? as<Heap>(allocation).fields.made.size
                                                           : as<Buffer>(allocation).fields.length;
}

void add_heaps() {
  method(
      "MTLDevice", "newBufferWithLength:options:", +[](Id, Selector, UInteger n, UInteger options) -> Id {
        if (!sensible("newBufferWithLength:options:", n, options)) return nullptr;
        auto memory = memory_of(n);
        return memory ? new_buffer(std::move(memory), 0, n, options) : nullptr;
      });
  method(
      "MTLDevice", "newBufferWithBytesNoCopy:length:options:deallocator:",
      +[](Id, Selector, const void* bytes, UInteger n, UInteger options, Block) -> Id {
        auto memory = behind()->wrap(const_cast<void*>(bytes), n);
        return memory ? new_buffer(std::move(memory), 0, n, options) : nullptr;
      });
  method(
      "MTLBuffer", "contents", +[](Id self, Selector) -> const void* {
        const BufferFields& b = as<Buffer>(self).fields;
        return static_cast<const char*>(b.memory->contents()) + b.offset;
      });
  method(
      "MTLDevice", "heapBufferSizeAndAlignWithLength:options:", +[](Id, Selector, UInteger length, UInteger) {
        return place_of(length);
      });
  method("MTLDevice", "newHeapWithDescriptor:", new_heap);
  const char* descriptor = "MTLHeapDescriptor";
  method(
      descriptor,
      "setSize:", +[](Id self, Selector, UInteger size) { as<HeapDescriptor>(self).fields.size = size; });
  method(
      descriptor,
      "setType:", +[](Id self, Selector, Integer type) { as<HeapDescriptor>(self).fields.type = type; });
  method(
      descriptor, "setResourceOptions:", +[](Id self, Selector, UInteger options) {
        as<HeapDescriptor>(self).fields.options = options;
      });
  const char* heap = "MTLHeap";
  method(heap, "newBufferWithLength:options:", new_buffer_in);
  method(heap, "size", +[](Id self, Selector) -> UInteger { return as<Heap>(self).fields.made.size; });
  method(
      heap, "setLabel:", +[](Id self, Selector, Id label) { as<Heap>(self).fields.label = text_of(label); });
  method(
      heap, "usedSize", +[](Id self, Selector) -> UInteger {
        std::lock_guard lock(heaps_mutex);
        size_t used = 0;
        for (const auto& [offset, length] : as<Heap>(self).fields.pieces) used += length;
        return used;
      });
  method(
      heap, "maxAvailableSizeWithAlignment:", +[](Id self, Selector, UInteger align) -> UInteger {
        if (align == 0 || align & (align - 1))
          return fault("maxAvailableSizeWithAlignment: of no power of two"), 0;
        std::lock_guard lock(heaps_mutex);
        size_t most = 0;
        each_gap(as<Heap>(self).fields, align, [&](size_t, size_t room) {
          most = std::max(most, room);
          return false;
        });
        return most;
      });
}

}  // namespace standin
