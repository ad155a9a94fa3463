// Arrays from numbers alone. Only writes: each element once.
#include "metal/kernels/types.h"

// A number as the sum of two floats.
struct Pair {
  float high, low;
};
METAL_FUNC float at_step(constant Pair& start, constant Pair& step, uint i) {
  const float n = static_cast<float>(i);  // exact: fewer than 2^24 elements
  const float p = n * step.high, e = fma(n, step.high, -p) + n * step.low;
  const float s = start.high + p, t = s - start.high;
  return s + (((start.high - (s - t)) + (p - t)) + (e + start.low));
}

kernel void arange_floats(device T* out [[buffer(0)]], constant Pair& start [[buffer(1)]], constant Pair& step [[buffer(2)]],
                          uint i [[thread_position_in_grid]]) {
  out[i] = cast_to<T>(at_step(start, step, i));
}
kernel void arange_integers(device T* out [[buffer(0)]], constant ulong& start [[buffer(1)]],
                            constant ulong& step [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  out[i] = static_cast<T>(start + i * step);
}
