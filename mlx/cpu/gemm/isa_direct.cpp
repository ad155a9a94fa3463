// The direct kernels (direct.h) for one instruction set. Each element of C is one chain of fused
// multiply-adds, whatever tile it lies in, but for few rows of `turned` that need not be in order.
#include <utility>

#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/gemm/vec.h"

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

template <int NV>
MLX_INLINE void load_b(vf (&v)[NV], const float* b, int64_t panel) {
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) v[j] = load(b + j / 2 * panel + j % 2 * kL);
}

template <int M, int NV>
void patches(const DirectTile& t) {
  // Three rows share a pointer: their addresses differ by what an address can scale an index register with.
  constexpr int G = (M + 2) / 3;
  vf acc[M][NV] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const DirectRun run = t.runs[r];
    const float* b = t.b + run.b;
    const float* a[G];
#pragma GCC unroll 10
    for (int g = 0; g < G; ++g) a[g] = t.a + run.a + 3 * g * t.a_stride;
    for (int64_t s = run.steps; s > 0; --s) {
      vf bv[NV];
      load_b<NV>(bv, b, t.b_panel);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
        const vf av = splat(a[i / 3][i % 3 * t.a_stride]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = fma(av, bv[j], acc[i][j]);
      }
#pragma GCC unroll 10
      for (int g = 0; g < G; ++g) {
        ++a[g];
        asm("" : "+r"(a[g]));  // the compiler would rather keep one pointer per row, and spill them
      }
      b += t.b_step;
    }
  }
  write<M, NV>(t, acc);
}

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

template <int M, int NV>
void turned(const DirectTile& t) {
  // Few rows: two chains, for even and odd steps, so that the adders' latency does not show.
  constexpr int C = M * NV <= 6 ? 2 : 1;
  vf acc[M][NV] = {}, odd[M][NV] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const DirectRun run = t.runs[r];
    const float *a = t.a + run.a, *b = t.b + run.b;
    const auto step = [&](vf(&sum)[M][NV]) __attribute__((always_inline)) {
      vf bv[NV];
      load_b<NV>(bv, b, t.b_panel);
      __builtin_prefetch(a + 6 * t.a_stride + M - 1);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
        const vf av = splat(a[i]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) sum[i][j] = fma(av, bv[j], sum[i][j]);
      }
      a += t.a_stride;
      b += t.b_step;
    };
    int64_t s = run.steps;
    if constexpr (C == 2)
      for (; !t.in_order && s >= 2; s -= 2) {
        step(acc);
        step(odd);
      }
    for (; s > 0; --s) step(acc);
  }
  if constexpr (C == 2)
#pragma GCC unroll 6
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] += odd[i][j];
  write<M, NV>(t, acc);
}

template <int M, bool Whole>
MLX_INLINE void channels(const DirectTile& t, int64_t j, int n) {
  const auto at = [&](const float* p) { return Whole ? load(p) : load_first(p, n); };
  vf acc[M] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const float* a = t.a + t.runs[r].a + j;
    const vf w = at(t.b + t.runs[r].b + j);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) acc[i] = fma(at(a + i * t.a_stride), w, acc[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    if constexpr (Whole) {
      store(t.c + i * t.ldc + j, acc[i]);
    } else {
      store_first(t.c + i * t.ldc + j, acc[i], n);
    }
  }
}
template <int M>
void channelwise(const DirectTile& t) {
  int64_t j = 0;
  for (; j + kL <= t.cols; j += kL) channels<M, true>(t, j, kL);
  if (j < t.cols) channels<M, false>(t, j, static_cast<int>(t.cols - j));
}
template <int... M>
void any_channelwise(const DirectTile& t, std::integer_sequence<int, M...>) {
  static constexpr DirectFn of[] = {nullptr, channelwise<M + 1>...};
  of[t.rows](t);
}
void any_channelwise(const DirectTile& t) {
  any_channelwise(t, std::make_integer_sequence<int, gemm_detail::kChannelwiseRows>{});
}

// The kernels of NV vectors, by their number of rows.
template <int NV, class>
struct Kernels;
template <int NV, int... M>
struct Kernels<NV, std::integer_sequence<int, M...>> {
  static constexpr DirectFn of_patches[] = {nullptr, patches<M + 1, NV>...};
  static constexpr DirectFn of_turned[] = {nullptr, turned<M + 1, NV>...};
};
template <int NV, int Rows>
using UpTo = Kernels<NV, std::make_integer_sequence<int, Rows>>;

void any_patches(const DirectTile& t) {
  if (t.cols <= kL) return UpTo<1, kRows1>::of_patches[t.rows](t);
  if (t.cols <= 2 * kL) return UpTo<2, kRows2>::of_patches[t.rows](t);
  if (t.cols <= 3 * kL) return UpTo<3, kRows4>::of_patches[t.rows](t);
  UpTo<4, kRows4>::of_patches[t.rows](t);
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
void any_turned(const DirectTile& t) {
  if (t.cols <= kL) return UpTo<1, kRows1>::of_turned[t.rows](t);
  UpTo<2, kRows2>::of_turned[t.rows](t);
}

}  // namespace

const gemm_detail::DirectTable& direct_kernels_table() {
  static constexpr gemm_detail::DirectTable table = {kL,           {0, kRows1, kRows2, kRows4, kRows4},
                                                     any_patches,  any_split<2>,
                                                     any_split<4>, any_channelwise,
                                                     any_turned};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
