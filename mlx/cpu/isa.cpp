#include "mlx/cpu/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace mlx::core::cpu {

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
  constexpr Isa best_first[] = {Isa::v4bf16, Isa::v4, Isa::v3, Isa::v2};
  if (const char* wanted = std::getenv("MLX_CPU_ISA"); wanted && *wanted) {
    for (Isa isa : best_first) {
      if (std::string(wanted) != isa_name(isa)) continue;
      if (isa_supported(isa)) return isa;
      throw std::invalid_argument("[MLX_CPU_ISA] this machine has no " + std::string(wanted));
    }
    throw std::invalid_argument("[MLX_CPU_ISA] got '" + std::string(wanted) +
                                "', expected v2, v3, v4 or v4bf16");
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
