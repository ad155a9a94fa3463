// Where in an array indices point, in elements; T, an integer type, is defined in front of this text. The host has looked at
// the indices: they are in range, and negative ones count from the end. Each is read once, an offset is written once.
#include "metal/kernels/strided.h"

constant bool adds [[function_constant(0)]];  // to the offsets of index arrays before

struct Offsets {
  long first;     // where the first index is
  long stride;    // of the indexed axis
  uint dims, limit;
};
METAL_FUNC long position(device const T* indices, long at, uint limit) {
  const long i = static_cast<long>(indices[at]);
  return i < 0 ? i + limit : i;
}

kernel void offsets(device const T* indices [[buffer(0)]], device int* out [[buffer(1)]], constant Offsets& p [[buffer(2)]],
                    constant uint* shape [[buffer(3)]], constant long* strides [[buffer(4)]],
                    uint i [[thread_position_in_grid]]) {
  const long at = position(indices, p.first + offset_of(i, p.dims, shape, strides), p.limit) * p.stride;
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
  const long at = position(indices, p.first + offset_of(i, p.dims, shape, strides), p.limit);
  const long outer = i / p.inner / p.n;
  out[i] = static_cast<int>((outer * p.limit + at) * p.inner + i % p.inner);
}
