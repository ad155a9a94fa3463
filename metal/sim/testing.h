// What tests ask of the simulator beyond the seam: how much memory kernels moved, and faults that come when
// asked for. Only function pointers: nobody links with the simulator.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mlx::core::metal::sim {

// Sums over the dispatches of one kernel since they were reset.
struct KernelCounters {
  std::string kernel;
  uint64_t dispatches = 0, threads = 0, threadgroups = 0;
  uint64_t barriers = 0;         // of threadgroups and SIMD-groups
  uint64_t simd_operations = 0;  // one for all lanes of a SIMD-group
  // Bytes of device and constant memory: all accesses, and each byte once for each dispatch.
  uint64_t read = 0, written = 0, unique_read = 0, unique_written = 0;
};

enum class Injection {
  NoMemory,   // the n-th allocation from now on throws std::bad_alloc
  TimeOut,    // the n-th command buffer that is executed from now on runs out of time
  DeadQueue,  // the queue of the n-th command buffer fails with it, and never does anything again
};

struct TestApi {
  std::vector<KernelCounters> (*counters)();
  void (*reset_counters)();
  void (*inject)(Injection what, uint64_t n);  // n = 0: no longer
  size_t (*allocated_bytes)();
};

// Null where the device of this process is not the simulator. Also: MLX_METAL_SIMULATOR_INJECT=memory:3,
// timeout:1 or queue:2 in the environment.
inline const TestApi* test_api() {
  void* library = dlopen("libmlx_metal_sim.so", RTLD_NOW | RTLD_NOLOAD);
  if (!library) return nullptr;
  auto* get = reinterpret_cast<const TestApi* (*)()>(dlsym(library, "mlx_metal_simulator_test_api"));
  dlclose(library);
  return get ? get() : nullptr;
}

}  // namespace mlx::core::metal::sim
