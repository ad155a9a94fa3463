// float16 and bfloat16 <-> float32 for sources in mlx/cpu/isa. One element (branch-free, so a loop over it
// vectorises), runs of elements, and vector registers where the set has them. Narrowing rounds to nearest
// even and keeps nan a nan; all sets give the same bits, denormals included (which is why vcvtneps2bf16,
// which flushes them, is not used).
#pragma once

#include <cstdint>

#include "mlx/cpu/isa/intrinsics.h"

namespace mlx::core::cpu::MLX_ISA {

struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};

// --- one element ---

inline float bits_to_float(uint32_t u) { return __builtin_bit_cast(float, u); }
inline uint32_t float_to_bits(float x) { return __builtin_bit_cast(uint32_t, x); }

inline float to_float(float x) { return x; }
inline float to_float(bf16 h) { return bits_to_float(static_cast<uint32_t>(h.bits) << 16); }
inline float to_float(f16 h) {
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16;
  const uint32_t magnitude = h.bits & 0x7fffu;
  // 2^112 rebiases the exponent of normal and subnormal numbers alike.
  const uint32_t finite = float_to_bits(bits_to_float(magnitude << 13) * 0x1p112f);
  const uint32_t special = magnitude << 13 | 0x7f800000u | (magnitude > 0x7c00u ? 0x400000u : 0u);
  return bits_to_float(sign | (magnitude >= 0x7c00u ? special : finite));
}

template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline bf16 from_float<bf16>(float x) {
  const uint32_t u = float_to_bits(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
  const uint32_t nan = (u >> 16) | 0x40u;
  return {static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
}
template <>
inline f16 from_float<f16>(float x) {
  const uint32_t u = float_to_bits(x);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t m = u & 0x7fffffffu;
  const uint32_t normal = (m - 0x38000000u + 0xfffu + ((m >> 13) & 1)) >> 13;
  // Below 2^-14 the float adder rounds to multiples of 2^-24.
  const uint32_t subnormal = float_to_bits(bits_to_float(m) + 0.5f) - 0x3f000000u;
  uint32_t r = m < 0x38800000u ? subnormal : normal;
  r = m >= 0x477ff000u ? 0x7c00u : r;  // 65520 and above round to infinity
  r = m > 0x7f800000u ? (0x7e00u | ((m >> 13) & 0x3ffu)) : r;
  return {static_cast<uint16_t>(sign | r)};
}

// --- vector registers: load_float(p) widens, store_float(p, v) narrows, of a float, f16 or bf16 array ---

#if MLX_ISA_LEVEL >= 4
inline __m512 load_float(const float* p) { return _mm512_loadu_ps(p); }
inline __m512 load_float(const f16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m512 load_float(const bf16* p) {
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
inline void store_float(float* p, __m512 x) { _mm512_storeu_ps(p, x); }
inline void store_float(f16* p, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline __m256i narrow_to_bf16(__m512 x) {
  const __m512i u = _mm512_castps_si512(x);
  const __m512i upper = _mm512_srli_epi32(u, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40)));
}
inline void store_float(bf16* p, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_to_bf16(x));
}
inline constexpr int kHalfLanes = 16;
#elif MLX_ISA_LEVEL == 3
inline __m256 load_float(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 load_float(const f16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 load_float(const bf16* p) {
  const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
inline void store_float(float* p, __m256 x) { _mm256_storeu_ps(p, x); }
inline void store_float(f16* p, __m256 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_float(bf16* p, __m256 x) {
  const __m256i u = _mm256_castps_si256(x);
  const __m256i upper = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i r = _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), nan);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}
inline constexpr int kHalfLanes = 8;
#endif

// --- runs of elements. T is f16 or bf16; the arrays do not overlap ---

template <class T>
inline void widen(const T* __restrict in, float* __restrict out, int64_t n) {
  int64_t i = 0;
#if MLX_ISA_LEVEL >= 3
  for (; i + kHalfLanes <= n; i += kHalfLanes) store_float(out + i, load_float(in + i));
#endif
  for (; i < n; ++i) out[i] = to_float(in[i]);
}
template <class T>
inline void narrow(const float* __restrict in, T* __restrict out, int64_t n) {
  int64_t i = 0;
#if MLX_ISA_LEVEL >= 3
  for (; i + kHalfLanes <= n; i += kHalfLanes) store_float(out + i, load_float(in + i));
#endif
  for (; i < n; ++i) out[i] = from_float<T>(in[i]);
}

}  // namespace mlx::core::cpu::MLX_ISA
