// Codes of quantized matrices as registers of float: runs of 32 of them, whatever their width, and all codes
// of a register of words at once.
#pragma once

#include <utility>

#include "mlx/cpu/gemm/kernels_quantized.h"
#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {

using gemm_detail::Code;

inline constexpr int kLanesF = kLanes<float>;
inline constexpr int kRunVectors = 32 / kLanesF;

constexpr int code_bits(Code c) {
  constexpr int bits[] = {1, 2, 3, 4, 5, 6, 8, 4, 8};
  return bits[c];
}

#if MLX_ISA_LEVEL >= 3
// Where lane j of vector V of a run finds its code: in bytes of a 16-byte piece that starts `offset` bytes
// into the run (never reading past its end), and by how many bits to shift them.
template <int Bits, int V>
struct Places {
  static constexpr int piece = 4 * Bits >= 16 ? 16 : 4 * Bits >= 8 ? 8 : 4;
  static constexpr int begin = V * kLanesF * Bits / 8;
  static constexpr int offset = begin < 4 * Bits - piece ? begin : 4 * Bits - piece;
  alignas(kVecBytes) uint8_t bytes[kVecBytes] = {};
  alignas(kVecBytes) uint32_t shifts[kLanesF] = {};
  constexpr Places() {
    for (int j = 0; j < kLanesF; ++j) {
      const int bit = (begin - offset) * 8 + j * Bits + V * kLanesF * Bits % 8;
      shifts[j] = static_cast<uint32_t>(bit % 8);
      for (int b = 0; b < 4; ++b)
        bytes[4 * j + b] =
            static_cast<uint8_t>(b == 0 || (b == 1 && bit % 8 + Bits > 8) ? bit / 8 + b : 0x80);
    }
  }
};
template <int Bits, int V>
inline constexpr Places<Bits, V> places{};
#endif

// Without the instructions for bytes and halves of later sets a vector of codes, or a conversion to halves,
// is dozens of instructions. They are functions there: written out in every loop they took a third of that
// set's compile time.
#if MLX_ISA_LEVEL == 2
#define MLX_LONG_INLINE [[gnu::noinline]]
#else
#define MLX_LONG_INLINE MLX_INLINE
#endif

// Vector V of the run of 32 codes at p.
template <int Bits, int V>
MLX_INLINE vu run_codes(const uint8_t* p) {
#if MLX_ISA_LEVEL >= 4
  if constexpr (Bits == 8) {
    return reinterpret_cast<vu>(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * V))));
  } else {
    using P = Places<Bits, V>;
    __m512i v;
    if constexpr (P::piece == 16) {
      v = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + P::offset)));
    } else if constexpr (P::piece == 8) {
      long long w;
      __builtin_memcpy(&w, p + P::offset, 8);
      v = _mm512_set1_epi64(w);
    } else {
      int w;
      __builtin_memcpy(&w, p + P::offset, 4);
      v = _mm512_set1_epi32(w);
    }
    v = _mm512_shuffle_epi8(v, _mm512_load_si512(places<Bits, V>.bytes));
    return (reinterpret_cast<vu>(v) >> *reinterpret_cast<const vu*>(places<Bits, V>.shifts)) &
           ((1u << Bits) - 1);
  }
#elif MLX_ISA_LEVEL == 3
  if constexpr (Bits == 8) {
    return reinterpret_cast<vu>(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * V))));
  } else {
    using P = Places<Bits, V>;
    __m256i v;
    if constexpr (P::piece == 16) {
      v = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + P::offset)));
    } else if constexpr (P::piece == 8) {
      long long w;
      __builtin_memcpy(&w, p + P::offset, 8);
      v = _mm256_set1_epi64x(w);
    } else {
      int w;
      __builtin_memcpy(&w, p + P::offset, 4);
      v = _mm256_set1_epi32(w);
    }
    v = _mm256_shuffle_epi8(v, _mm256_load_si256(reinterpret_cast<const __m256i*>(places<Bits, V>.bytes)));
    v = _mm256_srlv_epi32(v, _mm256_load_si256(reinterpret_cast<const __m256i*>(places<Bits, V>.shifts)));
    return reinterpret_cast<vu>(v) & ((1u << Bits) - 1);
  }
#else
  vu out;
  for (int j = 0; j < kLanesF; ++j) {
    const int bit = (V * kLanesF + j) * Bits;
    uint32_t two = p[bit / 8];
    if (bit % 8 + Bits > 8) two |= static_cast<uint32_t>(p[bit / 8 + 1]) << 8;
    out[j] = two >> (bit % 8) & ((1u << Bits) - 1);
  }
  return out;
#endif
}

MLX_INLINE vf to_vf(vu codes) {
  typedef int32_t vi __attribute__((vector_size(kVecBytes)));
  return __builtin_convertvector(reinterpret_cast<vi>(codes), vf);
}

// The value of a code. The small floats are halves with other biases of the exponent.
template <Code C>
MLX_INLINE vf code_value(vu code) {
  if constexpr (C == gemm_detail::kE2m1) {
    const vu half = (code & 8u) << 12 | (code & 7u) << 9;
    return widen(__builtin_convertvector(half, vh), f16{}) * 0x1p14f;
  } else if constexpr (C == gemm_detail::kE4m3) {
    const vu magnitude = code & 0x7fu;
    const vu half = (code & 0x80u) << 8 | magnitude << 7;
    const vf value = widen(__builtin_convertvector(half, vh), f16{}) * 0x1p8f;
    const vu is_nan = reinterpret_cast<vu>(magnitude == 0x7fu);
    return as_float(as_bits(value) | (is_nan & 0x7fc00000u));
  } else {
    return to_vf(code);
  }
}

template <Code C, int V>
MLX_LONG_INLINE vf run_values(const uint8_t* p) {
  return code_value<C>(run_codes<code_bits(C), V>(p));
}

// --- a register of words: shift i gives code i of each word ---

// Does a table of 16 floats hold all values, and do words hold whole codes?
template <Code C>
inline constexpr bool kByShifts = code_bits(C) == 1 || code_bits(C) == 2 || code_bits(C) == 4;

#if MLX_ISA_LEVEL >= 4
// The permutation reads the low four bits of its index: no mask, and no conversion.
template <Code C>
struct ValueTable {
  alignas(64) float value[16] = {};
  constexpr ValueTable() {
    constexpr float e2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    for (int i = 0; i < 16; ++i)
      value[i] = C == gemm_detail::kE2m1 ? (i < 8 ? e2m1[i] : -e2m1[i - 8])
                                         : static_cast<float>(i & ((1 << code_bits(C)) - 1));
  }
};
template <Code C>
inline constexpr ValueTable<C> value_table{};
template <Code C>
MLX_INLINE vf low_values(vu words, vf table) {
  return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(words), table);
}
template <Code C>
MLX_INLINE vf load_table() {
  return _mm512_load_ps(value_table<C>.value);
}
#else
template <Code C>
MLX_LONG_INLINE vf low_values(vu words, vf) {
  return code_value<C>(words & ((1u << code_bits(C)) - 1));
}
template <Code C>
MLX_INLINE vf load_table() {
  return vf{};
}
#endif

}  // namespace mlx::core::cpu::MLX_ISA
