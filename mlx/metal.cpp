#include "mlx/metal.h"

#include <stdexcept>

#include "mlx/graph/backend.h"
#include "mlx/graph/flight.h"
#include "mlx/memory.h"

namespace mlx::core {
namespace {

GpuBackend& needed(const char* op) {
  if (GpuBackend* gpu = gpu_backend()) return *gpu;
  throw std::runtime_error("[metal." + std::string(op) +
                           "] there is no Metal device on this machine, expected one");
}

}  // namespace

namespace metal {

bool is_available() { return gpu_backend() != nullptr; }
const std::unordered_map<std::string, std::variant<std::string, size_t>>& device_info() {
  return needed("device_info").info();
}
void start_capture(const std::string& path) { needed("start_capture").start_capture(path); }
void stop_capture() { needed("stop_capture").stop_capture(); }
std::map<std::string, uint64_t> hand_overs() { return needed("hand_overs").hand_overs(); }
std::map<std::string, uint64_t> waits() { return needed("waits").waits(); }
uint64_t continued() { return detail::continued_flights(); }

}  // namespace metal

size_t set_wired_limit(size_t limit) {
  GpuBackend* gpu = gpu_backend();
  return gpu ? gpu->set_wired_limit(limit) : 0;
}

}  // namespace mlx::core
