// The instruction sets that the hot sources (mlx/cpu/isa/*.cpp, mlx/cpu/gemm/isa_*.cpp) are compiled for, and
// the choice among them at load. Each of those sources is compiled once per set, with other flags and with
// MLX_ISA naming another namespace, and exports one function that returns a table of plain function pointers.
//
// v4bf16 adds to v4 what matrix products use: only mlx/cpu/gemm/isa_*.cpp are compiled for it, all other
// tables are those of v4. v4amx is v4bf16 with matrix tiles: only mlx/cpu/gemm/amx_*.cpp are compiled for it.
#pragma once

namespace mlx::core::cpu {

enum class Isa { generic, v2, v3, v4, v4bf16, v4amx };

// The best set of this machine that was built, or the one that MLX_CPU_ISA (v2, v3, v4, v4bf16, v4amx)
// forces. Throws std::invalid_argument where MLX_CPU_ISA names a set that is unknown or that the machine
// lacks.
Isa isa();
const char* isa_name(Isa isa);
bool isa_supported(Isa isa);

// MLX_DECLARE_ISA_TABLE(Tiles, tiles): every set's namespace (but those that add nothing to it) has `const
// Tiles& tiles_table()`, and `mlx::core::cpu::tiles()` is the one for this machine.
#ifdef MLX_X86
#define MLX_DECLARE_ISA_TABLE_FROM(Type, name, bf16, amx) \
  namespace isa_v2 {                                      \
  const Type& name##_table();                             \
  }                                                       \
  namespace isa_v3 {                                      \
  const Type& name##_table();                             \
  }                                                       \
  namespace isa_v4 {                                      \
  const Type& name##_table();                             \
  }                                                       \
  namespace bf16 {                                        \
  const Type& name##_table();                             \
  }                                                       \
  namespace amx {                                         \
  const Type& name##_table();                             \
  }                                                       \
  inline const Type& name##_for(Isa isa) {                \
    switch (isa) {                                        \
      case Isa::v4amx:                                    \
        return amx::name##_table();                       \
      case Isa::v4bf16:                                   \
        return bf16::name##_table();                      \
      case Isa::v4:                                       \
        return isa_v4::name##_table();                    \
      case Isa::v3:                                       \
        return isa_v3::name##_table();                    \
      default:                                            \
        return isa_v2::name##_table();                    \
    }                                                     \
  }                                                       \
  inline const Type& name() {                             \
    static const Type& table = name##_for(isa());         \
    return table;                                         \
  }
#define MLX_DECLARE_ISA_TABLE(Type, name) MLX_DECLARE_ISA_TABLE_FROM(Type, name, isa_v4, isa_v4)
#define MLX_DECLARE_ISA_TABLE_WITH_BF16(Type, name) \
  MLX_DECLARE_ISA_TABLE_FROM(Type, name, isa_v4bf16, isa_v4bf16)
#define MLX_DECLARE_ISA_TABLE_WITH_AMX(Type, name) \
  MLX_DECLARE_ISA_TABLE_FROM(Type, name, isa_v4bf16, isa_v4amx)
#else
#define MLX_DECLARE_ISA_TABLE(Type, name)                                    \
  namespace isa_generic {                                                    \
  const Type& name##_table();                                                \
  }                                                                          \
  inline const Type& name##_for(Isa) { return isa_generic::name##_table(); } \
  inline const Type& name() { return isa_generic::name##_table(); }
#define MLX_DECLARE_ISA_TABLE_WITH_BF16(Type, name) MLX_DECLARE_ISA_TABLE(Type, name)
#define MLX_DECLARE_ISA_TABLE_WITH_AMX(Type, name) MLX_DECLARE_ISA_TABLE(Type, name)
#endif

}  // namespace mlx::core::cpu
