#pragma once

namespace mlx::core {

// The level of the API that this library implements, as "0.32.4".
const char* version();

}  // namespace mlx::core
