// The device and its buffers.
#include <dlfcn.h>

#include <cstdlib>

#include "metal.h"

namespace standin {

metal::Device* behind() {
  static metal::Device* const device = [] {
    const char* file = std::getenv("MLX_STANDIN_DEVICE");
    void* library = dlopen(file ? file : "libmlx_metal_sim.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) die(std::string("no device: ") + dlerror());
    auto* make = reinterpret_cast<metal::Device* (*)()>(dlsym(library, "mlx_metal_simulator_device"));
    if (!make) die("no mlx_metal_simulator_device in the device's library");
    return make();
  }();
  return device;
}

Id refuse(Id* error, long code, const std::string& text) {
  if (error) *error = autorelease(make_error(code, text));
  return nullptr;
}

void add_device() {
  const char* device = "MTLDevice";
  method(device, "name", +[](Id, Selector) { return autorelease(make_string(behind()->info().name)); });
  method(device, "architecture", +[](Id, Selector) { return autorelease(id_of(create<Architecture>())); });
  method(
      "MTLArchitecture", "name",
      +[](Id, Selector) { return autorelease(make_string(behind()->info().architecture)); });
  method(
      device, "supportsFamily:", +[](Id, Selector, Integer family) {
        return family >= 1001 && family <= 1000 + behind()->info().family;
      });
  method(
      device, "maxBufferLength",
      +[](Id, Selector) -> UInteger { return behind()->info().max_buffer_length; });
  method(
      device, "maxThreadgroupMemoryLength",
      +[](Id, Selector) -> UInteger { return behind()->info().max_threadgroup_memory; });
  method(
      device, "maxThreadsPerThreadgroup", +[](Id, Selector) {
        const metal::Size s = behind()->info().max_threads_per_threadgroup;
        return Extent{s.x, s.y, s.z};
      });
  method(
      device, "recommendedMaxWorkingSetSize",
      +[](Id, Selector) -> uint64_t { return behind()->info().recommended_working_set; });
}

}  // namespace standin
