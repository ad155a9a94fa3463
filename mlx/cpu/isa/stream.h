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
// As much of `from` as half a vector holds; p is aligned to that.
inline void stream_half(void* p, const void* from) {
#ifdef MLX_X86
#if MLX_ISA_LEVEL >= 4
  _mm256_stream_si256(static_cast<__m256i*>(p), _mm256_loadu_si256(static_cast<const __m256i*>(from)));
#elif MLX_ISA_LEVEL == 3
  _mm_stream_si128(static_cast<__m128i*>(p), _mm_loadu_si128(static_cast<const __m128i*>(from)));
#else
  long long bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  _mm_stream_si64(static_cast<long long*>(p), bits);
#endif
#else
  __builtin_memcpy(p, from, 8);
#endif
}
// Before it other threads may miss what was streamed.
inline void stream_fence() {
#ifdef MLX_X86
  _mm_sfence();
#endif
}

}  // namespace mlx::core::cpu::MLX_ISA
