// Values that are made once and never destroyed: threads of queues may outlive static objects.
#pragma once

#include <memory>

namespace mlx::core::metal::sim {

template <class F>
auto& lasting(F&& make) {
  return *std::make_unique<decltype(make())>(make()).release();
}

}  // namespace mlx::core::metal::sim
