// Groups of floats to codes and scales, and back. All arithmetic is float32; where a step rounds to the dtype of the
// matrix, it says so. Bytes moved: each element is read (twice by quantize, the second time from the cache) and
// written once.
#include "metal/kernels/quantized.h"

constant bool has_global [[function_constant(3)]];  // nvfp4: a scale of everything

// The nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6, in doubt the smaller; zero has no sign.
METAL_FUNC uint e2m1(float x) {
  const float m = fabs(x);
  const uint magnitude = uint(m > 0.25f) + uint(m > 0.75f) + uint(m > 1.25f) + uint(m > 1.75f) + uint(m > 2.5f) +
                         uint(m > 3.5f) + uint(m > 5.0f);
  return magnitude + (magnitude && x < 0 ? 8 : 0);
}
// To nearest, ties to even; what is too large (or nan) becomes 448.
METAL_FUNC uint e4m3(float x) {
  const uint sign = as_type<uint>(x) >> 24 & 0x80;
  const float magnitude = fabs(x), m = magnitude < 448.0f ? magnitude : 448.0f;
  const uint u = as_type<uint>(m);
  const uint normal = ((u + 0x7ffff + (u >> 20 & 1)) >> 20) - (120 << 3);
  const uint denormal = as_type<uint>(m + 16384.0f) - as_type<uint>(16384.0f);
  return sign | (m < 0x1p-6f ? denormal : normal);
}
// The power of two that brings the largest element into the codes' range.
METAL_FUNC uint e8m0(float largest) {
  if (largest == 0) return 127;
  return static_cast<uint>(clamp(ceil(log2(largest)) + 127, 0.0f, 254.0f));
}

// One thread per group.
template <class T, class S>
[[kernel]] void quantize(device const T* w [[buffer(0)]], device ushort* words [[buffer(1)]],
                         device S* scales [[buffer(2)]],
                         device S* biases [[buffer(3), function_constant(affine)]], constant ulong& groups [[buffer(4)]],
                         device const float* global [[buffer(5), function_constant(has_global)]],
                         uint2 at [[thread_position_in_grid]], uint2 size [[threads_per_grid]]) {
  const ulong i = at.y * static_cast<ulong>(size.x) + at.x;
  if (i >= groups) return;
  w += i * group_size;
  words += i * group_size / pack * bits;
  float low = INFINITY, high = -INFINITY, most = 0;
  for (int j = 0; j < group_size; ++j) {
    const float x = static_cast<float>(w[j]);
    low = min(low, x);
    high = max(high, x);
    most = max(most, fabs(x));
  }
  const float levels = static_cast<float>((1 << bits) - 1), factor = has_global ? 2688.0f / global[0] : 1.0f;
  float scale = 1, bias = 0;
  if (affine) {
    // The end of the range that is farther from zero becomes a value that the codes hit exactly.
    scale = max((high - low) / levels, 1e-7f);
    bias = low;
    if (bits > 1) {
      const bool low_is_farther = fabs(low) > fabs(high);
      if (!low_is_farther) scale = -scale;
      const float edge = low_is_farther ? low : high, steps = rint(edge / scale);
      bias = steps == 0 ? 0 : edge;
      if (steps != 0) scale = edge / steps;
    }
    scales[i] = static_cast<S>(scale);
    biases[i] = static_cast<S>(bias);
  } else if (mode == 3) {
    const uint code = e4m3(static_cast<float>(static_cast<T>(most / 6.0f)) * factor);
    scale = e4m3_value(code);
    scales[i] = static_cast<S>(code);
  } else {
    const uint code = e8m0(static_cast<float>(static_cast<T>(most / (mode == 1 ? 6.0f : 448.0f))));
    scale = e8m0_value(code);
    scales[i] = static_cast<S>(code);
  }
  uint held = 0;
  int filled = 0;
  for (int j = 0; j < group_size; ++j) {
    const float x = static_cast<float>(w[j]);
    uint code;
    if (affine) {
      const float q = rint((x - bias) / scale);
      code = q > 0 ? static_cast<uint>(min(q, levels)) : 0;
    } else if (mode == 2) {
      code = e4m3(x / scale);
    } else if (mode == 1) {
      code = e2m1(x / scale);
    } else {
      code = scale == 0 ? 0 : e2m1(static_cast<float>(static_cast<T>(x / scale)) * factor);
    }
    held |= code << filled;
    filled += bits;
    if (filled >= 16) {
      *words++ = static_cast<ushort>(held);
      held >>= 16;
      filled -= 16;
    }
  }
}

// One thread per 16 codes.
template <class T, class S>
[[kernel]] void dequantize(device const ushort* words [[buffer(0)]], device const S* scales [[buffer(1)]],
                           device const S* biases [[buffer(2), function_constant(affine)]],
                           device T* out [[buffer(3)]], constant ulong& packs [[buffer(4)]],
                           device const float* global [[buffer(5), function_constant(has_global)]],
                           uint2 at [[thread_position_in_grid]], uint2 size [[threads_per_grid]]) {
  const ulong i = at.y * static_cast<ulong>(size.x) + at.x;
  if (i >= packs) return;
  const ulong g = i * pack / group_size;
  const float scale = scale_value(scales[g]) * (has_global ? global[0] / 2688.0f : 1.0f);
  const float bias = affine ? scale_value(biases[g]) : 0.0f;
  float codes[pack];
  decode(words + i * bits, codes);
  for (int j = 0; j < pack; ++j) {
    // The product is rounded before the bias is added.
    const T product = static_cast<T>(codes[j] * scale);
    out[i * pack + j] = affine ? static_cast<T>(static_cast<float>(product) + bias) : product;
  }
}

template <class T>
[[kernel]] void to_fp8(device const T* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                       uint i [[thread_position_in_grid]]) {
  out[i] = static_cast<uchar>(e4m3(static_cast<float>(x[i])));
}
template <class T>
[[kernel]] void from_fp8(device const uchar* x [[buffer(0)]], device T* out [[buffer(1)]],
                         uint i [[thread_position_in_grid]]) {
  out[i] = static_cast<T>(e4m3_value(x[i]));
}
