// Quantized matrices, for one instruction set: rows to floats, and dot products with rows as they are.
#include <cstddef>

#include "mlx/cpu/gemm/quantized_dot.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

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

// --- x for the dot products ---

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
  add_dots<FloatBlocks<C>, C>(t.dot[C], AllDots{});
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
