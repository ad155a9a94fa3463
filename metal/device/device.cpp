#include "metal/device/device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

namespace mlx::core::metal {

namespace {

// The library of the simulator lies beside this one. It stays open: its code is the device.
Device* simulator() {
  Dl_info info{};
  std::string file = "libmlx_metal_sim.so";
  if (dladdr(reinterpret_cast<void*>(&simulator), &info) && info.dli_fname)
    if (const char* slash = std::strrchr(info.dli_fname, '/'))
      file = std::string(info.dli_fname, static_cast<size_t>(slash + 1 - info.dli_fname)) + file;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw std::runtime_error(std::string("[metal] MLX_METAL_SIMULATOR is set, but there is no simulator: ") +
                             dlerror());
  auto* make = reinterpret_cast<Device* (*)()>(dlsym(library, "mlx_metal_simulator_device"));
  if (!make) throw std::runtime_error("[metal] " + file + " is no simulator");
  return make();
}

Device* choose() {
  const char* wanted = std::getenv("MLX_METAL_SIMULATOR");
  return wanted && std::strcmp(wanted, "1") == 0 ? simulator() : nullptr;
}

}  // namespace

Device* device() {
  static Device* const chosen = choose();
  return chosen;
}

}  // namespace mlx::core::metal
