// The direct kernels (direct.h) for a kind of product (kernel_tile.h): elements of 32 bits, floats or pairs
// of bfloat16. Each element of C is one chain of fused multiply-adds, whatever tile it lies in, but for few
// rows of `turned` that need not be in order.
#pragma once

#include <type_traits>
#include <utility>

#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/gemm/kernel_tile.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::DirectFn;
using gemm_detail::DirectRun;
using gemm_detail::DirectTile;

constexpr int kL = kLanes<float>;
#if MLX_ISA_LEVEL >= 4 || (MLX_ISA_LEVEL == 1 && defined(__aarch64__))
constexpr int kRows1 = 28, kRows2 = 14, kRows4 = 7;  // 28 accumulators of 32 registers
#else
constexpr int kRows1 = 12, kRows2 = 6, kRows4 = 0;  // 12 of 16
#endif

template <int M, int NV>
MLX_INLINE void write(const DirectTile& t, const vf (&acc)[M][NV]) {
  const int last = t.cols - (NV - 1) * kL;
#pragma GCC unroll 28
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      float* out = t.c + i * t.ldc + j * kL;
      if (j < NV - 1 || last == kL) {
        store(out, t.accumulate ? vf(load(out) + acc[i][j]) : acc[i][j]);
      } else {
        store_first(out, t.accumulate ? vf(load_first(out, last) + acc[i][j]) : acc[i][j], last);
      }
    }
  }
}

template <class P, int NV, class V>
MLX_INLINE void load_b(V (&v)[NV], const typename P::Packed* b, int64_t panel) {
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) v[j] = P::load_b(b + j / 2 * panel + j % 2 * kL);
}

#if MLX_ISA_LEVEL >= 5
template <int M, int NV>
MLX_INLINE void write_rounded(const DirectTile& t, const vf (&acc)[M][NV]) {
  const int last = t.cols - (NV - 1) * kL;
#pragma GCC unroll 28
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const float* in = t.c + i * t.ldc + j * kL;
      auto* out = static_cast<uint16_t*>(t.rounded) + i * t.ld_rounded + j * kL;
      if (j < NV - 1 || last == kL) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                            round_to_bf16(t.accumulate ? vf(load(in) + acc[i][j]) : acc[i][j]));
      } else {
        _mm256_mask_storeu_epi16(
            out, static_cast<__mmask16>((1u << last) - 1),
            round_to_bf16(t.accumulate ? vf(load_first(in, last) + acc[i][j]) : acc[i][j]));
      }
    }
  }
}
#endif

template <class P, int M, int NV>
void patches(const DirectTile& t) {
  // Three rows share a pointer: their addresses differ by what an address can scale an index register with.
  constexpr int G = (M + 2) / 3;
  using Packed = typename P::Packed;
  using Element = typename P::Element;
  const auto* first_a = reinterpret_cast<const Element*>(t.a);
  const auto* first_b = reinterpret_cast<const Packed*>(t.b);
  vf acc[M][NV] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const DirectRun run = t.runs[r];
    const Packed* b = first_b + run.b;
    const Element* a[G];
#pragma GCC unroll 10
    for (int g = 0; g < G; ++g) a[g] = first_a + run.a + 3 * g * t.a_stride;
    for (int64_t s = run.steps; s >= P::kElements; s -= P::kElements) {
      decltype(P::load_b(b)) bv[NV];
      load_b<P, NV>(bv, b, t.b_panel);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
        const auto av = P::broadcast(a[i / 3] + i % 3 * t.a_stride);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
      }
#pragma GCC unroll 10
      for (int g = 0; g < G; ++g) {
        a[g] += P::kElements;
        asm("" : "+r"(a[g]));  // the compiler would rather keep one pointer per row, and spill them
      }
      b += t.b_step;
    }
    if constexpr (P::kPairs) {
      if (run.steps % 2 == 0) continue;
      decltype(P::load_b(b)) bv[NV];
      load_b<P, NV>(bv, b, t.b_panel);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
        const auto av = P::first(P::broadcast(a[i / 3] + i % 3 * t.a_stride));
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
      }
    }
  }
#if MLX_ISA_LEVEL >= 5
  if (t.rounded) return write_rounded<M, NV>(t, acc);
#endif
  write<M, NV>(t, acc);
}

template <class P, int M, int NV>
void turned(const DirectTile& t) {
  // Few rows: two chains, for even and odd steps, so that the adders' latency does not show.
  constexpr int C = M * NV <= 6 ? 2 : 1;
  using Packed = typename P::Packed;
  vf acc[M][NV] = {}, odd[M][NV] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const DirectRun run = t.runs[r];
    const auto* a = reinterpret_cast<const Packed*>(t.a) + run.a;
    const auto* b = reinterpret_cast<const Packed*>(t.b) + run.b;
    const auto step = [&](vf(&sum)[M][NV], auto mask) __attribute__((always_inline)) {
      decltype(P::load_b(b)) bv[NV];
      load_b<P, NV>(bv, b, t.b_panel);
      if constexpr (P::kPairs) {  // by itself: clang looks P::first up before it knows the mask
        if constexpr (mask)
#pragma GCC unroll 4
          for (int j = 0; j < NV; ++j) bv[j] = P::first(bv[j]);
      }
      __builtin_prefetch(a + 6 * t.a_stride + M - 1);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
        auto av = P::broadcast(a + i);
        if constexpr (P::kPairs) {
          if constexpr (mask) av = P::first(av);
        }
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sum[i][j] = P::fma(av, bv[j], sum[i][j]);
      }
      a += t.a_stride;
      b += t.b_step;
    };
    constexpr std::false_type whole;
    int64_t s = run.steps - t.half_end;
    if constexpr (C == 2)
      for (; !t.in_order && s >= 2; s -= 2) {
        step(acc, whole);
        step(odd, whole);
      }
    for (; s > 0; --s) step(acc, whole);
    if constexpr (P::kPairs)
      if (t.half_end) step(acc, std::true_type{});
  }
  if constexpr (C == 2)
#pragma GCC unroll 6
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] += odd[i][j];
  write<M, NV>(t, acc);
}

// The kernels of NV vectors, by their number of rows.
template <class P, int NV, class>
struct Kernels;
template <class P, int NV, int... M>
struct Kernels<P, NV, std::integer_sequence<int, M...>> {
  static constexpr DirectFn of_patches[] = {nullptr, patches<P, M + 1, NV>...};
  static constexpr DirectFn of_turned[] = {nullptr, turned<P, M + 1, NV>...};
};
template <class P, int NV, int Rows>
using UpTo = Kernels<P, NV, std::make_integer_sequence<int, Rows>>;

template <class P>
void any_patches(const DirectTile& t) {
  if (t.cols <= kL) return UpTo<P, 1, kRows1>::of_patches[t.rows](t);
  if (t.cols <= 2 * kL) return UpTo<P, 2, kRows2>::of_patches[t.rows](t);
  if (t.cols <= 3 * kL) return UpTo<P, 3, kRows4>::of_patches[t.rows](t);
  UpTo<P, 4, kRows4>::of_patches[t.rows](t);
}
template <class P>
void any_turned(const DirectTile& t) {
  if (t.cols <= kL) return UpTo<P, 1, kRows1>::of_turned[t.rows](t);
  UpTo<P, 2, kRows2>::of_turned[t.rows](t);
}

}  // namespace
}  // namespace mlx::core::cpu::MLX_ISA
