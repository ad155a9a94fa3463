// Convolution of groups of few channels (grouped.h) for one instruction set.
#include "mlx/cpu/gemm/grouped.h"

#include <utility>

#include "mlx/cpu/gemm/kernel_tile.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::ChannelwiseRow;
using gemm_detail::GroupedFn;
using gemm_detail::GroupedKernels;
using gemm_detail::GroupedLine;
using gemm_detail::GroupedTable;
using gemm_detail::kLongestRow;

#if MLX_ISA_LEVEL >= 3
constexpr int kL = kLanes<float>;
constexpr int kTile = 8;                               // positions
constexpr int kTogether = MLX_ISA_LEVEL >= 4 ? 4 : 2;  // steps, whose weights stay in registers

// The first elements, one in each lane as a float: n of them, or as many as there are lanes where `Full`.
template <class T>
struct Floats {
  using Element = T;
  using Weight = float;
  static constexpr int kElement = 1;  // channels
  template <bool Full>
  MLX_INLINE static vf load_x(const T* p, int n) {
    return Full ? load(p) : load_first(p, n);
  }
  MLX_INLINE static vf permute(vf x, const int32_t* index) {
#if MLX_ISA_LEVEL >= 4
    return _mm512_permutexvar_ps(_mm512_load_si512(index), x);
#else
    return _mm256_permutevar8x32_ps(x, _mm256_load_si256(reinterpret_cast<const __m256i*>(index)));
#endif
  }
  MLX_INLINE static vf broadcast(const T* p) { return splat(scalar(*p)); }
  MLX_INLINE static vf load_w(const float* p) { return load(p); }
  MLX_INLINE static vf multiply_add(vf x, vf w, vf sum) { return fma(x, w, sum); }
  MLX_INLINE static void put(T* p, vf v) { store(p, v); }
  static float weight(const T* p) { return scalar(*p); }
};

#if MLX_ISA_LEVEL >= 5
// Pairs of bfloat16 in the lanes.
struct Pairs {
  using Element = bf16;
  using Weight = uint32_t;
  static constexpr int kElement = 2;
  template <bool Full>
  MLX_INLINE static __m512i load_x(const bf16* p, int n) {  // half a register has as many elements as lanes
    if constexpr (Full)
      return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    else
      return _mm512_maskz_loadu_epi16(n == 32 ? ~__mmask32{} : (__mmask32{1} << n) - 1, p);
  }
  MLX_INLINE static __m512i permute(__m512i x, const int32_t* index) {
    return _mm512_permutexvar_epi32(_mm512_load_si512(index), x);
  }
  MLX_INLINE static __m512i broadcast(const bf16* p) { return Bf16PairProduct::broadcast(p); }
  MLX_INLINE static __m512i load_w(const uint32_t* p) { return Bf16PairProduct::load_b(p); }
  MLX_INLINE static vf multiply_add(__m512i x, __m512i w, vf sum) { return Bf16PairProduct::fma(x, w, sum); }
  MLX_INLINE static void put(bf16* p, vf v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_to_bf16(v));
  }
  static uint32_t weight(const bf16* p) {
    uint32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return pair;
  }
};
#endif

// Which lane of the loaded channels is the k-th of an output's group.
struct Indices {
  static constexpr int kMost = 16;  // steps
  alignas(64) int32_t of[kMost][kL];
  template <class P>
  void fill(const GroupedLine& t) {
    for (int k = 0; k < t.steps; ++k)
      for (int l = 0; l < kL; ++l) of[k][l] = static_cast<int32_t>(l / t.outs * t.ins / P::kElement) + k;
  }
};

// How the outputs of a vector get their channels: from some of a register's lanes, from all of them, or,
// those of one group, the same from memory.
enum class Span { part, full, one_group };

// K steps of a row of taps, M positions: channels are loaded once for all steps.
template <class P, int W, int M, Span kSpan, int K>
MLX_INLINE void add_row(const GroupedLine& g, const void* const* pixel, int64_t c, int span,
                        const int32_t (*index)[kL], const typename P::Weight* weights, vf (&acc)[M]) {
  const auto& t = g.line;
  decltype(P::load_w(weights)) w[K][W];
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
    for (int i = 0; i < W; ++i) w[k][i] = P::load_w(weights + (k + i * t.turn * g.steps) * t.channels);
#pragma GCC unroll 16
  for (int p = 0; p < M + W - 1; ++p, pixel += t.step) {
    const auto* from = static_cast<const typename P::Element*>(*pixel) + c;
    decltype(P::load_w(weights)) x;
    if constexpr (kSpan != Span::one_group) x = P::template load_x<kSpan == Span::full>(from, span);
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      decltype(x) of_group;
      if constexpr (kSpan == Span::one_group)
        of_group = P::broadcast(from + k * P::kElement);
      else
        of_group = P::permute(x, index[k]);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i)
        if (i <= p && p - i < W) acc[i] = P::multiply_add(of_group, w[k][p - i], acc[i]);
    }
  }
}

// M positions from q on, a vector of outputs from o on.
template <class P, int W, Span kSpan, int M>
void tile(const GroupedLine& g, const Indices& indices, int64_t q, int64_t o) {
  const auto& t = g.line;
  const int64_t c = o / g.outs * g.ins;
  const int span = static_cast<int>(kL / g.outs * g.ins);
  const auto from = [&](int64_t k) { return kSpan == Span::one_group ? c + k * P::kElement : c; };
  vf acc[M] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const void* const* pixel = t.rows[r].pixels + q * t.step;
    const auto* weights = static_cast<const typename P::Weight*>(t.rows[r].weights) + o;
    int64_t k = 0;
    for (; k + kTogether <= g.steps; k += kTogether)
      add_row<P, W, M, kSpan, kTogether>(g, pixel, from(k), span, indices.of + k, weights + k * t.channels,
                                         acc);
    for (; k < g.steps; ++k)
      add_row<P, W, M, kSpan, 1>(g, pixel, from(k), span, indices.of + k, weights + k * t.channels, acc);
  }
  auto* out = static_cast<typename P::Element*>(t.out) + q * t.out_step + o;
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i, out += t.out_step) P::put(out, acc[i]);
}

template <class P, int W, Span kSpan, class>
struct Tiles;
template <class P, int W, Span kSpan, int... M>
struct Tiles<P, W, kSpan, std::integer_sequence<int, M...>> {
  using Fn = void (*)(const GroupedLine&, const Indices&, int64_t, int64_t);
  static constexpr Fn of[] = {nullptr, tile<P, W, kSpan, M + 1>...};
};

template <class P, int W, Span kSpan>
void cut(const GroupedLine& g) {
  using Of = Tiles<P, W, kSpan, std::make_integer_sequence<int, kTile>>;
  const auto& t = g.line;
  Indices indices;
  indices.fill<P>(g);
  const int64_t parts = (t.positions + kTile - 1) / kTile, vectors = (t.channels + kL - 1) / kL;
  const int64_t share = (t.ahead_bytes / (parts * vectors) / 64 + 1) * 64;
  const char *ahead = t.ahead, *const behind = t.ahead + t.ahead_bytes;
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t o = (v + 1) * kL <= t.channels ? v * kL : t.channels - kL;  // the last ones twice
    for (int64_t i = 0, q = 0; i < parts; ++i) {
      const int64_t next = (i + 1) * t.positions / parts;
      for (const char* to = ahead + share; ahead < to && ahead < behind; ahead += 64)
        __builtin_prefetch(ahead, 0, 2);
      Of::of[next - q](g, indices, q, o);
      q = next;
    }
  }
}

template <class P, int W>
void any(const GroupedLine& g) {
  if (g.outs == kL) return cut<P, W, Span::one_group>(g);
  g.ins == g.outs ? cut<P, W, Span::full>(g) : cut<P, W, Span::part>(g);
}

template <class P>
void pack(const void* weights, int64_t outputs, int64_t taps, int64_t ins, void* output) {
  const auto* w = static_cast<const typename P::Element*>(weights);
  auto* out = static_cast<typename P::Weight*>(output);
  const int64_t steps = ins / P::kElement;
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t k = 0; k < steps; ++k, w += P::kElement)
        out[(tap * steps + k) * outputs + o] = P::weight(w);
}

template <class P>
constexpr GroupedKernels kernels() {
  return {kL, {nullptr, any<P, 1>, nullptr, any<P, 3>}, pack<P>};
}

#if MLX_ISA_LEVEL < 5
constexpr GroupedTable make_table() {
  GroupedTable t{};
  t.floats[gemm_detail::kF32] = kernels<Floats<float>>();
  t.floats[gemm_detail::kF16] = kernels<Floats<f16>>();
  t.floats[gemm_detail::kBf16] = kernels<Floats<bf16>>();
  return t;
}
#else
GroupedTable make_table() {
  GroupedTable t = isa_v4::grouped_kernels_table();
  t.pairs = kernels<Pairs>();
  return t;
}
#endif
#else  // no permutation of a register by another
constexpr GroupedTable make_table() { return {}; }
#endif

}  // namespace

const GroupedTable& grouped_kernels_table() {
#if MLX_ISA_LEVEL < 5
  static constexpr GroupedTable table = make_table();
#else
  static const GroupedTable table = make_table();
#endif
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
