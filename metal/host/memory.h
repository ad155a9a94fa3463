// The memory of the device as the allocator's source, and the way back from an array to its buffer.
#pragma once

#include <memory>

#include "metal/device/device.h"
#include "mlx/allocator.h"

namespace mlx::core::metal {

// All memory of arrays comes from the device from here on.
void take_memory_from(Device& device);

struct Place {
  std::shared_ptr<Buffer> buffer;
  size_t offset;  // in bytes
};
// Where an address in an owned buffer of the allocator lies; a null buffer where the memory is no device's.
Place place_of(allocator::Buffer data, const void* address);

}  // namespace mlx::core::metal
