#include "metal/host/memory.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace mlx::core::metal {
namespace {

// A buffer of the device costs pages and a place in its tables: small blocks share one.
constexpr size_t kLargestPiece = 32 << 10;
constexpr size_t kSlabBytes = 256 << 10;

// What a handle points at.
struct Slab {
  std::shared_ptr<Buffer> buffer;
  size_t piece;  // bytes; 0: the block is the whole buffer
  size_t pieces;
  std::vector<void*> free;
};

class DeviceMemory final : public allocator::Source {
 public:
  explicit DeviceMemory(Device& device) : device_(device) {}

  Block get(size_t size) override {
    try {
      return size <= kLargestPiece ? piece_of(size) : whole(size);
    } catch (const std::bad_alloc&) {
      return {nullptr, nullptr};
    }
  }
  void give(Block block) override {
    auto* slab = static_cast<Slab*>(block.handle);
    if (slab->piece == 0) {
      const std::unique_ptr<Slab> last(slab);
      return;
    }
    std::lock_guard lock(mutex_);
    std::vector<Slab*>& slabs = with_room_[slab->piece];
    slab->free.push_back(block.memory);
    if (slab->free.size() == slab->pieces) {  // the allocator kept blocks for later before it gave them here
      std::erase(slabs, slab);
      const std::unique_ptr<Slab> last(slab);
    } else if (slab->free.size() == 1) {
      slabs.push_back(slab);
    }
  }

 private:
  Block whole(size_t size) {
    if (size > device_.info().max_buffer_length) throw std::bad_alloc();
    auto slab = std::make_unique<Slab>(Slab{device_.allocate(size), 0, 1, {}});
    void* memory = slab->buffer->contents();
    return {memory, slab.release()};
  }
  Block piece_of(size_t size) {
    size = (size + 63) / 64 * 64;
    std::lock_guard lock(mutex_);
    std::vector<Slab*>& slabs = with_room_[size];
    if (slabs.empty()) slabs.push_back(slab_of(size));
    Slab* slab = slabs.back();
    void* memory = slab->free.back();
    slab->free.pop_back();
    if (slab->free.empty()) slabs.pop_back();
    return {memory, slab};
  }
  Slab* slab_of(size_t piece) {
    const size_t pieces = std::clamp<size_t>(kSlabBytes / piece, 1, 256);
    auto slab = std::make_unique<Slab>(Slab{device_.allocate(pieces * piece), piece, pieces, {}});
    auto* memory = static_cast<char*>(slab->buffer->contents());
    for (size_t i = pieces; i-- > 0;) slab->free.push_back(memory + i * piece);
    return slab.release();
  }

  Device& device_;
  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<Slab*>> with_room_;  // by the size of pieces; full ones are nowhere
};

}  // namespace

void take_memory_from(Device& device) {
  // Never destroyed, as the allocator.
  allocator::set_source(*std::make_unique<DeviceMemory>(device).release());
}

Place place_of(allocator::Buffer data, const void* address) {
  if (!data.ptr()) return {nullptr, 0};
  const auto* slab = static_cast<const Slab*>(allocator::source_handle(data));
  if (!slab) return {nullptr, 0};
  const auto* base = static_cast<const char*>(slab->buffer->contents());
  return {slab->buffer, static_cast<size_t>(static_cast<const char*>(address) - base)};
}

}  // namespace mlx::core::metal
