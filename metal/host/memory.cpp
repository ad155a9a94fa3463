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
  size_t piece;  // 0: the block is the whole buffer
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
    pieces_[slab->piece].push_back(block);
  }

 private:
  Block whole(size_t size) {
    if (size > device_.info().max_buffer_length) throw std::bad_alloc();
    auto slab = std::make_unique<Slab>(Slab{device_.allocate(size), 0});
    void* memory = slab->buffer->contents();
    return {memory, slab.release()};
  }
  // Slabs stay: their pieces are used again for blocks of the same size.
  Block piece_of(size_t size) {
    size = (size + 63) / 64 * 64;
    std::lock_guard lock(mutex_);
    std::vector<Block>& free = pieces_[size];
    if (free.empty()) {
      const size_t count = std::clamp<size_t>(kSlabBytes / size, 1, 256);
      slabs_.push_back(std::make_unique<Slab>(Slab{device_.allocate(count * size), size}));
      auto* memory = static_cast<char*>(slabs_.back()->buffer->contents());
      for (size_t i = count; i-- > 0;) free.push_back({memory + i * size, slabs_.back().get()});
    }
    const Block block = free.back();
    free.pop_back();
    return block;
  }

  Device& device_;
  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<Block>> pieces_;  // free ones, by size
  std::vector<std::unique_ptr<Slab>> slabs_;
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
