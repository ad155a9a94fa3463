// Elements at places that indices name; T is defined in front of this text: an unsigned integer of the element's size.
// A thread per element: each is read once and written once, and lanes are neighbours along the inner axes.
#include "metal/kernels/types.h"

constant bool along_axis [[function_constant(0)]];  // an index per element, not per slice

struct Gather {
  uint inner, count, outer;  // of the output; count: along the axis
  uint limit;                // of the operand's axis
};

kernel void gather(device const T* in [[buffer(0)]], device const long* indices [[buffer(1)]], device T* out [[buffer(2)]],
                   constant Gather& p [[buffer(3)]], uint3 at [[thread_position_in_grid]]) {
  const ulong to = (static_cast<ulong>(at.z) * p.count + at.y) * p.inner + at.x;
  long i = indices[along_axis ? to : at.y];
  if (i < 0) i += p.limit;
  out[to] = in[(static_cast<ulong>(at.z) * p.limit + static_cast<ulong>(i)) * p.inner + at.x];
}
