// The vector vocabulary of the row kernels (reductions, scans, softmax, norms, sort): element tags for every
// dtype, one native vector of floats or doubles, loads and stores that convert float16 and bfloat16 to float.
// Included by sources compiled once per instruction set only; see README.md for what they may call.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "mlx/cpu/isa/half.h"

#if defined(__GNUC__) && !defined(__clang__)
// False alarm of GCC 12 in the scalar tails after vector loops ("iteration 4611686018427387903 invokes ...").
#pragma GCC diagnostic ignored "-Waggressive-loop-optimizations"
#endif

namespace mlx::core::cpu::MLX_ISA::rows {

inline constexpr int kVecBytes = MLX_ISA_LEVEL >= 4 ? 64 : MLX_ISA_LEVEL == 3 ? 32 : 16;

template <class T, int N>
struct VecOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T, int N = kVecBytes / static_cast<int>(sizeof(T))>
using Vec = typename VecOf<T, N>::type;

inline constexpr int kF = kVecBytes / 4;  // float lanes
inline constexpr int kD = kVecBytes / 8;  // double lanes
using F = Vec<float>;
using D = Vec<double>;
using FMask = Vec<int32_t>;
using DMask = Vec<int64_t>;
template <class C>
inline constexpr int kLanes = kVecBytes / static_cast<int>(sizeof(C));

// Elements as they lie in memory. Types of this namespace, so that no inline function of another one is
// called.
using Half = f16;
using BHalf = bf16;
struct Bool {
  uint8_t v;
};
struct Complex {
  float re, im;
};

// Indexed by Dtype::Val.
template <int V>
struct ElementAt;
#define MLX_ELEMENT(V, T) \
  template <>             \
  struct ElementAt<V> {   \
    using type = T;       \
  }
MLX_ELEMENT(0, Bool);
MLX_ELEMENT(1, uint8_t);
MLX_ELEMENT(2, uint16_t);
MLX_ELEMENT(3, uint32_t);
MLX_ELEMENT(4, uint64_t);
MLX_ELEMENT(5, int8_t);
MLX_ELEMENT(6, int16_t);
MLX_ELEMENT(7, int32_t);
MLX_ELEMENT(8, int64_t);
MLX_ELEMENT(9, Half);
MLX_ELEMENT(10, float);
MLX_ELEMENT(11, double);
MLX_ELEMENT(12, BHalf);
MLX_ELEMENT(13, Complex);
#undef MLX_ELEMENT
template <int V>
using Element = typename ElementAt<V>::type;
inline constexpr int kElements = 14;

template <class T>
inline constexpr bool is_half = std::is_same_v<T, Half> || std::is_same_v<T, BHalf>;
template <class T>
inline constexpr bool is_real = is_half<T> || std::is_same_v<T, float> || std::is_same_v<T, double>;
template <class T>
inline constexpr bool is_integer = std::is_integral_v<T> || std::is_same_v<T, Bool>;

// What an element is computed in.
template <class T>
using Compute =
    std::conditional_t<is_half<T>, float, std::conditional_t<std::is_same_v<T, Bool>, uint8_t, T>>;

template <class To, class From>
inline To bits_to(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
template <class V>
inline V loadu(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
inline void storeu(void* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <class V, class C>
inline V splat(C c) {
  return V{} + c;
}
// V{} + c would turn -0.0 into 0.0, which only matters to callers that say so.

// One element as its compute type, and back.
template <class T>
inline Compute<T> get(const T& x) {
  if constexpr (is_half<T>)
    return to_float(x);
  else if constexpr (std::is_same_v<T, Bool>)
    return x.v;
  else
    return x;
}
template <class T>
inline void put(T* p, Compute<T> c) {
  if constexpr (is_half<T>)
    *p = from_float<T>(c);
  else if constexpr (std::is_same_v<T, Bool>)
    p->v = c;
  else
    *p = c;
}

// One vector of T's compute type (float or double) from consecutive elements.
template <class T>
inline Vec<Compute<T>> load(const T* p) {
  if constexpr (is_half<T>) {
#if MLX_ISA_LEVEL >= 3
    return (F)load_float(p);
#else
    float lanes[kF];
    for (int i = 0; i < kF; ++i) lanes[i] = to_float(p[i]);
    return loadu<F>(lanes);
#endif
  } else {
    return loadu<Vec<T>>(p);
  }
}
template <class T>
inline void store(T* p, Vec<Compute<T>> v) {
  if constexpr (is_half<T>) {
#if MLX_ISA_LEVEL >= 4
    store_float(p, (__m512)v);
#elif MLX_ISA_LEVEL == 3
    store_float(p, (__m256)v);
#else
    for (int i = 0; i < kF; ++i) p[i] = from_float<T>(v[i]);
#endif
  } else {
    storeu(p, v);
  }
}

// The last `count` < lanes elements of a row; the other lanes hold `fill`.
template <class T>
inline Vec<Compute<T>> load_part(const T* p, int64_t count, Compute<T> fill) {
  using C = Compute<T>;
#if MLX_ISA_LEVEL >= 4
  const auto mask = static_cast<uint32_t>((1u << count) - 1);
  if constexpr (std::is_same_v<T, float>)
    return (F)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), static_cast<__mmask16>(mask), p);
  else if constexpr (std::is_same_v<T, double>)
    return (D)_mm512_mask_loadu_pd(_mm512_set1_pd(fill), static_cast<__mmask8>(mask), p);
  else if constexpr (is_half<T>) {
    T elements[kF];
    storeu(elements, _mm256_mask_loadu_epi16(_mm256_set1_epi16(bits_to<int16_t>(from_float<T>(fill))),
                                             static_cast<__mmask16>(mask), p));
    return load(elements);
  }
#elif MLX_ISA_LEVEL == 3
  if constexpr (std::is_same_v<T, float>) {
    const __m256i in = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                          _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return (F)_mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, in), (__m256)in);
  } else if constexpr (std::is_same_v<T, double>) {
    const __m256i in = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    return (D)_mm256_blendv_pd(_mm256_set1_pd(fill), _mm256_maskload_pd(p, in), (__m256d)in);
  }
#endif
  C lanes[kLanes<C>];
  for (int i = 0; i < kLanes<C>; ++i) lanes[i] = fill;
  for (int64_t i = 0; i < count; ++i) lanes[i] = get(p[i]);
  return loadu<Vec<C>>(lanes);
}
template <class T>
inline void store_part(T* p, int64_t count, Vec<Compute<T>> v) {
  using C = Compute<T>;
#if MLX_ISA_LEVEL >= 4
  const auto mask = static_cast<uint32_t>((1u << count) - 1);
  if constexpr (std::is_same_v<T, float>)
    return _mm512_mask_storeu_ps(p, static_cast<__mmask16>(mask), (__m512)v);
  else if constexpr (std::is_same_v<T, double>)
    return _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask), (__m512d)v);
  else if constexpr (is_half<T>) {
    T elements[kF];
    store(elements, v);
    return _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(mask), loadu<__m256i>(elements));
  }
#elif MLX_ISA_LEVEL == 3
  if constexpr (std::is_same_v<T, float>)
    return _mm256_maskstore_ps(p,
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                                  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                               (__m256)v);
#endif
  C lanes[kLanes<C>];
  storeu(lanes, v);
  for (int64_t i = 0; i < count; ++i) put(p + i, lanes[i]);
}

// A float vector's lower and upper half as doubles. (GCC 12 makes a poor job of __builtin_convertvector.)
inline D low_half(F v) {
#if MLX_ISA_LEVEL >= 4
  return (D)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
#elif MLX_ISA_LEVEL == 3
  return (D)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
#elif MLX_ISA_LEVEL == 2
  return (D)_mm_cvtps_pd((__m128)v);
#else
  D d;
  for (int i = 0; i < kD; ++i) d[i] = v[i];
  return d;
#endif
}
inline D high_half(F v) {
#if MLX_ISA_LEVEL >= 4
  return (D)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif MLX_ISA_LEVEL == 3
  return (D)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#elif MLX_ISA_LEVEL == 2
  return (D)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v));
#else
  D d;
  for (int i = 0; i < kD; ++i) d[i] = v[i + kD];
  return d;
#endif
}
inline F narrow(D low, D high) {
#if MLX_ISA_LEVEL >= 4
  return (F)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)low)),
                               _mm512_cvtpd_ps((__m512d)high), 1);
#elif MLX_ISA_LEVEL == 3
  return (F)_mm256_set_m128(_mm256_cvtpd_ps((__m256d)high), _mm256_cvtpd_ps((__m256d)low));
#elif MLX_ISA_LEVEL == 2
  return (F)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)low), _mm_cvtpd_ps((__m128d)high));
#else
  F f;
  for (int i = 0; i < kD; ++i) f[i] = static_cast<float>(low[i]), f[i + kD] = static_cast<float>(high[i]);
  return f;
#endif
}

// a * b + c, rounded once where the set has FMA.
inline F fma(F a, F b, F c) {
#if MLX_ISA_LEVEL >= 4
  return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif MLX_ISA_LEVEL == 3
  return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
inline D fma(D a, D b, D c) {
#if MLX_ISA_LEVEL >= 4
  return (D)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif MLX_ISA_LEVEL == 3
  return (D)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

// The lanes combined in the order of a halving tree, by an operation on vectors.
template <int width, class V, class Op, int... i>
inline V folded(V v, Op op, std::integer_sequence<int, i...>) {
  if constexpr (width == 0)
    return v;
  else
    return folded<width / 2>(op(v, __builtin_shufflevector(v, v, (i ^ width)...)), op,
                             std::integer_sequence<int, i...>());
}
template <class C, class V, class Op>
inline C across(V v, Op op) {
  constexpr int n = static_cast<int>(sizeof(V) / sizeof(C));
  return folded<n / 2>(v, op, std::make_integer_sequence<int, n>())[0];
}
// The same order, without a way through memory.
inline double sum_across(D v) {
#if MLX_ISA_LEVEL >= 3
#if MLX_ISA_LEVEL >= 4
  const __m256d w = _mm512_castpd512_pd256((__m512d)v) + _mm512_extractf64x4_pd((__m512d)v, 1);
#else
  const __m256d w = (__m256d)v;
#endif
  const __m128d x = _mm256_castpd256_pd128(w) + _mm256_extractf128_pd(w, 1);
  return x[0] + x[1];
#else
  return across<double>(v, [](auto a, auto b) { return a + b; });
#endif
}
inline float sum_across(F v) {
  return across<float>(v, [](auto a, auto b) { return a + b; });
}
template <class M>
inline bool any_set(M mask) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif MLX_ISA_LEVEL == 3
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif MLX_ISA_LEVEL == 2
  return !_mm_testz_si128((__m128i)mask, (__m128i)mask);
#else
  int64_t lanes[sizeof(M) / 8], any = 0;
  storeu(lanes, mask);
  for (int64_t lane : lanes) any |= lane;
  return any != 0;
#endif
}

// A sum in flight: four vectors are added as a tree in float (two roundings) and then join accumulators in
// double, so a sum of any length keeps a relative error below 2^-23 against the sum of magnitudes, at memory
// speed.
struct WideSum {
  D low{}, high{};
  void add(F v) { low += low_half(v), high += high_half(v); }
  void add(F a, F b, F c, F d) { add((a + b) + (c + d)); }
  double total() const { return sum_across(low + high); }
};

// Sum over a row of load(p), mapped by f (a lambda from a vector to a vector; f(0) need not be 0: the tail is
// zeroed).
template <class T, class Map>
inline double wide_sum(const T* p, int64_t n, Map f) {
  if constexpr (std::is_same_v<T, double>) {
    D a{}, b{}, c{}, d{};
    int64_t i = 0;
    for (; i + 4 * kD <= n; i += 4 * kD)
      a += f(load(p + i)), b += f(load(p + i + kD)), c += f(load(p + i + 2 * kD)),
          d += f(load(p + i + 3 * kD));
    double total = sum_across((a + b) + (c + d));
    for (; i < n; ++i) {
      const D one = f(splat<D>(p[i]));
      total += one[0];
    }
    return total;
  } else {
    WideSum s;
    int64_t i = 0;
    if constexpr (is_half<T>)  // few digits: longer sums of them are as good
      for (; i + 8 * kF <= n; i += 8 * kF) {
        const auto four = [&](const T* q) {
          return (f(load(q)) + f(load(q + kF))) + (f(load(q + 2 * kF)) + f(load(q + 3 * kF)));
        };
        s.add(four(p + i) + four(p + i + 4 * kF));
      }
    for (; i + 4 * kF <= n; i += 4 * kF)
      s.add(f(load(p + i)), f(load(p + i + kF)), f(load(p + i + 2 * kF)), f(load(p + i + 3 * kF)));
    for (; i + kF <= n; i += kF) s.add(f(load(p + i)));
    if (i < n) {
      F v = f(load_part(p + i, n - i, 0.0f));
      for (int64_t k = n - i; k < kF; ++k) v[k] = 0;
      s.add(v);
    }
    return s.total();
  }
}
template <class T>
inline double wide_sum(const T* p, int64_t n) {
  return wide_sum(p, n, [](auto v) { return v; });
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
