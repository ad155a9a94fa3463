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

// y[S, J] = x[S, k] . w[J, k]: rows of w are contiguous. J of them at a time share the loads of x.
template <class T, int S, int J>
MLX_INLINE void dot_block(int64_t k, const Acc<T>* x, int64_t ldx, const T* w, int64_t ldw, Acc<T>* y,
                          int64_t ldy) {
  using A = Acc<T>;
  constexpr int lanes = kLanes<A>;
  Vec<A> acc[S][J] = {};
  int64_t p = 0;
  for (; p + lanes <= k; p += lanes) {
    Vec<A> wv[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) wv[j] = load(w + j * ldw + p);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const Vec<A> xv = load(x + s * ldx + p);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) acc[s][j] = fma(xv, wv[j], acc[s][j]);
    }
  }
  if (p < k) {
    const int rest = static_cast<int>(k - p);
    Vec<A> wv[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) wv[j] = load_first(w + j * ldw + p, rest);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const Vec<A> xv = load(x + s * ldx + p);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) acc[s][j] = fma(xv, wv[j], acc[s][j]);
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) y[s * ldy + j] = lane_sum(acc[s][j]);
}

template <class T, int S>
void dot_rows(int64_t k, int64_t n, const void* x, int64_t ldx, const void* w, int64_t ldw, void* y,
              int64_t ldy) {
  using A = Acc<T>;
  constexpr int J = kSkinnyRegs / S >= 8 ? 8 : kSkinnyRegs / S >= 4 ? 4 : kSkinnyRegs / S >= 2 ? 2 : 1;
  const A* xp = static_cast<const A*>(x);
  const T* wp = static_cast<const T*>(w);
  A* yp = static_cast<A*>(y);
  int64_t j = 0;
  for (; j + J <= n; j += J) dot_block<T, S, J>(k, xp, ldx, wp + j * ldw, ldw, yp + j, ldy);
  for (; j < n; ++j) dot_block<T, S, 1>(k, xp, ldx, wp + j * ldw, ldw, yp + j, ldy);
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
      for (int v = 0; v < NV; ++v) wv[v] = load(w + p * ldw + j + v * lanes);
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
