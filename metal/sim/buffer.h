// Memory of the simulated device, with who touched it.
#pragma once

#include "metal/device/device.h"
#include "metal/sim/shadow.h"

namespace mlx::core::metal::sim {

class SimulatedBuffer : public Buffer {
 public:
  SimulatedBuffer(void* contents, size_t length) : Buffer(contents, length), shadow(length) {}
  Shadow shadow;
};

}  // namespace mlx::core::metal::sim
