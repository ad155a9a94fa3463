// Convolution of a channel per group (channelwise.h) for one instruction set.
#include "mlx/cpu/gemm/channelwise.h"

#include <utility>

#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::ChannelwiseFn;
using gemm_detail::ChannelwiseLine;
using gemm_detail::ChannelwiseRow;
using gemm_detail::kLongestRow;

// Channels that are loaded together: a register of them, which is two of sums for 16-bit numbers.
template <class T>
inline constexpr int kVectors = sizeof(T) == 2 ? 2 : 1;
template <class T>
inline constexpr int kUnit = kVectors<T> * kLanes<Acc<T>>;
template <class T>
using Unit = Vec<Acc<T>>[kVectors<T>];

// The first sums are those of even channels and the second those of odd ones: bfloat16 become floats by one
// operation of any port each, and shuffles are few.
MLX_INLINE void split(vu pairs, Unit<bf16>& v) {
  v[0] = as_float(pairs << 16);
  v[1] = as_float(pairs & 0xffff0000u);
}
MLX_INLINE vu join(const Unit<bf16>& v) {
#if MLX_ISA_LEVEL >= 5
  // The machine's instruction takes subnormal numbers for zeros.
  constexpr int kSubnormal = 0x20;
  if (__builtin_expect(!(_mm512_fpclass_ps_mask(v[0], kSubnormal) | _mm512_fpclass_ps_mask(v[1], kSubnormal)),
                       1)) {
#if defined(__clang__) && __clang_major__ < 17
    __m512i both;  // as in kernel_tile.h
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(v[1]), "v"(v[0]));
#else
    const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(v[1], v[0]));
#endif
    // 0 16 1 17 ...
    const __m512i low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i order =
        _mm512_or_si512(low, _mm512_slli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(16)), 16));
    return reinterpret_cast<vu>(_mm512_permutexvar_epi16(order, both));
  }
#endif
  return round_upper(v[0]) >> 16 | (round_upper(v[1]) & 0xffff0000u);
}

template <class T>
MLX_INLINE void load_unit(const T* p, Unit<T>& v) {
  if constexpr (std::is_same_v<T, bf16>) {
    vu pairs;
    __builtin_memcpy(&pairs, p, sizeof pairs);
    split(pairs, v);
  } else {
    for (int i = 0; i < kVectors<T>; ++i) v[i] = load(p + i * kLanes<Acc<T>>);
  }
}
template <class T>
MLX_INLINE void store_unit(T* p, const Unit<T>& v) {
  if constexpr (std::is_same_v<T, bf16>) {
    const vu pairs = join(v);
    __builtin_memcpy(p, &pairs, sizeof pairs);
  } else {
    for (int i = 0; i < kVectors<T>; ++i) store(p + i * kLanes<Acc<T>>, v[i]);
  }
}
// The first n channels; others are zero, and memory behind them is not touched.
template <class T>
MLX_INLINE void load_first_unit(const T* p, int n, Unit<T>& v) {
#if MLX_ISA_LEVEL >= 4
  if constexpr (sizeof(T) == 2) {
    const __m512i some = _mm512_maskz_loadu_epi16((1u << n) - 1, p);
    T buffer[kUnit<T>];
    if constexpr (std::is_same_v<T, bf16>) return split(reinterpret_cast<vu>(some), v);
    __builtin_memcpy(buffer, &some, sizeof some);
    return load_unit(buffer, v);
  }
#endif
  T buffer[kUnit<T>] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  load_unit(buffer, v);
}
template <class T>
MLX_INLINE void store_first_unit(T* p, const Unit<T>& v, int n) {
  T buffer[kUnit<T>];
  store_unit(buffer, v);
  for (int i = 0; i < n; ++i) p[i] = buffer[i];
}

// M positions from q on, the channels of a unit from c on; `n` of them where not Whole.
template <class T, int W, int M, bool Whole>
MLX_INLINE void tile(const ChannelwiseLine& t, int64_t q, int64_t c, int n) {
  constexpr int V = kVectors<T>;
  const auto get = [&](const void* p, Unit<T>& v) __attribute__((always_inline)) {
    Whole ? load_unit(static_cast<const T*>(p) + c, v) : load_first_unit(static_cast<const T*>(p), n, v);
  };
  Vec<Acc<T>> acc[M][V] = {};
  for (int64_t r = 0; r < t.count; ++r) {
    const ChannelwiseRow& row = t.rows[r];
    const void* const* pixel = row.pixels + q * t.step;
    Unit<T> w[W];
#pragma GCC unroll 7
    for (int k = 0; k < W; ++k) get(static_cast<const T*>(row.weights) + k * t.turn, w[k]);
#pragma GCC unroll 14
    for (int p = 0; p < M + W - 1; ++p, pixel += t.step) {
      Unit<T> x;
      get(*pixel, x);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i)
        if (i <= p && p - i < W)
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) acc[i][v] = fma(x[v], w[p - i][v], acc[i][v]);
    }
  }
  T* out = static_cast<T*>(t.out) + q * t.out_step + c;
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i, out += t.out_step)
    Whole ? store_unit(out, acc[i]) : store_first_unit(out, acc[i], n);
}

// Channels [begin, end); units overlap at the end of the channels, where they give the same twice.
template <class T, int W, int M, bool Whole>
void tiles(const ChannelwiseLine& t, int64_t q, int64_t begin, int64_t end) {
  if constexpr (Whole) {
    for (int64_t c = begin; c < end; c += kUnit<T>)
      tile<T, W, M, true>(t, q, c + kUnit<T> <= t.channels ? c : t.channels - kUnit<T>, kUnit<T>);
  } else {
    tile<T, W, M, false>(t, q, 0, static_cast<int>(t.channels));
  }
}

#if MLX_ISA_LEVEL >= 4 || (MLX_ISA_LEVEL == 1 && defined(__aarch64__))
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif
// Positions of a tile: their sums and the weights of a row stay in registers beside a pixel and two others.
template <class T, int W>
constexpr int tile_positions() {
  constexpr int most = (kRegisters - 3 - W * kVectors<T>) / kVectors<T>;
  return most > 8 ? 8 : most;
}

template <class T, int W, bool Whole, class>
struct Tiles;
template <class T, int W, bool Whole, int... M>
struct Tiles<T, W, Whole, std::integer_sequence<int, M...>> {
  using Fn = void (*)(const ChannelwiseLine&, int64_t, int64_t, int64_t);
  static constexpr Fn of[] = {nullptr, tiles<T, W, M + 1, Whole>...};
};

template <class T, int W, bool Whole>
void cut(const ChannelwiseLine& t) {
  constexpr int most = tile_positions<T, W>();
  using Of = Tiles<T, W, Whole, std::make_integer_sequence<int, most>>;
  constexpr int64_t block = 512 / static_cast<int64_t>(sizeof(T));  // of channels: their weights stay in L1
  const int64_t parts = (t.positions + most - 1) / most;
  const int64_t calls = parts * ((t.channels + block - 1) / block);
  const char *ahead = t.ahead, *const behind = t.ahead + t.ahead_bytes;
  const int64_t share = (t.ahead_bytes / calls / 64 + 1) * 64;
  for (int64_t c = 0; c < t.channels; c += block) {
    const int64_t end = c + block < t.channels ? c + block : t.channels;
    for (int64_t i = 0, q = 0; i < parts; ++i) {
      const int64_t next = (i + 1) * t.positions / parts;
      for (const char* to = ahead + share; ahead < to && ahead < behind; ahead += 64)
        __builtin_prefetch(ahead, 0, 2);
      Of::of[next - q](t, q, c, end);
      q = next;
    }
  }
}
template <class T, int W>
void any(const ChannelwiseLine& t) {
  if constexpr (W == 1) {
    if (t.channels < kUnit<T>) return cut<T, W, false>(t);
  }
  cut<T, W, true>(t);
}

template <class T, int W>
constexpr ChannelwiseFn row_kernel() {
  if constexpr (W == 1) {
    return any<T, 1>;
  } else if constexpr (MLX_ISA_LEVEL != 2 && sizeof(T) < 8 && W % 2 == 1 && tile_positions<T, W>() >= 4) {
    return any<T, W>;
  } else {
    return nullptr;
  }
}

using gemm_detail::ChannelwiseTable;

template <class T, int... W>
constexpr void add(ChannelwiseTable& t, gemm_detail::Elem e, std::integer_sequence<int, W...>) {
  ((t.row[e][W + 1] = row_kernel<T, W + 1>()), ...);
  t.channels[e] = kUnit<T>;
}

using Rows = std::make_integer_sequence<int, kLongestRow>;

#if MLX_ISA_LEVEL < 5
constexpr ChannelwiseTable make_table() {
  ChannelwiseTable t{};
  add<float>(t, gemm_detail::kF32, Rows{});
  add<double>(t, gemm_detail::kF64, Rows{});
  add<f16>(t, gemm_detail::kF16, Rows{});
  add<bf16>(t, gemm_detail::kBf16, Rows{});
  return t;
}
#else
ChannelwiseTable make_table() {  // all else is as without these instructions
  ChannelwiseTable t = isa_v4::channelwise_kernels_table();
  add<bf16>(t, gemm_detail::kBf16, Rows{});
  return t;
}
#endif

}  // namespace

const ChannelwiseTable& channelwise_kernels_table() {
#if MLX_ISA_LEVEL < 5
  static constexpr ChannelwiseTable table = make_table();
#else
  static const ChannelwiseTable table = make_table();
#endif
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
