#include "metal/device/device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "metal/apple/apple.h"

namespace mlx::core::metal {

namespace {

// A library in the folder of this one.
std::string beside(const std::string& file) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&beside), &info) && info.dli_fname)
    if (const char* slash = std::strrchr(info.dli_fname, '/'))
      return std::string(info.dli_fname, static_cast<size_t>(slash + 1 - info.dli_fname)) + file;
  return file;
}

// It stays open: its code is the device.
Device* simulator() {
  const std::string file = beside("libmlx_metal_sim.so");
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
  if (wanted && std::strcmp(wanted, "1") == 0) return simulator();
  // Apple's host code, on a library that stands in for the system's (tests/metal/standin).
  if (wanted && std::strcmp(wanted, "apple") == 0) {
    const char* file = std::getenv("MLX_METAL_STANDIN");
    return apple::apple_device((file ? std::string(file) : beside("libmlx_metal_standin.so")).c_str());
  }
  return apple::apple_device();
}

}  // namespace

Device* device() {
  static Device* const chosen = choose();
  return chosen;
}

}  // namespace mlx::core::metal
