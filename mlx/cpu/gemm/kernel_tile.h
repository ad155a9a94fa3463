// The micro-kernel and the two loops around it (BLIS' first and second), for any vector type and tile size.
//
// Each element of C is one chain of fused multiply-adds over a k block in ascending order, whatever tile it
// lies in: results do not depend on how C was cut.
#pragma once

#include <utility>

#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 4
inline constexpr int kMr = 12, kNv = 2;  // 24 accumulators, 2 of B, 1 of A
#elif MLX_ISA_LEVEL == 1 && defined(__aarch64__)
inline constexpr int kMr = 8, kNv = 3;
#else
inline constexpr int kMr = 6, kNv = 2;  // 12 accumulators of 16 registers
#endif

template <class T>
struct PlainProduct {  // T = float or double
  using Packed = T;
  static constexpr bool kPairs = false;
  using Element = T;  // of k
  static constexpr int kElements = 1;
  using A = T;
  MLX_INLINE static Vec<T> load_b(const T* p) { return load(p); }
  MLX_INLINE static Vec<T> broadcast(const T* p) { return splat(*p); }
  MLX_INLINE static Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return MLX_ISA::fma(a, b, c); }
};

#if MLX_ISA_LEVEL >= 5
struct Bf16PairProduct {  // a pair of bfloat16 in each 32-bit lane
  using Packed = uint32_t;
  static constexpr bool kPairs = true;
  using Element = uint16_t;
  static constexpr int kElements = 2;
  using A = float;
  MLX_INLINE static __m512i load_b(const uint32_t* p) { return _mm512_loadu_si512(p); }
  MLX_INLINE static __m512i broadcast(const void* p) {
    int pair;  // which may lie at any bfloat16
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  // Without the second of each pair.
  MLX_INLINE static __m512i first(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi32(0xffff)); }
  MLX_INLINE static vf fma(__m512i a, __m512i b, vf c) {
#if defined(__clang__) && __clang_major__ < 17
    // clang 16 crashes on vectors of bfloat16. Not a function shared with skinny.h: with gcc 12
    // it took the product of 1024 from 2.7 to 4.0 ms.
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
#else
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
#endif
  }
};
#endif

// c[M, NV vectors] over `steps`; the last vector of C has `last` valid lanes.
template <class P, int MR, int M, int NV>
void micro(int64_t steps, const typename P::Packed* a, const typename P::Packed* b, int64_t ldb,
           typename P::A* c, int64_t ldc, int last, bool accumulate) {
  using T = typename P::A;
  using V = Vec<T>;
  constexpr int lanes = kLanes<T>;
  V acc[M][NV] = {};
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    if constexpr (NV * lanes * sizeof(T) > 64) __builtin_prefetch(c + i * ldc + 64 / sizeof(T), 1);
  }
#pragma GCC unroll 2
  for (int64_t p = 0; p < steps; ++p) {
    decltype(P::load_b(b)) bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bv[j] = P::load_b(b + j * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const auto av = P::broadcast(a + i);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
    }
    a += MR;
    b += ldb;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      T* out = c + i * ldc + j * lanes;
      if (j < NV - 1 || last == lanes) {
        store(out, accumulate ? V(load(out) + acc[i][j]) : acc[i][j]);
      } else {
        store_first(out, accumulate ? V(load_first(out, last) + acc[i][j]) : acc[i][j], last);
      }
    }
  }
}

template <class P>
using MicroFn = void (*)(int64_t, const typename P::Packed*, const typename P::Packed*, int64_t,
                         typename P::A*, int64_t, int, bool);

template <class P, int MR, int NV, int... M>
struct MicroRow {
  static constexpr MicroFn<P> of[] = {nullptr, &micro<P, MR, M + 1, NV>...};
};
template <class P, int MR, int NV, class>
struct MicroRows;
template <class P, int MR, int NV, int... M>
struct MicroRows<P, MR, NV, std::integer_sequence<int, M...>> : MicroRow<P, MR, NV, M...> {};
template <class P, int NV>
using Micros = MicroRows<P, kMr, NV, std::make_integer_sequence<int, kMr>>;

template <class P>
void tile(int64_t m, int64_t n, int64_t steps, const void* a, int64_t a_panel, const void* b, int64_t b_panel,
          int64_t ldb, void* c, int64_t ldc, bool accumulate) {
  using T = typename P::A;
  using Packed = typename P::Packed;
  constexpr int lanes = kLanes<T>;
  constexpr int nr = kNv * lanes;
  for (int64_t j = 0; j < n; j += nr) {
    const int cols = static_cast<int>(n - j < nr ? n - j : nr);
    const int vectors = (cols + lanes - 1) / lanes;
    const int last = cols - (vectors - 1) * lanes;
    const auto* bp = reinterpret_cast<const Packed*>(static_cast<const char*>(b) + j / nr * b_panel);
    const MicroFn<P>* row = vectors == kNv ? Micros<P, kNv>::of
                            : vectors == 1 ? Micros<P, 1>::of
                                           : Micros<P, (kNv > 2 ? kNv - 1 : 1)>::of;
    for (int64_t i = 0; i < m; i += kMr) {
      const int rows = static_cast<int>(m - i < kMr ? m - i : kMr);
      const auto* ap = reinterpret_cast<const Packed*>(static_cast<const char*>(a) + i / kMr * a_panel);
      row[rows](steps, ap, bp, ldb, static_cast<T*>(c) + i * ldc + j, ldc, last, accumulate);
    }
  }
}

}  // namespace mlx::core::cpu::MLX_ISA
