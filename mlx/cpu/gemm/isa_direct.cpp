// The direct kernels (direct.h) for one instruction set. Each element of C is one chain of fused
// multiply-adds, whatever tile it lies in, but for few rows of `turned` that need not be in order.
#include <utility>

#include "mlx/cpu/gemm/direct_tiles.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

// S elements side by side, over and over.
template <int S>
MLX_INLINE vf splat_group(const float* p) {
  if constexpr (S == 2) {
    double pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return reinterpret_cast<vf>(splat(pair));
  } else {
    typedef float Four __attribute__((vector_size(16)));
    Four four;
    __builtin_memcpy(&four, p, sizeof four);
#if MLX_ISA_LEVEL >= 4
    return _mm512_broadcast_f32x4(four);
#elif MLX_ISA_LEVEL == 3
    return _mm256_set_m128(four, four);
#else
    return four;
#endif
  }
}

// The sums of groups of S lanes, in the first lanes.
template <int S, int... I>
MLX_INLINE vf sum_groups(vf v, std::integer_sequence<int, I...>) {
  v += __builtin_shufflevector(v, v, (I ^ 1)...);
  if constexpr (S == 4) v += __builtin_shufflevector(v, v, (I ^ 2)...);
  return __builtin_shufflevector(v, v, (I * S % kL)...);
}

using Product = PlainProduct<float>;

template <int M, int S>
void patches_split(const DirectTile& t) {
  constexpr int G = (M + 2) / 3;
  using Lanes = std::make_integer_sequence<int, kL>;
  vf acc[M][1] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const DirectRun run = t.runs[r];
    const float* b = t.b + run.b;
    const float* a[G];
#pragma GCC unroll 10
    for (int g = 0; g < G; ++g) a[g] = t.a + run.a + 3 * g * t.a_stride;
    int64_t s = run.steps;
    for (; s >= S; s -= S) {
      const vf bv = load(b);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i)
        acc[i][0] = fma(splat_group<S>(a[i / 3] + i % 3 * t.a_stride), bv, acc[i][0]);
#pragma GCC unroll 10
      for (int g = 0; g < G; ++g) {
        a[g] += S;
        asm("" : "+r"(a[g]));
      }
      b += t.b_step;
    }
    if (s == 0) continue;
    vu in_run;  // what lies behind may be a nan
    for (int l = 0; l < kL; ++l) in_run[l] = l % S < s ? ~0u : 0u;
    const vf bv = load(b);
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
      const vu av = as_bits(splat_group<S>(a[i / 3] + i % 3 * t.a_stride));
      acc[i][0] = fma(as_float(av & in_run), bv, acc[i][0]);
    }
  }
#pragma GCC unroll 28
  for (int i = 0; i < M; ++i) acc[i][0] = sum_groups<S>(acc[i][0], Lanes{});
  write<M, 1>(t, acc);
}

template <int S, class>
struct SplitKernels;
template <int S, int... M>
struct SplitKernels<S, std::integer_sequence<int, M...>> {
  static constexpr DirectFn of[] = {nullptr, patches_split<M + 1, S>...};
};
template <int S>
void any_split(const DirectTile& t) {
  SplitKernels<S, std::make_integer_sequence<int, kRows1>>::of[t.rows](t);
}
}  // namespace

const gemm_detail::DirectTable& direct_kernels_table() {
  static constexpr gemm_detail::DirectTable table = {kL,
                                                     {0, kRows1, kRows2, kRows4, kRows4},
                                                     any_patches<Product>,
                                                     any_split<2>,
                                                     any_split<4>,
                                                     any_turned<Product>};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
