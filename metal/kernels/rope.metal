// Rotary positions; T is defined in front of this text. A thread per pair: each element is read once and written once.
//
// An angle is position times rate; with float32 alone its error would grow with the position. The rate comes as two
// floats, the product is kept with its rounding error, and whole turns are taken off before cos and sin.
#include "metal/kernels/types.h"

constant bool given [[function_constant(0)]];  // the caller's wavelengths, whose reciprocals are the rates

struct Rope {
  uint pairs, rest, half_dims, n;  // rest: features behind the rotated ones
  uint length, heads, shared_offset;
  float scale;
  uint traditional, inverse;
};

METAL_FUNC float2 turn(float position, float2 rate) {
  const float high = position * rate.x;
  const float low = fma(position, rate.x, -high) + position * rate.y;
  const float turns = rint(high * 0.159154943f);
  const float angle = fma(-turns, -1.74845553e-07f, fma(-turns, 6.28318548f, high)) + low;
  return float2(cos(angle), sin(angle));
}

// 1 / x as two floats.
METAL_FUNC float2 reciprocal(float x) {
  const float high = 1.0f / x;
  return float2(high, isfinite(high) && isfinite(x) ? fma(-high, x, 1.0f) / x : 0.0f);
}

kernel void rope(device const T* in [[buffer(0)]], device const long* offsets [[buffer(1)]],
                 device const float* rates [[buffer(2)]], device T* out [[buffer(3)]], constant Rope& p [[buffer(4)]],
                 uint2 at [[thread_position_in_grid]]) {
  // at.y: row (batch, head, position); at.x: pair, then the features that stay.
  const ulong base = static_cast<ulong>(at.y) * p.n;
  if (at.x >= p.half_dims) {
    const uint i = at.x + p.half_dims;
    if (i < p.n) out[base + i] = in[base + i];
    return;
  }
  const uint batch = at.y / p.length / p.heads;
  const float position =
      p.scale * static_cast<float>(offsets[p.shared_offset ? 0 : batch] + static_cast<long>(at.y % p.length));
  float2 t = turn(position, given ? reciprocal(rates[at.x]) : float2(rates[2 * at.x], rates[2 * at.x + 1]));
  if (p.inverse) t.y = -t.y;
  const ulong i = base + (p.traditional ? 2 * at.x : at.x), j = p.traditional ? i + 1 : i + p.half_dims;
  const float x = static_cast<float>(in[i]), y = static_cast<float>(in[j]);
  out[i] = static_cast<T>(x * t.x - y * t.y);
  out[j] = static_cast<T>(x * t.y + y * t.x);
}
