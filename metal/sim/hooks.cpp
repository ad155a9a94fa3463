// What the compiler calls before each access to memory (-fsanitize=thread), and what metal_stdlib calls.
//
// The process may have runtimes of sanitizers of its own, which would be found first: compiler.cpp links
// kernels with --wrap, which puts __wrap_ before the names of the compiler's functions.
#include <cstring>

#include "metal/sim/executor.h"

using namespace mlx::core::metal::sim;

#define MLX_SIM_HOOK extern "C" __attribute__((visibility("default")))

namespace {
inline uintptr_t code_of(void* returns_to) { return reinterpret_cast<uintptr_t>(returns_to) - 1; }
// Of functions of metal_stdlib, which know their place in the source.
inline uintptr_t at(const char* file, int line) {
  executor().memory.hint = {0, file, line};
  return 0;
}
inline uintptr_t address_of(const volatile void* p) { return reinterpret_cast<uintptr_t>(p); }
}  // namespace

#define MLX_SIM_CODE code_of(__builtin_return_address(0))
#define MLX_SIM_ACCESS(name, how, size, kind)                                   \
  MLX_SIM_HOOK void __wrap_##name(void* p) {                                    \
    executor().memory.how(address_of(p), size, AccessKind::kind, MLX_SIM_CODE); \
  }
#define MLX_SIM_ACCESSES(size)                                             \
  MLX_SIM_ACCESS(__tsan_read##size, aligned_access, size, Read)            \
  MLX_SIM_ACCESS(__tsan_write##size, aligned_access, size, Write)          \
  MLX_SIM_ACCESS(__tsan_unaligned_read##size, access, size, Read)          \
  MLX_SIM_ACCESS(__tsan_unaligned_write##size, access, size, Write)        \
  MLX_SIM_ACCESS(__tsan_volatile_read##size, aligned_access, size, Read)   \
  MLX_SIM_ACCESS(__tsan_volatile_write##size, aligned_access, size, Write) \
  MLX_SIM_ACCESS(__tsan_unaligned_volatile_read##size, access, size, Read) \
  MLX_SIM_ACCESS(__tsan_unaligned_volatile_write##size, access, size, Write)
MLX_SIM_ACCESSES(1)
MLX_SIM_ACCESSES(2)
MLX_SIM_ACCESSES(4)
MLX_SIM_ACCESSES(8)
MLX_SIM_ACCESSES(16)

MLX_SIM_HOOK void __wrap___tsan_read_range(void* p, unsigned long size) {
  if (size) executor().memory.access(address_of(p), size, AccessKind::Read, MLX_SIM_CODE);
}
MLX_SIM_HOOK void __wrap___tsan_write_range(void* p, unsigned long size) {
  if (size) executor().memory.access(address_of(p), size, AccessKind::Write, MLX_SIM_CODE);
}
MLX_SIM_HOOK void* __wrap___tsan_memcpy(void* to, const void* from, unsigned long size) {
  if (size) {
    executor().memory.access(address_of(from), size, AccessKind::Read, MLX_SIM_CODE);
    executor().memory.access(address_of(to), size, AccessKind::Write, MLX_SIM_CODE);
  }
  return std::memcpy(to, from, size);
}
MLX_SIM_HOOK void* __wrap___tsan_memmove(void* to, const void* from, unsigned long size) {
  if (size) {
    executor().memory.access(address_of(from), size, AccessKind::Read, MLX_SIM_CODE);
    executor().memory.access(address_of(to), size, AccessKind::Write, MLX_SIM_CODE);
  }
  return std::memmove(to, from, size);
}
MLX_SIM_HOOK void* __wrap___tsan_memset(void* to, int value, unsigned long size) {
  if (size) executor().memory.access(address_of(to), size, AccessKind::Write, MLX_SIM_CODE);
  return std::memset(to, value, size);
}
MLX_SIM_HOOK void __wrap___tsan_vptr_update(void**, void*) {}
MLX_SIM_HOOK void __wrap___tsan_vptr_read(void**) {}
MLX_SIM_HOOK void __wrap___tsan_func_entry(void*) {
  const uintptr_t here = address_of(__builtin_frame_address(0));
  const uintptr_t low = executor().group.stacks().low();
  if (here - low < executor().group.stacks().bytes() && here - Stacks::limit(low, here) < 8192)
    fault("stack overflow: the private memory of a thread is larger than " +
              std::to_string(Stacks::size / 1024) + " KiB",
          {MLX_SIM_CODE, nullptr, 0});
}
MLX_SIM_HOOK void __wrap___tsan_func_exit() {}
MLX_SIM_HOOK void __wrap___tsan_init() {}

MLX_SIM_HOOK void __wrap___ubsan_handle_divrem_overflow_abort(void*, void*, void*) {
  fault("integer division by zero", {MLX_SIM_CODE, nullptr, 0});
}
MLX_SIM_HOOK void __wrap___ubsan_handle_divrem_overflow(void*, void*, void*) {
  fault("integer division by zero", {MLX_SIM_CODE, nullptr, 0});
}

MLX_SIM_HOOK void* metal_simulator_threadgroup(metal_simulator::Site* site) {
  return executor().threadgroup_variable(site);
}
MLX_SIM_HOOK void metal_simulator_barrier(int meeting, int flags, const char* file, int line) {
  executor().group.barrier(meeting == metal_simulator::MeetSimdBarrier, flags, {0, file, line});
}
MLX_SIM_HOOK metal_simulator::Exchange* metal_simulator_meet(int operation, const void* value, unsigned size,
                                                             const char* file, int line) {
  return executor().group.meet(operation, value, size, {0, file, line});
}
MLX_SIM_HOOK unsigned metal_simulator_lane() { return executor().group.lane(); }
MLX_SIM_HOOK void metal_simulator_atomic(const volatile void* address, unsigned size, int access,
                                         const char* file, int line) {
  const bool write = access & metal_simulator::AccessWrite;
  executor().memory.aligned_access(address_of(address), size,
                                   write ? AccessKind::AtomicWrite : AccessKind::AtomicRead, at(file, line));
}
MLX_SIM_HOOK void metal_simulator_access(const volatile void* address, unsigned size, int access,
                                         const char* file, int line) {
  const bool write = access & metal_simulator::AccessWrite;
  executor().memory.access(address_of(address), size, write ? AccessKind::Write : AccessKind::Read,
                           at(file, line));
}
MLX_SIM_HOOK void metal_simulator_check_lane(const metal_simulator::Exchange* e, unsigned lane,
                                             const char* file, int line) {
  if (lane > 31 || !(e->active >> lane & 1))
    fault("value of lane " + std::to_string(lane) + ", which takes no part", {0, file, line});
}
MLX_SIM_HOOK void metal_simulator_matrix_multiply(const float* operands, float* result, const char* file,
                                                  int line) {
  executor().group.multiply(operands, result, {0, file, line});
}
