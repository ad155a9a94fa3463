// Metal itself behind the seam, for Apple silicon. Compiled on every system: it needs no SDK and opens the
// frameworks when it is asked for a device.
#pragma once

#include "metal/device/device.h"

namespace mlx::core::metal::apple {

// Metal's default device, which lives as long as the process; null where there is no Metal. `library` names
// one library that stands in for Apple's (tests/metal/standin); std::runtime_error where that cannot be
// opened.
Device* apple_device(const char* library = nullptr);

}  // namespace mlx::core::metal::apple
