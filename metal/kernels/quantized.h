// Quantized matrices (mlx/quantized_layout.h): 16 codes of a row are `bits` shorts and lie in one group.
#pragma once
#include "metal/kernels/gemm.h"

constant int mode [[function_constant(0)]];  // 0 affine, 1 mxfp4, 2 mxfp8, 3 nvfp4
constant int bits [[function_constant(1)]];
constant int group_size [[function_constant(2)]];
constant bool affine = mode == 0;

constant constexpr int pack = 16;  // codes

// As floats of 4 bits (e2m1) and of 8 bits (e4m3).
METAL_FUNC float e2m1_value(uint code) {
  const uint m = code & 7;
  const float x = m < 4 ? m * 0.5f : m < 6 ? m - 2.0f : m * 2.0f - 8.0f;
  return code & 8 ? -x : x;
}
METAL_FUNC float e4m3_value(uint code) {
  const uint exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 0x7f) == 0x7f) return NAN;
  const float x = exponent ? as_type<float>((exponent + 120) << 23 | mantissa << 20) : mantissa * 0x1p-9f;
  return code & 0x80 ? -x : x;
}
METAL_FUNC float e8m0_value(uint code) { return as_type<float>(code ? code << 23 : 0x400000u); }

METAL_FUNC float code_value(uint code) {
  return affine ? static_cast<float>(code) : mode == 2 ? e4m3_value(code) : e2m1_value(code);
}
template <class S>
METAL_FUNC float scale_value(S scale) {
  return static_cast<float>(scale);
}
METAL_FUNC float scale_value(uchar scale) { return mode == 3 ? e4m3_value(scale) : e8m0_value(scale); }

METAL_FUNC void decode(device const ushort* from, thread float* to) {
  ushort held[8];
  for (int i = 0; i < bits; ++i) held[i] = from[i];
  for (int j = 0; j < pack; ++j) {
    const int bit = j * bits, at = bit & 15;
    uint code = held[bit >> 4] >> at;
    if (at + bits > 16) code |= static_cast<uint>(held[(bit >> 4) + 1]) << (16 - at);
    to[j] = code_value(code & ((1u << bits) - 1));
  }
}

// A matrix of so many columns.
template <class S>
struct Packed {
  device const ushort* words;
  device const S* scales;
  device const S* biases;
  int columns;
  METAL_FUNC long code_at(long row, int column) const { return (row * columns + column) / pack * bits; }
  METAL_FUNC long group_at(long row, int column) const { return (row * columns + column) / group_size; }
  METAL_FUNC float scale(long row, int column) const { return scale_value(scales[group_at(row, column)]); }
  METAL_FUNC float bias(long row, int column) const {
    return affine ? scale_value(biases[group_at(row, column)]) : 0.0f;
  }
  METAL_FUNC void skip(long matrices, long rows) {
    const long elements = matrices * rows * columns;
    words += elements / pack * bits;
    scales += elements / group_size;
    if (affine) biases += elements / group_size;
  }
  METAL_FUNC void values(long row, int column, thread float* to) const {
    decode(words + code_at(row, column), to);
    const float s = scale(row, column), b = bias(row, column);
    for (int j = 0; j < pack; ++j) to[j] = to[j] * s + b;
  }
};
