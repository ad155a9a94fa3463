// Elements at places that indices or masks name; T is defined in front of this text: an unsigned integer of the element's
// size (of several elements, where whole slices are taken). A thread per element: each is read once and written once, and lanes are neighbours along the inner axes. No
// arithmetic but that of places: memory decides.
#include "metal/kernels/strided.h"
#include "metal/kernels/types.h"

constant bool along_axis [[function_constant(0)]];  // an index per element, not per slice
constant bool counted [[function_constant(1)]];     // whether there are values enough has to be found out

struct Gather {
  uint inner, count, outer;  // of the output; count: along the axis
  uint limit;                // of the operand's axis
};

kernel void gather(device const T* in [[buffer(0)]], device const long* indices [[buffer(1)]], device T* out [[buffer(2)]],
                   constant Gather& p [[buffer(3)]], uint3 at [[thread_position_in_grid]]) {
  const ulong to = (static_cast<ulong>(at.z) * p.count + at.y) * p.inner + at.x;
  long i = indices[along_axis ? to : at.y];
  if (i < 0) i += p.limit;
  if (i < 0 || i >= p.limit) i = 0;  // somebody else tells
  out[to] = in[(static_cast<ulong>(at.z) * p.limit + static_cast<ulong>(i)) * p.inner + at.x];
}

// A box of the operand per offset: x counts the box's elements, y the boxes. The strides of the operand come first, then
// those of the output.
struct Boxes {
  long first;  // where in its bytes the operand begins
  uint step;   // between boxes, in the output
  uint dims;
};
kernel void gather_boxes(device const T* in [[buffer(0)]], device const int* offsets [[buffer(1)]], device T* out [[buffer(2)]],
                         constant Boxes& p [[buffer(3)]], constant uint* shape [[buffer(4)]],
                         constant long* strides [[buffer(5)]], uint2 at [[thread_position_in_grid]]) {
  const long to = static_cast<long>(at.y) * p.step + offset_of(at.x, p.dims, shape, strides + p.dims);
  out[to] = in[p.first + offsets[at.y] + offset_of(at.x, p.dims, shape, strides)];
}

// --- by mask: parts of `elements` (x) that belong to an element of the mask (y) ---

struct Placed {
  uint elements, values;  // of a part; parts of the source
};
kernel void masked_scatter(device const bool* mask [[buffer(0)]], device const uint* ranks [[buffer(1)]],
                           device const T* source [[buffer(2)]], device T* out [[buffer(3)]],
                           constant Placed& p [[buffer(4)]],
                           device atomic_uint* too_few [[buffer(5), function_constant(counted)]],
                           uint2 at [[thread_position_in_grid]]) {
  if (!mask[at.y]) return;
  const uint rank = ranks[at.y];
  if (counted && rank >= p.values) {
    atomic_fetch_min_explicit(too_few, rank, memory_order_relaxed);
    return;
  }
  out[static_cast<ulong>(at.y) * p.elements + at.x] = source[static_cast<ulong>(rank) * p.elements + at.x];
}

struct Selected {
  uint elements, size;  // of a part, of the output
};
kernel void masked_select(device const bool* mask [[buffer(0)]], device const uint* ranks [[buffer(1)]],
                          device const T* in [[buffer(2)]], device T* out [[buffer(3)]], constant Selected& p [[buffer(4)]],
                          uint2 at [[thread_position_in_grid]]) {
  if (!mask[at.y]) return;
  const ulong to = static_cast<ulong>(ranks[at.y]) * p.elements + at.x;
  if (to < p.size) out[to] = in[static_cast<ulong>(at.y) * p.elements + at.x];
}
// Zeros behind what was selected; starts[blocks] is how many elements of the mask are true.
kernel void nothing_selected(device const uint* starts [[buffer(0)]], constant uint& blocks [[buffer(1)]],
                             device T* out [[buffer(2)]], constant Selected& p [[buffer(3)]],
                             uint i [[thread_position_in_grid]]) {
  if (i >= static_cast<ulong>(starts[blocks]) * p.elements) out[i] = 0;
}
