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

// start + i * step; element `intervals` is stop.
kernel void linspace(device T* out [[buffer(0)]], constant Pair& start [[buffer(1)]], constant Pair& step [[buffer(2)]],
                     constant float& stop [[buffer(3)]], constant uint& intervals [[buffer(4)]],
                     uint i [[thread_position_in_grid]]) {
  out[i] = cast_to<T>(i == intervals ? stop : at_step(start, step, i));
}
// Ones on diagonal k; T is an unsigned integer, `one` what its bits are.
kernel void eye(device T* out [[buffer(0)]], constant uint& columns [[buffer(1)]], constant int& k [[buffer(2)]],
                constant ulong& one [[buffer(3)]], uint2 at [[thread_position_in_grid]]) {
  const bool on_diagonal = static_cast<long>(at.y) + k == static_cast<long>(at.x);
  out[static_cast<ulong>(at.y) * columns + at.x] = static_cast<T>(on_diagonal ? one : static_cast<ulong>(0));
}

kernel void arange_integers(device T* out [[buffer(0)]], constant ulong& start [[buffer(1)]],
                            constant ulong& step [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  out[i] = static_cast<T>(start + i * step);
}
