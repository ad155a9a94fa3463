// Products with at most 8 rows on one side: the other operand is read once, as fast as memory gives it.
#pragma once

#include <utility>

#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 4
inline constexpr int kSkinnyRegs = 16;
#else
inline constexpr int kSkinnyRegs = 8;
#endif

// A product of one element type: which steps along k a register holds and how they are multiplied.
template <class T>
struct DotProduct {
  using X = Acc<T>;  // x as it was packed
  static constexpr int step = kLanes<Acc<T>>;
  MLX_INLINE static Vec<X> load_x(const X* p) { return load(p); }
  MLX_INLINE static Vec<X> load_w(const T* p) { return load(p); }
  MLX_INLINE static Vec<X> load_w_first(const T* p, int n) { return load_first(p, n); }
  MLX_INLINE static Vec<X> fma(Vec<X> x, Vec<X> w, Vec<X> c) { return MLX_ISA::fma(x, w, c); }
};
#if MLX_ISA_LEVEL >= 5
template <>
struct DotProduct<bf16> {  // 32 at a time with vdpbf16ps; x stays bfloat16
  using X = bf16;
  static constexpr int step = 32;
  MLX_INLINE static __m512i load_x(const bf16* p) { return _mm512_loadu_si512(p); }
  MLX_INLINE static __m512i load_w(const bf16* p) { return _mm512_loadu_si512(p); }
  MLX_INLINE static __m512i load_w_first(const bf16* p, int n) {
    return _mm512_maskz_loadu_epi16((n >= 32 ? 0 : 1u << n) - 1, p);
  }
  MLX_INLINE static vf fma(__m512i x, __m512i w, vf c) {
#if defined(__clang__) && __clang_major__ < 17
    // as in kernel_tile.h
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(x), "v"(w));
    return c;
#else
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
#endif
  }
};
#endif

// acc[S, J] += x[S, k] . w[J, k] lane by lane: rows of w are contiguous, J of them share the loads of x.
// `ahead` is where w will be read a pass later.
template <class T, int S, int J>
MLX_INLINE void dot_block(int64_t k, const typename DotProduct<T>::X* x, int64_t ldx, const T* w, int64_t ldw,
                          int64_t ahead, Vec<Acc<T>>* sums) {
  using P = DotProduct<T>;
  using WV = decltype(P::load_w(w));
  Vec<Acc<T>> acc[S][J];
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) acc[s][j] = sums[s * J + j];
  const auto step = [&](const WV* wv, int64_t p) {
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      auto xv = P::load_x(x + s * ldx + p);
#ifdef MLX_X86
      if constexpr (J > 1)
        asm("" : "+v"(xv));  // one load for J products: gcc would fold it into each of them
#endif
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) acc[s][j] = P::fma(xv, wv[j], acc[s][j]);
    }
  };
  int64_t p = 0;
  for (; p + P::step <= k; p += P::step) {
    WV wv[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) {
      wv[j] = P::load_w(w + j * ldw + p);
      __builtin_prefetch(w + j * ldw + p + ahead, 0, 2);
    }
    step(wv, p);
  }
  if (p < k) {
    WV wv[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) wv[j] = P::load_w_first(w + j * ldw + p, static_cast<int>(k - p));
    step(wv, p);
  }
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) sums[s * J + j] = acc[s][j];
}

template <class T, int S>
void dot_rows(int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t ldw, void* y,
              int64_t ldy) {
  using A = Acc<T>;
  using X = typename DotProduct<T>::X;
  constexpr int J = kSkinnyRegs / S >= 8 ? 8 : kSkinnyRegs / S >= 4 ? 4 : kSkinnyRegs / S >= 2 ? 2 : 1;
  constexpr int64_t columns = 16;  // whose sums are kept in L1 ...
  constexpr int64_t run = 16384 / static_cast<int64_t>(sizeof(X)) / S / 64 * 64;  // ... beside this much of x
  const X* xp = static_cast<const X*>(x);
  const T* wp = static_cast<const T*>(w);
  A* yp = static_cast<A*>(y);
  Vec<A> sums[S * columns];
  for (int64_t j0 = 0; j0 < n; j0 += columns) {
    const int64_t j1 = n - j0 < columns ? n : j0 + columns;
    const int64_t full = (j1 - j0) / J * J;
    for (auto& v : sums) v = Vec<A>{};
    for (int64_t p = 0; p < k; p += run) {
      const int64_t len = k - p < run ? k - p : run;
      // What this pass over the columns leaves for the next one; memory is slower than the products, not
      // faster.
      const int64_t ahead = p + run < k ? run : columns * ldw - p;
      int64_t j = 0;
      for (; j < full; j += J)
        dot_block<T, S, J>(len, xp + p, ldx, wp + (j0 + j) * ldw + p, ldw, ahead, sums + j * S);
      for (; j < j1 - j0; ++j)
        dot_block<T, S, 1>(len, xp + p, ldx, wp + (j0 + j) * ldw + p, ldw, ahead, sums + j * S);
    }
    for (int64_t j = 0; j < j1 - j0; ++j)
      for (int s = 0; s < S; ++s)
        yp[s * ldy + j0 + j] = lane_sum(sums[j < full ? j / J * J * S + s * J + j % J : j * S + s]);
  }
}

// y[S, n] += x[S, K] w[K, n], K rows of w at a time: the partial sums of y stay in L1 between blocks of rows.
template <class T, int S, int K, int NV>
MLX_INLINE void axpy_block(int64_t n, const Acc<T>* x, int64_t ldx, const T* w, int64_t ldw, Acc<T>* y,
                           int64_t ldy) {
  using A = Acc<T>;
  constexpr int lanes = kLanes<A>;
  int64_t j = 0;
  for (; j + NV * lanes <= n; j += NV * lanes) {
    Vec<A> acc[S][NV];
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[s][v] = load(y + s * ldy + j + v * lanes);
#pragma GCC unroll 8
    for (int p = 0; p < K; ++p) {
      Vec<A> wv[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        wv[v] = load(w + p * ldw + j + v * lanes);
        __builtin_prefetch(w + (p + K) * ldw + j + v * lanes, 0, 2);
      }
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) {
        const Vec<A> xv = splat(x[s * ldx + p]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) acc[s][v] = fma(xv, wv[v], acc[s][v]);
      }
    }
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) store(y + s * ldy + j + v * lanes, acc[s][v]);
  }
  for (; j < n; j += lanes) {
    const int cols = static_cast<int>(n - j < lanes ? n - j : lanes);
    for (int s = 0; s < S; ++s) {
      Vec<A> acc = load_first(y + s * ldy + j, cols);
      for (int p = 0; p < K; ++p) acc = fma(splat(x[s * ldx + p]), load_first(w + p * ldw + j, cols), acc);
      store_first(y + s * ldy + j, acc, cols);
    }
  }
}

template <class T, int S>
void axpy_rows(int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t ldw, void* y,
               int64_t ldy) {
  using A = Acc<T>;
  constexpr int NV = kSkinnyRegs / S >= 4 ? 4 : kSkinnyRegs / S >= 2 ? 2 : 1;
  constexpr int K = 8;
  const A* xp = static_cast<const A*>(x);
  const T* wp = static_cast<const T*>(w);
  A* yp = static_cast<A*>(y);
  for (int s = 0; s < S; ++s)
    for (int64_t j = 0; j < n; ++j) yp[s * ldy + j] = 0;
  int64_t p = 0;
  for (; p + K <= k; p += K) axpy_block<T, S, K, NV>(n, xp + p, ldx, wp + p * ldw, ldw, yp, ldy);
  for (; p < k; ++p) axpy_block<T, S, 1, NV>(n, xp + p, ldx, wp + p * ldw, ldw, yp, ldy);
}

template <class T>
void skinny_dot(int count, int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t ldw,
                void* y, int64_t ldy) {
  static constexpr decltype(&dot_rows<T, 1>) rows[] = {dot_rows<T, 1>, dot_rows<T, 2>, dot_rows<T, 3>,
                                                       dot_rows<T, 4>, dot_rows<T, 5>, dot_rows<T, 6>,
                                                       dot_rows<T, 7>, dot_rows<T, 8>};
  rows[count - 1](k, n, x, ldx, w, ldw, y, ldy);
}

template <class T>
void skinny_axpy(int count, int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t ldw,
                 void* y, int64_t ldy) {
  static constexpr decltype(&axpy_rows<T, 1>) rows[] = {axpy_rows<T, 1>, axpy_rows<T, 2>, axpy_rows<T, 3>,
                                                        axpy_rows<T, 4>, axpy_rows<T, 5>, axpy_rows<T, 6>,
                                                        axpy_rows<T, 7>, axpy_rows<T, 8>};
  rows[count - 1](k, n, x, ldx, w, ldw, y, ldy);
}

}  // namespace mlx::core::cpu::MLX_ISA
