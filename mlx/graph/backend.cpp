#include "mlx/graph/backend.h"

namespace mlx::core {
namespace {
// Constant-initialised: registration happens while static objects of other files are made.
GpuBackend* (*maker)() = nullptr;
}  // namespace

bool add_gpu_backend(GpuBackend* (*make)()) {
  maker = make;
  return true;
}

GpuBackend* gpu_backend() {
  if (!maker) return nullptr;
  static GpuBackend* const backend = maker();
  return backend;
}

}  // namespace mlx::core
