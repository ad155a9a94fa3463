// Where in an array indices point, in elements; T, an integer type, is defined in front of this text. Those below 0 count
// from the end. The host has looked at them, or `inside` does: what is out of range counts as 0. Each is read once, an offset
// is written once.
#include "metal/kernels/strided.h"

constant bool adds [[function_constant(0)]];  // to the offsets of index arrays before

struct Offsets {
  long first;     // where the first index is
  long stride;    // of the indexed axis
  uint dims, limit;
  uint wrap;  // what is added to indices below 0
};
METAL_FUNC long position(device const T* indices, long at, uint limit, uint wrap) {
  const long given = static_cast<long>(indices[at]), i = given < 0 ? given + wrap : given;
  return i >= 0 && i < limit ? i : 0;
}

kernel void offsets(device const T* indices [[buffer(0)]], device int* out [[buffer(1)]], constant Offsets& p [[buffer(2)]],
                    constant uint* shape [[buffer(3)]], constant long* strides [[buffer(4)]],
                    uint i [[thread_position_in_grid]]) {
  const long at = position(indices, p.first + offset_of(i, p.dims, shape, strides), p.limit, p.wrap) * p.stride;
  out[i] = static_cast<int>(adds ? out[i] + at : at);
}

// Element (o, j, c) of indices of shape (outer, n, inner) names (o, its value, c) of an array (outer, limit, inner).
struct Along {
  long first;
  uint dims, n, inner, limit;
};
kernel void along_axis(device const T* indices [[buffer(0)]], device int* out [[buffer(1)]], constant Along& p [[buffer(2)]],
                       constant uint* shape [[buffer(3)]], constant long* strides [[buffer(4)]],
                       uint i [[thread_position_in_grid]]) {
  const long at = position(indices, p.first + offset_of(i, p.dims, shape, strides), p.limit, p.limit);
  const long outer = i / p.inner / p.n;
  out[i] = static_cast<int>((outer * p.limit + at) * p.inner + i % p.inner);
}

// The number of the first index that is out of range, where there is one. Each is read once.
struct Inside {
  long first, limit, wrap;
  uint dims;
};
kernel void inside(device const T* indices [[buffer(0)]], device atomic_uint* outside [[buffer(1)]],
                   constant Inside& p [[buffer(2)]], constant uint* shape [[buffer(3)]], constant long* strides [[buffer(4)]],
                   uint i [[thread_position_in_grid]]) {
  const long given = static_cast<long>(indices[p.first + offset_of(i, p.dims, shape, strides)]);
  const long at = given < 0 ? given + p.wrap : given;
  if (at < 0 || at >= p.limit) atomic_fetch_min_explicit(outside, i, memory_order_relaxed);
}
