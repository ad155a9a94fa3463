// Quantized matrices, for one instruction set: rows to floats, and dot products with rows as they are.
//
// A dot product reads the packed words once and never stores a weight: x times codes is summed per group, the
// sum is scaled once, and the biases meet the sums of x per group.
#include <cstddef>

#include "mlx/cpu/gemm/codes.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

// Group sizes are powers of two: a division would cost more than the columns of a group.
MLX_INLINE int shift_of(int group_size) { return __builtin_ctz(static_cast<unsigned>(group_size)); }

template <class T>
MLX_LONG_INLINE vf rounded_half(vf x) {
  return widen(narrow(x, T{}), T{});
}
template <class T>
MLX_INLINE vf rounded_to(vf x) {
  if constexpr (sizeof(T) == 2) return rounded_half<T>(x);
  return x;
}
template <class T>
MLX_LONG_INLINE void store_half(T* p, vf x) {
  store(p, x);
}
MLX_INLINE void store_half(float* p, vf x) { store(p, x); }

// --- rows to floats ---

// `Between` is the type that the product is rounded to before the bias is added.
template <Code C, class Between, int V, class T>
MLX_INLINE void dequantize_vector(const uint8_t* p, vf scale, vf bias, bool biased, T* out) {
  vf v = rounded_to<Between>(run_values<C, V>(p) * scale);
  if (biased) v = v + bias;
  store_half(out + V * kLanesF, v);
}
template <Code C, class Between, class T, int... V>
MLX_INLINE void dequantize_run(const uint8_t* p, const float* scales, const float* biases, int64_t column,
                               int shift, T* out, std::integer_sequence<int, V...>) {
  const auto group = [&](int v) { return (column + v * kLanesF) >> shift; };
  (dequantize_vector<C, Between, V>(p, splat(scales[group(V)]), splat(biases ? biases[group(V)] : 0.0f),
                                    biases != nullptr, out),
   ...);
}

template <Code C, class T, class Between = T>
void dequantize(const uint32_t* codes, const float* scales, const float* biases, int group_size,
                int64_t column, int64_t n, void* output) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(codes);
  T* out = static_cast<T*>(output);
  const int shift = shift_of(group_size);
  constexpr int bytes = 4 * code_bits(C);
  using All = std::make_integer_sequence<int, kRunVectors>;
  int64_t j = 0;
  for (; j + 32 <= n; j += 32, p += bytes)
    dequantize_run<C, Between>(p, scales, biases, column + j, shift, out + j, All{});
  if (j < n) {  // half a run: groups of 16
    uint8_t run[32] = {};
    __builtin_memcpy(run, p, bytes / 2);
    dequantize_run<C, Between>(run, scales, biases, column + j, shift, out + j,
                               std::make_integer_sequence<int, kRunVectors / 2>{});
  }
}

// --- panels of 32 columns ---

template <Code C, int... V>
MLX_INLINE void row_of_panel(const uint8_t* p, const float* scales, const float* biases, int groups, vf* out,
                             std::integer_sequence<int, V...>) {
  const int second = groups - 1;  // the scale of the second half
  ((out[V] = run_values<C, V>(p) * splat(scales[V < kRunVectors / 2 ? 0 : second])), ...);
  if (biases) ((out[V] = out[V] + splat(biases[V < kRunVectors / 2 ? 0 : second])), ...);
}

template <Code C, bool Pairs>
void panel(const uint32_t* codes, int64_t words, const float* scales, const float* biases, int groups,
           int64_t n, void* output) {
  using All = std::make_integer_sequence<int, kRunVectors>;
  float* out = static_cast<float*>(output);
  const auto row = [&](int64_t p, vf* v) {
    row_of_panel<C>(reinterpret_cast<const uint8_t*>(codes + p * words), scales + p * groups,
                    biases ? biases + p * groups : nullptr, groups, v, All{});
  };
  for (int64_t p = 0; p < n; p += Pairs ? 2 : 1, out += 32) {
    vf v[kRunVectors], next[kRunVectors];
    row(p, v);
    if constexpr (Pairs) row(p + 1, next);
    for (int i = 0; i < kRunVectors; ++i) {
      if constexpr (Pairs) {
        const auto rounded = [](vf x) { return as_bits(x) + 0x7fffu + ((as_bits(x) >> 16) & 1u); };
        v[i] = as_float(rounded(v[i]) >> 16 | (rounded(next[i]) & 0xffff0000u));
      }
      store(out + i * kLanesF, v[i]);
    }
  }
}

// --- dot products: S rows of x, a register of sums for each ---

template <Code C, int S, int V>
MLX_INLINE void dot_vector(const uint8_t* p, const float* x, int64_t ldx, vf* acc) {
  const vf value = run_values<C, V>(p);
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s] = fma(value, load(x + s * ldx + V * kLanesF), acc[s]);
}
template <Code C, int S, int Begin, int... V>
MLX_INLINE void dot_vectors(const uint8_t* p, const float* x, int64_t ldx, vf* acc,
                            std::integer_sequence<int, V...>) {
  (dot_vector<C, S, Begin + V>(p, x, ldx, acc), ...);
}
using HalfRun = std::make_integer_sequence<int, kRunVectors / 2>;

template <int S>
MLX_INLINE void add_scaled(const vf* acc, vf scale, vf* total) {
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) total[s] = fma(acc[s], scale, total[s]);
}

// Columns [j, k), in the order of x: any code.
template <Code C, int S>
MLX_INLINE void dot_runs(int64_t j, int64_t k, int group_size, const uint32_t* codes, int64_t ahead,
                         const float* scales, const float* x, int64_t ldx, vf* total) {
  constexpr int bytes = 4 * code_bits(C);
  const uint8_t* p = reinterpret_cast<const uint8_t*>(codes) + j / 32 * bytes;
  if (group_size == 16) {
    for (; j < k; j += 32, p += bytes) {
      uint8_t run[32];
      const bool half = j + 32 > k;
      if (half) __builtin_memcpy(run, p, bytes / 2);
      const uint8_t* from = half ? run : p;
      vf acc[S] = {};
      dot_vectors<C, S, 0>(from, x + j, ldx, acc, HalfRun{});
      add_scaled<S>(acc, splat(scales[j / 16]), total);
      if (half) return;
      vf next[S] = {};
      dot_vectors<C, S, kRunVectors / 2>(p, x + j, ldx, next, HalfRun{});
      add_scaled<S>(next, splat(scales[j / 16 + 1]), total);
    }
    return;
  }
  const int shift = shift_of(group_size);
  while (j < k) {
    const int64_t group = j >> shift, end = (group + 1) << shift;  // a block of words may end within a group
    const vf scale = splat(scales[group]);
    vf acc[S] = {};
    for (; j < end && j < k; j += 32, p += bytes) {
      __builtin_prefetch(p + 4 * ahead);
      dot_vectors<C, S, 0>(p, x + j, ldx, acc, HalfRun{});
      dot_vectors<C, S, kRunVectors / 2>(p, x + j, ldx, acc, HalfRun{});
    }
    add_scaled<S>(acc, scale, total);
  }
}

// The scales of the groups that a block of words lies in, each in the lanes of its words.
template <int Columns>
MLX_INLINE vf block_scales(const float* scales, int shift) {
  const int groups = Columns >> shift;
  if (groups <= 1) return splat(scales[0]);
#if MLX_ISA_LEVEL >= 4
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i group = _mm512_srli_epi32(lane, 4 - static_cast<unsigned>(__builtin_ctz(groups)));
  return _mm512_permutexvar_ps(group, load_first(scales, groups));
#else
  vf v;
  for (int l = 0; l < kLanesF; ++l) v[l] = scales[l * groups / kLanesF];
  return v;
#endif
}

template <Code C>
inline constexpr int kBlockColumns = kLanesF * 32 / code_bits(C);

// Blocks of a register of words, against x in their order. `ahead` words behind those are fetched.
template <Code C, int S>
MLX_INLINE void dot_blocks(int64_t columns, int group_size, const uint32_t* codes, int64_t ahead,
                           const float* scales, const float* x, int64_t ldx, vf* total) {
  constexpr int bits = code_bits(C), shifts = 32 / bits, block = kBlockColumns<C>;
  const vf table = load_table<C>();
  const int shift = shift_of(group_size);
  for (int64_t j = 0; j < columns; j += block, codes += kLanesF, x += block) {
    vu words;
    __builtin_memcpy(&words, codes, sizeof words);
    __builtin_prefetch(codes + ahead);
    vf acc[S] = {};
#pragma GCC unroll 32
    for (int i = 0; i < shifts; ++i) {
      const vf value = low_values<C>(words >> (i * bits), table);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) acc[s] = fma(value, load(x + s * ldx + i * kLanesF), acc[s]);
    }
    add_scaled<S>(acc, block_scales<block>(scales + (j >> shift), shift), total);
  }
}

template <int S>
MLX_INLINE void add_biases(int64_t groups, const float* biases, const float* sums, vf* total) {
  for (int64_t g = 0; g < groups; g += kLanesF) {
    const int n = static_cast<int>(groups - g < kLanesF ? groups - g : kLanesF);
    const bool full = n == kLanesF;
    const vf b = full ? load(biases + g) : load_first(biases + g, n);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const float* x = sums + s * groups + g;
      total[s] = fma(b, full ? load(x) : load_first(x, n), total[s]);
    }
  }
}

// Rows of w in tiles, whose sums stay in the first-level cache beside a piece of x.
template <Code C, int S>
void dot(int64_t rows, int64_t k, int group_size, const uint32_t* codes, const float* scales,
         const float* biases, const QuantizedOperand& x, float* y, int64_t ldy) {
  constexpr int bits = code_bits(C), tile = 16;
  constexpr int64_t piece = 4096 / S;
  const int64_t words = k * bits / 32, groups = k / group_size;
  // The same piece of a later row, some 16 KiB on: rows end with pages, where the hardware begins anew.
  constexpr int64_t kAhead = 4096;
  const int64_t ahead = (kAhead + words - 1) / words * words;
  vf sums[tile][S];
  for (int64_t j0 = 0; j0 < rows; j0 += tile) {
    const int count = static_cast<int>(rows - j0 < tile ? rows - j0 : tile);
    for (int j = 0; j < count; ++j)
      for (int s = 0; s < S; ++s) sums[j][s] = vf{};
    for (int64_t p = 0; p < k; p += piece) {
      const int64_t len = k - p < piece ? k - p : piece;
      for (int j = 0; j < count; ++j) {
        const uint32_t* row = codes + (j0 + j) * words + p * bits / 32;
        const float* row_scales = scales + (j0 + j) * groups + p / group_size;
        // Rows are read in pieces: what this one leaves is wanted a pass later.
        if (p + piece < k)
          for (int64_t ahead = 0; ahead < piece * bits / 32; ahead += 16)
            __builtin_prefetch(row + len * bits / 32 + ahead, 0, 2);
        vf total[S];
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) total[s] = sums[j][s];
        int64_t done = 0;
        if constexpr (kByShifts<C>) {
          done = len / kBlockColumns<C> * kBlockColumns<C>;
          dot_blocks<C, S>(done, group_size, row, ahead, row_scales, x.shuffled + p, k, total);
        }
        if (done < len) dot_runs<C, S>(done, len, group_size, row, ahead, row_scales, x.x + p, k, total);
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) sums[j][s] = total[s];
      }
    }
    for (int j = 0; j < count; ++j) {
      if (biases) add_biases<S>(groups, biases + (j0 + j) * groups, x.sums, sums[j]);
      for (int s = 0; s < S; ++s) y[s * ldy + j0 + j] = lane_sum(sums[j][s]);
    }
  }
}

template <Code C>
void shuffle(const float* x, int64_t k, float* out) {
  if constexpr (kByShifts<C>) {
    constexpr int shifts = 32 / code_bits(C), block = kBlockColumns<C>;
    for (int64_t j = 0; j + block <= k; j += block)
      for (int i = 0; i < shifts; ++i)
        for (int l = 0; l < kLanesF; ++l) out[j + i * kLanesF + l] = x[j + l * shifts + i];
  }
}

void group_sums(const float* x, int64_t groups, int group_size, float* out) {
  for (int64_t g = 0; g < groups; ++g, x += group_size) {
    vf sum = {};
    for (int j = 0; j < group_size; j += kLanesF) sum = sum + load(x + j);
    out[g] = lane_sum(sum);
  }
}

// --- scales ---

template <class T>
void to_float(const void* src, int64_t n, float* out) {
  const T* s = static_cast<const T*>(src);
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) store(out + i, load(s + i));
  if (i < n) store_first(out + i, load_first(s + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}
void e8m0_to_float(const void* src, int64_t n, float* out) {
  const uint8_t* s = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = s[i] ? static_cast<uint32_t>(s[i]) << 23 : 0x400000u;  // 2^-127 is a denormal
    __builtin_memcpy(out + i, &bits, 4);
  }
}
void e4m3_to_float(const void* src, int64_t n, float* out) {
  const uint8_t* s = static_cast<const uint8_t*>(src);
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) store(out + i, run_values<kE4m3, 0>(s + i));
  if (i == n) return;
  uint8_t rest[32] = {};
  __builtin_memcpy(rest, s + i, static_cast<size_t>(n - i));
  store_first(out + i, run_values<kE4m3, 0>(rest), static_cast<int>(n - i));
}

template <Code C>
constexpr void add_code(QuantizedTable& t) {
  t.dequantize[C][kFloat32] = dequantize<C, float>;
  t.dequantize[C][kFloat16] = dequantize<C, f16>;
  t.dequantize[C][kBfloat16] = dequantize<C, bf16>;
  t.dequantize[C][kBfloat16Once] = dequantize<C, bf16, float>;
  t.panel[C] = panel<C, false>;
  t.panel_of_pairs[C] = panel<C, true>;
  t.dot[C][0] = dot<C, 1>;
  t.dot[C][1] = dot<C, 2>;
  t.dot[C][2] = dot<C, 4>;
  t.dot[C][3] = dot<C, 8>;
  t.shuffle[C] = kByShifts<C> ? shuffle<C> : nullptr;
}
template <int... C>
constexpr QuantizedTable make_table(std::integer_sequence<int, C...>) {
  QuantizedTable t{};
  (add_code<static_cast<Code>(C)>(t), ...);
  t.to_float[kScaleF32] = to_float<float>;
  t.to_float[kScaleF16] = to_float<f16>;
  t.to_float[kScaleBf16] = to_float<bf16>;
  t.to_float[kScaleE8m0] = e8m0_to_float;
  t.to_float[kScaleE4m3] = e4m3_to_float;
  t.group_sums = group_sums;
  return t;
}

}  // namespace

const QuantizedTable& quantized_kernels_table() {
  static constexpr QuantizedTable table = make_table(std::make_integer_sequence<int, kCodes>{});
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
