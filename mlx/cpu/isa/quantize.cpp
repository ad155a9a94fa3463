// Choosing scales and codes. All arithmetic is float32; where a step rounds to the dtype of the matrix, it
// says so: files written by other implementations of these formats have the same bits.
#include "mlx/cpu/isa/quantize.h"

#include <cstddef>

#include "mlx/cpu/isa/half.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

constexpr int kMostInGroup = 128;
constexpr float kSmallestScale = 1e-7f;

template <class T>
void load_group(const T* w, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = to_float(w[i]);
}
template <class T>
float rounded_to(float x) {
  return to_float(from_float<T>(x));
}

// 8 codes of one byte each to `bits` bytes.
void pack_eight(const uint8_t* codes, int bits, uint8_t* out) {
  uint64_t bytes;
  __builtin_memcpy(&bytes, codes, 8);
  const uint64_t mask = 0x0101010101010101u * ((1u << bits) - 1);
#if MLX_ISA_LEVEL >= 3
  const uint64_t packed = _pext_u64(bytes, mask);
#else
  uint64_t packed = 0;
  for (int i = 0; i < 8; ++i) packed |= ((bytes & mask) >> (8 * i) & 0xffu) << (bits * i);
#endif
  __builtin_memcpy(out, &packed, static_cast<size_t>(bits));
}
void pack_group(const uint8_t* codes, int n, int bits, uint32_t* words) {
  uint8_t* out = reinterpret_cast<uint8_t*>(words);
  for (int i = 0; i < n; i += 8, out += bits) pack_eight(codes + i, bits, out);
}

float max_magnitude(const float* x, int n) {
  float lanes[16] = {};
  for (int i = 0; i < n; i += 16)
    for (int l = 0; l < 16; ++l) {
      const float a = __builtin_fabsf(x[i + l]);
      lanes[l] = a > lanes[l] ? a : lanes[l];
    }
  float out = 0;
  for (const float m : lanes) out = m > out ? m : out;
  return out;
}

struct Range {
  float low, high;
};
Range range(const float* x, int n) {
  float low[16], high[16];
  for (int l = 0; l < 16; ++l) low[l] = high[l] = x[l];
  for (int i = 16; i < n; i += 16)
    for (int l = 0; l < 16; ++l) {
      low[l] = x[i + l] < low[l] ? x[i + l] : low[l];
      high[l] = x[i + l] > high[l] ? x[i + l] : high[l];
    }
  Range out{low[0], high[0]};
  for (int l = 1; l < 16; ++l) {
    out.low = low[l] < out.low ? low[l] : out.low;
    out.high = high[l] > out.high ? high[l] : out.high;
  }
  return out;
}

struct Affine {
  float scale, bias;
};
// The end of the range that is farther from zero becomes a value that the codes hit exactly, and so does zero
// where the range has it.
Affine affine_of(Range r, int bits) {
  const float levels = static_cast<float>((1 << bits) - 1);
  const float step = (r.high - r.low) / levels;
  float scale = step > kSmallestScale ? step : kSmallestScale;
  if (bits == 1) return {scale, r.low};
  const bool low_is_farther = __builtin_fabsf(r.low) > __builtin_fabsf(r.high);
  if (!low_is_farther) scale = -scale;
  const float edge = low_is_farther ? r.low : r.high;
  const float at = __builtin_rintf(edge / scale);
  if (at == 0) return {scale, 0};
  return {edge / at, edge};
}

template <class T>
void affine(const QuantizeGroups& g) {
  const T* w = static_cast<const T*>(g.w);
  T* scales = static_cast<T*>(g.scales);
  T* biases = static_cast<T*>(g.biases);
  const int n = g.group_size;
  const float levels = static_cast<float>((1 << g.bits) - 1);
  float x[kMostInGroup];
  alignas(64) uint8_t codes[kMostInGroup];
  uint32_t* words = g.words;
  for (int64_t i = 0; i < g.groups; ++i, w += n, words += n * g.bits / 32) {
    load_group(w, n, x);
    const Affine a = affine_of(range(x, n), g.bits);
    for (int j = 0; j < n; ++j) {
      const float q = __builtin_rintf((x[j] - a.bias) / a.scale);
      const float low = q > 0 ? q : 0;  // nan is 0
      codes[j] = static_cast<uint8_t>(static_cast<int>(low < levels ? low : levels));
    }
    pack_group(codes, n, g.bits, words);
    scales[i] = from_float<T>(a.scale);
    biases[i] = from_float<T>(a.bias);
  }
}

// --- small floats ---

// The nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6, in doubt the smaller; zero has no sign.
uint8_t e2m1(float x) {
  const float m = __builtin_fabsf(x);
  const int magnitude =
      (m > 0.25f) + (m > 0.75f) + (m > 1.25f) + (m > 1.75f) + (m > 2.5f) + (m > 3.5f) + (m > 5.0f);
  return static_cast<uint8_t>(magnitude + (magnitude && x < 0 ? 8 : 0));
}

// To nearest, ties to even; what is too large (or nan) becomes 448.
uint8_t e4m3(float x) {
  const uint32_t sign = float_to_bits(x) >> 24 & 0x80u;
  const float magnitude = __builtin_fabsf(x);
  const float m = magnitude < 448.0f ? magnitude : 448.0f;
  const uint32_t u = float_to_bits(m);
  const uint32_t normal = ((u + 0x7ffffu + (u >> 20 & 1u)) >> 20) - (120u << 3);
  const uint32_t denormal = float_to_bits(m + 16384.0f) - float_to_bits(16384.0f);  // multiples of 2^-9
  return static_cast<uint8_t>(sign | (m < 0x1p-6f ? denormal : normal));
}
float e4m3_value(uint8_t code) {
  const uint32_t exponent = code >> 3 & 15u, mantissa = code & 7u;
  const float m = exponent ? bits_to_float((exponent + 120) << 23 | mantissa << 20)
                           : static_cast<float>(mantissa) * 0x1p-9f;
  return code & 0x80u ? -m : m;
}

// The power of two that brings the largest element into the codes' range: its exponent + 127.
uint8_t e8m0(float largest) {  // in units of the largest code
  if (largest == 0) return 127;
  const float exponent = __builtin_ceilf(__builtin_log2f(largest)) + 127;
  return static_cast<uint8_t>(exponent < 0 ? 0 : exponent < 254 ? exponent : 254);
}

template <class T>
void mx(const QuantizeGroups& g) {
  const T* w = static_cast<const T*>(g.w);
  uint8_t* scales = static_cast<uint8_t*>(g.scales);
  const int n = g.group_size;
  const float most = g.bits == 4 ? 6.0f : 448.0f;
  float x[kMostInGroup];
  alignas(64) uint8_t codes[kMostInGroup];
  uint32_t* words = g.words;
  for (int64_t i = 0; i < g.groups; ++i, w += n, words += n * g.bits / 32) {
    load_group(w, n, x);
    scales[i] = e8m0(rounded_to<T>(max_magnitude(x, n) / most));
    const float scale = bits_to_float(scales[i] ? static_cast<uint32_t>(scales[i]) << 23 : 0x400000u);
    if (g.bits == 4) {
      for (int j = 0; j < n; ++j) codes[j] = e2m1(x[j] / scale);
    } else {
      for (int j = 0; j < n; ++j) codes[j] = e4m3(x[j] / scale);
    }
    pack_group(codes, n, g.bits, words);
  }
}

template <class T>
void nvfp4(const QuantizeGroups& g) {
  const T* w = static_cast<const T*>(g.w);
  uint8_t* scales = static_cast<uint8_t*>(g.scales);
  const int n = g.group_size;
  float x[kMostInGroup];
  alignas(64) uint8_t codes[kMostInGroup];
  uint32_t* words = g.words;
  for (int64_t i = 0; i < g.groups; ++i, w += n, words += n * g.bits / 32) {
    load_group(w, n, x);
    scales[i] = e4m3(rounded_to<T>(max_magnitude(x, n) / 6.0f) * g.global);
    const float scale = e4m3_value(scales[i]);
    for (int j = 0; j < n; ++j) codes[j] = scale == 0 ? 0 : e2m1(rounded_to<T>(x[j] / scale) * g.global);
    pack_group(codes, n, g.bits, words);
  }
}

template <class T>
void to_fp8(const void* x, int64_t n, uint8_t* out) {
  const T* in = static_cast<const T*>(x);
  for (int64_t i = 0; i < n; ++i) out[i] = e4m3(to_float(in[i]));
}

template <class T>
constexpr void add_source(QuantizeTable& t, QuantizedSource source) {
  t.affine[source] = affine<T>;
  t.mx[source] = mx<T>;
  t.nvfp4[source] = nvfp4<T>;
  t.to_fp8[source] = to_fp8<T>;
}
constexpr QuantizeTable make_table() {
  QuantizeTable t{};
  add_source<float>(t, kSourceF32);
  add_source<f16>(t, kSourceF16);
  add_source<bf16>(t, kSourceBf16);
  return t;
}

}  // namespace

const QuantizeTable& quantize_kernels_table() {
  static constexpr QuantizeTable table = make_table();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
