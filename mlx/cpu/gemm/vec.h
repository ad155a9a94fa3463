// One vector register of float or double, for the sources that are compiled once per instruction set: GCC's
// vector extension, with intrinsics where the compiler would not find the instruction. Everything lies in
// MLX_ISA's namespace (mlx/cpu/isa/README.md says why).
#pragma once

#include <cstdint>
#include <type_traits>

#include "mlx/cpu/isa/intrinsics.h"
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

#ifndef MLX_ISA
#error "compile through mlx_add_isa (mlx/CMakeLists.txt)"
#endif

#define MLX_INLINE [[gnu::always_inline]] inline

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 4
inline constexpr int kVecBytes = 64;
#elif MLX_ISA_LEVEL == 3
inline constexpr int kVecBytes = 32;
#else
inline constexpr int kVecBytes = 16;
#endif

// Storage of binary16 and bfloat16: only ever loaded and stored through the conversions below.
struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVecBytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
inline constexpr int kLanes = kVecBytes / static_cast<int>(sizeof(T));

using vf = Vec<float>;
using vd = Vec<double>;
using vu = Vec<uint32_t>;
typedef uint16_t vh __attribute__((vector_size(kVecBytes / 2)));  // as many halves as vf has lanes

// What a stored type is computed in.
template <class T>
struct AccOf {
  using type = float;
};
template <>
struct AccOf<double> {
  using type = double;
};
template <class T>
using Acc = typename AccOf<T>::type;

template <class T>
MLX_INLINE Vec<T> splat(T x) {
  return Vec<T>{} + x;
}
#if MLX_ISA_LEVEL >= 4
template <>
MLX_INLINE vf splat(float x) {
  return _mm512_set1_ps(x);
}
template <>
MLX_INLINE vd splat(double x) {
  return _mm512_set1_pd(x);
}
#elif MLX_ISA_LEVEL == 3
template <>
MLX_INLINE vf splat(float x) {
  return _mm256_set1_ps(x);
}
template <>
MLX_INLINE vd splat(double x) {
  return _mm256_set1_pd(x);
}
#endif

// a * b + c, in one rounding where the set has it (all but v2).
MLX_INLINE vf fma(vf a, vf b, vf c) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_fmadd_ps(a, b, c);
#elif MLX_ISA_LEVEL == 3
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return reinterpret_cast<vf>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                        reinterpret_cast<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}
MLX_INLINE vd fma(vd a, vd b, vd c) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_fmadd_pd(a, b, c);
#elif MLX_ISA_LEVEL == 3
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return reinterpret_cast<vd>(vfmaq_f64(reinterpret_cast<float64x2_t>(c), reinterpret_cast<float64x2_t>(a),
                                        reinterpret_cast<float64x2_t>(b)));
#else
  return a * b + c;
#endif
}

MLX_INLINE vf as_float(vu x) { return reinterpret_cast<vf>(x); }
MLX_INLINE vu as_bits(vf x) { return reinterpret_cast<vu>(x); }

// --- conversions
// -------------------------------------------------------------------------------------------------

MLX_INLINE vf widen(vh h, bf16) { return as_float(__builtin_convertvector(h, vu) << 16); }

MLX_INLINE vf widen(vh h, f16) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_maskz_cvtph_ps(0xffff, reinterpret_cast<__m256i>(h));
#elif MLX_ISA_LEVEL == 3
  return _mm256_cvtph_ps(reinterpret_cast<__m128i>(h));
#else
  const vu u = __builtin_convertvector(h, vu);
  const vu sign = (u & 0x8000u) << 16;
  const vu magnitude = u & 0x7fffu;
  // Scaling by 2^112 rebiases normal and subnormal numbers alike; infinities and nans keep their mantissa.
  const vu scaled = as_bits(as_float(magnitude << 13) * 0x1p112f);
  const vu special = 0x7f800000u | (magnitude & 0x3ffu) << 13;
  const vu is_special = reinterpret_cast<vu>(magnitude >= 0x7c00u);
  return as_float(sign | (is_special & special) | (~is_special & scaled));
#endif
}

// bfloat16 in the upper halves; the lower ones hold anything.
MLX_INLINE vu round_upper(vf x) {
  const vu u = as_bits(x), rounded = u + 0x7fffu + ((u >> 16) & 1u);
#if MLX_ISA_LEVEL >= 4
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return reinterpret_cast<vu>(_mm512_mask_or_epi32(
      reinterpret_cast<__m512i>(rounded), is_nan, reinterpret_cast<__m512i>(u), _mm512_set1_epi32(0x400000)));
#else
  const vu is_nan = reinterpret_cast<vu>((u & 0x7fffffffu) > 0x7f800000u);
  return (is_nan & (u | 0x400000u)) | (~is_nan & rounded);
#endif
}

MLX_INLINE vh narrow(vf x, bf16) { return __builtin_convertvector(round_upper(x) >> 16, vh); }

MLX_INLINE vh narrow(vf x, f16) {
#if MLX_ISA_LEVEL >= 4
  return reinterpret_cast<vh>(_mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT));
#elif MLX_ISA_LEVEL == 3
  return reinterpret_cast<vh>(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#else
  const vu u = as_bits(x);
  const vu sign = (u >> 16) & 0x8000u;
  const vu magnitude = u & 0x7fffffffu;
  const vu normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const vu tiny =
      as_bits(as_float(magnitude) + 0.5f) - 0x3f000000u;  // the adder rounds to multiples of 2^-24
  const vu is_tiny = reinterpret_cast<vu>(magnitude < 0x38800000u);
  const vu is_big = reinterpret_cast<vu>(magnitude >= 0x477ff000u);
  const vu is_nan = reinterpret_cast<vu>(magnitude > 0x7f800000u);
  vu y = (is_tiny & tiny) | (~is_tiny & normal);
  y = (is_big & 0x7c00u) | (~is_big & y);
  y = (is_nan & (0x7e00u | ((magnitude >> 13) & 0x3ffu))) | (~is_nan & y);
  return __builtin_convertvector(sign | y, vh);
#endif
}

#if MLX_ISA_LEVEL >= 5
// As narrow(), with the machine's instruction, which takes subnormal numbers for zeros.
MLX_INLINE __m256i round_to_bf16(vf v) {
  constexpr int kSubnormal = 0x20;
  if (__builtin_expect(_mm512_fpclass_ps_mask(v, kSubnormal) != 0, 0))
    return reinterpret_cast<__m256i>(narrow(v, bf16{}));
#if defined(__clang__) && __clang_major__ < 17
  __m256i out;  // as in kernel_tile.h
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(out) : "v"(v));
  return out;
#else
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
#endif
}
#endif

// --- loads and stores, unaligned, with conversion
// ------------------------------------------------------------------

template <class T>
MLX_INLINE Vec<Acc<T>> load(const T* p) {
  if constexpr (sizeof(T) == 2) {
    vh h;
    __builtin_memcpy(&h, p, sizeof h);
    return widen(h, T{});
  } else {
    Vec<T> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
}

template <class T>
MLX_INLINE void store(T* p, Vec<Acc<T>> v) {
  if constexpr (sizeof(T) == 2) {
    const vh h = narrow(v, T{});
    __builtin_memcpy(p, &h, sizeof h);
  } else {
    __builtin_memcpy(p, &v, sizeof v);
  }
}

// The first n lanes; the others are zero, and memory behind them is not touched.
template <class T>
MLX_INLINE Vec<Acc<T>> load_first(const T* p, int n) {
#if MLX_ISA_LEVEL >= 4
  if constexpr (sizeof(T) == 4) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
  } else if constexpr (sizeof(T) == 8) {
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
  } else {
    return widen(reinterpret_cast<vh>(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p)),
                 T{});
  }
#else
  T buffer[kLanes<Acc<T>>] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return load(buffer);
#endif
}

template <class T>
MLX_INLINE void store_first(T* p, Vec<Acc<T>> v, int n) {
#if MLX_ISA_LEVEL >= 4
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
  } else if constexpr (sizeof(T) == 8) {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
  } else {
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1),
                             reinterpret_cast<__m256i>(narrow(v, T{})));
  }
#else
  T buffer[kLanes<Acc<T>>];
  store(buffer, v);
  for (int i = 0; i < n; ++i) p[i] = buffer[i];
#endif
}

// One element as its accumulator type, and back.
template <class T>
MLX_INLINE Acc<T> scalar(const T& x) {
  if constexpr (sizeof(T) == 2) {
    return load_first(&x, 1)[0];
  } else {
    return x;
  }
}
template <class T>
MLX_INLINE void put_scalar(T* p, Acc<T> x) {
  store_first(p, splat(x), 1);
}

// The sum of the lanes: halves, then quarters, ... so that the order does not depend on the compiler.
template <class V>
MLX_INLINE auto lane_sum(V v) {
#if MLX_ISA_LEVEL >= 4
  if constexpr (sizeof(v[0]) == 4) return _mm512_reduce_add_ps(v);
  if constexpr (sizeof(v[0]) == 8) return _mm512_reduce_add_pd(v);
#endif
  using T = std::remove_reference_t<decltype(v[0])>;
  constexpr int n = sizeof(V) / sizeof(T);
  T x[n];
  __builtin_memcpy(x, &v, sizeof v);
  for (int half = n / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}

}  // namespace mlx::core::cpu::MLX_ISA
