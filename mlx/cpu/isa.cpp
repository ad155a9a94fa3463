#include "mlx/cpu/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(MLX_X86) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mlx::core::cpu {

#ifdef MLX_X86
namespace {

// Whether the machine has tiles of bfloat16 and bytes, and the kernel gives this process the 8 KiB that each
// thread keeps them in. Asking is granting: what is granted once holds for all threads and for children.
bool has_amx() {
#ifdef __linux__
  static const bool granted = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;
    if ((d & (bf16 | tile | int8)) != (bf16 | tile | int8)) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return granted;
#else
  return false;
#endif
}

}  // namespace
#endif

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::v2:
      return "v2";
    case Isa::v3:
      return "v3";
    case Isa::v4:
      return "v4";
    case Isa::v4bf16:
      return "v4bf16";
    case Isa::v4amx:
      return "v4amx";
    default:
      return "generic";
  }
}

bool isa_supported(Isa isa) {
#ifdef MLX_ISA_SETS  // a build that leaves some out (mlx/CMakeLists.txt)
  if (std::string(MLX_ISA_SETS).find(std::string(" ") + isa_name(isa) + " ") == std::string::npos)
    return false;
#endif
#ifdef MLX_X86
  __builtin_cpu_init();
  const bool v3 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::v2:
      return true;
    case Isa::v3:
      return v3;
    case Isa::v4:
      return v4;
    case Isa::v4bf16:
      return v4 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
    case Isa::v4amx:
      return isa_supported(Isa::v4bf16) && has_amx();
    default:
      return false;
  }
#else
  return isa == Isa::generic;
#endif
}

namespace {

Isa choose() {
#ifdef MLX_X86
  constexpr Isa best_first[] = {Isa::v4amx, Isa::v4bf16, Isa::v4, Isa::v3, Isa::v2};
  if (const char* wanted = std::getenv("MLX_CPU_ISA"); wanted && *wanted) {
    for (Isa isa : best_first) {
      if (std::string(wanted) != isa_name(isa)) continue;
      if (isa_supported(isa)) return isa;
      throw std::invalid_argument("[MLX_CPU_ISA] this machine has no " + std::string(wanted));
    }
    throw std::invalid_argument("[MLX_CPU_ISA] got '" + std::string(wanted) +
                                "', expected v2, v3, v4, v4bf16 or v4amx");
  }
  for (Isa isa : best_first)
    if (isa_supported(isa)) return isa;
  return Isa::v2;
#else
  return Isa::generic;
#endif
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

}  // namespace mlx::core::cpu
