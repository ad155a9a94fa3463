#include "mlx/graph/backend.h"

#include <algorithm>

#include "mlx/allocator.h"

namespace mlx::core {
namespace {
// Constant-initialised: registration happens while static objects of other files are made.
GpuBackend* (*maker)() = nullptr;
}  // namespace

bool used_by_gpu(const std::vector<array>& arrays) {
  return std::any_of(arrays.begin(), arrays.end(), [](const array& a) {
    return a.data_shared_ptr() && a.data_shared_ptr()->is_owned() &&
           allocator::is_pinned(a.data_shared_ptr()->buffer());
  });
}

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
