// Transposition by registers. A tile is a square whose rows are one cache line on both sides, so that each
// line is read and written once, whole: with power-of-two strides all lines of a tile fall into one set of
// the cache and do not stay there for a second visit.
#pragma once

#include <cstdint>
#include <utility>

#include "mlx/cpu/isa/intrinsics.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

constexpr int64_t kLine = 64;

#ifdef MLX_X86
// One aligned line, past the caches.
inline void stream_line(char* out, const char* in) {
#if MLX_ISA_LEVEL >= 4
  _mm512_stream_si512(reinterpret_cast<__m512i*>(out), _mm512_loadu_si512(in));
#elif MLX_ISA_LEVEL == 3
  for (int k = 0; k < 64; k += 32)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out + k),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + k)));
#else
  for (int k = 0; k < 64; k += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + k),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + k)));
#endif
}
#else
inline void stream_line(char* out, const char* in) { __builtin_memcpy(out, in, 64); }
#endif

// The widest register in which a square fits into the register file: as many registers as lanes.
template <class T>
constexpr int register_bytes() {
#if MLX_ISA_LEVEL >= 4
  return sizeof(T) >= 4 ? 64 : sizeof(T) == 2 ? 32 : 16;
#elif MLX_ISA_LEVEL == 3
  return sizeof(T) >= 4 ? 32 : 16;
#else
  return 16;
#endif
}

template <class T, int lanes>
struct Lanes {
  typedef T type __attribute__((vector_size(sizeof(T) * lanes)));
  typedef T unaligned __attribute__((vector_size(sizeof(T) * lanes), aligned(1), may_alias));
};

// Lanes a0 b0 a1 b1 … of two registers, and the same of their upper halves: log2(n) rounds of it, register
// i with register i + n/2, transpose a square.
template <class V, int n, bool upper, int... k>
inline V interleave(V a, V b, std::integer_sequence<int, k...>) {
  return __builtin_shufflevector(a, b, ((upper ? n / 2 : 0) + k / 2 + (k % 2) * n)...);
}

template <class T, int n>
inline void transpose_square(const T* in, int64_t si, T* out, int64_t so) {
  using V = typename Lanes<T, n>::type;
  using U = typename Lanes<T, n>::unaligned;
  constexpr auto lanes = std::make_integer_sequence<int, n>();
  V a[n], b[n];
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i) a[i] = *reinterpret_cast<const U*>(in + i * si);
#pragma GCC unroll 8
  for (int round = 1; round < n; round *= 2) {
#pragma GCC unroll 32
    for (int i = 0; i < n / 2; ++i) {
      b[2 * i] = interleave<V, n, false>(a[i], a[i + n / 2], lanes);
      b[2 * i + 1] = interleave<V, n, true>(a[i], a[i + n / 2], lanes);
    }
#pragma GCC unroll 32
    for (int i = 0; i < n; ++i) a[i] = b[i];
  }
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i) *reinterpret_cast<U*>(out + i * so) = a[i];
}

// out[i * so + j] = in[i + j * si] for a whole tile.
template <class T>
inline void transpose_tile(const T* in, int64_t si, T* out, int64_t so, bool stream) {
  constexpr int tile = kLine / sizeof(T);
  constexpr int n = register_bytes<T>() / sizeof(T);
  if (n == tile && !stream) return transpose_square<T, n>(in, si, out, so);
  alignas(64) T lines[tile * tile];
  for (int j = 0; j < tile; j += n)
    for (int i = 0; i < tile; i += n) transpose_square<T, n>(in + i + j * si, si, lines + i * tile + j, tile);
  for (int i = 0; i < tile; ++i) {
    if (stream) {
      stream_line(reinterpret_cast<char*>(out + i * so), reinterpret_cast<const char*>(lines + i * tile));
    } else {
      __builtin_memcpy(out + i * so, lines + i * tile, kLine);
    }
  }
}

template <class T>
void transpose(const void* in_bytes, int64_t si, void* out_bytes, int64_t so, int64_t n0, int64_t n1,
               bool stream) {
  constexpr int64_t tile = kLine / sizeof(T);
  const T* __restrict in = static_cast<const T*>(in_bytes);
  T* __restrict out = static_cast<T*>(out_bytes);
  const auto edge = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = j0; j < j1; ++j) out[i * so + j] = in[i + j * si];
  };
  // Streamed lines are aligned: columns before the first line boundary are an edge as well.
  int64_t first = 0;
  if (stream) {
    if (so * int64_t{sizeof(T)} % kLine != 0) {
      stream = false;
    } else {
      first = static_cast<int64_t>((-reinterpret_cast<uintptr_t>(out) & (kLine - 1)) / sizeof(T));
      first = first < n1 ? first : n1;
    }
  }
  const int64_t full0 = n0 / tile * tile, full1 = first + (n1 - first) / tile * tile;
  edge(0, full0, 0, first);
  for (int64_t j = first; j < full1; j += tile)
    for (int64_t i = 0; i < full0; i += tile)
      transpose_tile(in + i + j * si, si, out + i * so + j, so, stream);
  edge(0, full0, full1, n1);
  edge(full0, n0, 0, n1);
#ifdef MLX_X86
  if (stream) _mm_sfence();
#endif
}

}  // namespace
}  // namespace mlx::core::cpu::MLX_ISA
