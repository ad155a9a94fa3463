// Stores that go past the caches, for sources compiled once per instruction set. Where a set has none they
// are plain.
#pragma once

#include "mlx/cpu/isa/intrinsics.h"

namespace mlx::core::cpu::MLX_ISA {

// p is aligned to the size of V, a vector of floats.
template <class V>
inline void stream_store(float* p, V v) {
#ifdef MLX_X86
#if MLX_ISA_LEVEL >= 4
  _mm512_stream_ps(p, v);
#elif MLX_ISA_LEVEL == 3
  _mm256_stream_ps(p, v);
#else
  _mm_stream_ps(p, v);
#endif
#else
  __builtin_memcpy(p, &v, sizeof(V));
#endif
}
// Before it other threads may miss what was streamed.
inline void stream_fence() {
#ifdef MLX_X86
  _mm_sfence();
#endif
}

}  // namespace mlx::core::cpu::MLX_ISA
