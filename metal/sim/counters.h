#pragma once

#include "metal/sim/testing.h"

namespace mlx::core::metal::sim {

void count(const KernelCounters& dispatch);

// Whether the event that was asked for happens now.
bool injected(Injection what);

extern size_t (*allocated_bytes)();

}  // namespace mlx::core::metal::sim
