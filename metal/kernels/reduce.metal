// Sums, products, extremes, any and all, of arrays with any strides. T, the element type, is defined by host code in
// front of this text (metal/host/reduce.cpp): one library per type.
//
// Bytes moved: each element once, and each result once; one operation per element, so memory decides: lanes of a
// SIMD-group read neighbours (rows: along the reduced axis, columns: along the kept one).
#include "metal/kernels/reduce.h"
#include "metal/kernels/strided.h"

#ifdef ADDS_FLOATS  // the mean of integers
typedef float A;
#else
typedef Accumulator<T>::type A;
#endif
constant int kind [[function_constant(0)]];

struct Reduction {
  ulong n;         // elements per result
  ulong total;     // of all rows together, where the last one is shorter; else 0
  long first;      // where the first element is
  uint kept, reduced;  // dims: shapes and strides of the kept ones come first
  uint results;
  float divisor;   // of means; 0: none
};

METAL_FUNC A value_of(T x) { return kind >= any_kind ? truth<A>(static_cast<bool>(x)) : static_cast<A>(x); }
template <class Out>
METAL_FUNC Out result_of(A x, constant Reduction& p) {
  if (p.divisor != 0) return cast_to<Out>(divided(x, p.divisor));
  return cast_to<Out>(x);
}

// Elements first, first + step, ... of row `row`. Every 64 of them are combined by themselves, so that the error of a sum
// does not grow with their number.
METAL_FUNC A part_of_row(device const T* in, constant Reduction& p, constant uint* shape, constant long* strides,
                         uint row, uint first, uint step) {
  const long base = p.first + offset_of(row, p.kept, shape, strides);
  const ulong n = p.total == 0 ? p.n : min(p.n, p.total - row * p.n);
  A a = start_of<A>(kind);
  for (ulong i = first; i < n;) {
    const ulong end = min(n, i + 64 * static_cast<ulong>(step));
    A some = start_of<A>(kind);
    for (; i < end; i += step)
      some = combine(kind, some, value_of(in[base + offset_of(i, p.reduced, shape + p.kept, strides + p.kept)]));
    a = combine(kind, a, some);
  }
  return a;
}

// A SIMD-group per result.
template <class Out>
kernel void short_rows(device const T* in [[buffer(0)]], device Out* out [[buffer(1)]],
                       constant Reduction& p [[buffer(2)]], constant uint* shape [[buffer(3)]],
                       constant long* strides [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                       uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]]) {
  const uint row = group.x * simds + simd;
  if (row >= p.results) return;
  const A a = simd_combine(kind, part_of_row(in, p, shape, strides, row, lane, 32));
  if (lane == 0) out[row] = result_of<Out>(a, p);
}

// A threadgroup per result.
template <class Out>
kernel void long_rows(device const T* in [[buffer(0)]], device Out* out [[buffer(1)]],
                      constant Reduction& p [[buffer(2)]], constant uint* shape [[buffer(3)]],
                      constant long* strides [[buffer(4)]], uint row [[threadgroup_position_in_grid]],
                      uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                      uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup A parts[32];
  const A part = part_of_row(in, p, shape, strides, row, thread_index, threads);
  const A a = group_combine(kind, part, parts, lane, simd, simds);
  if (thread_index == 0) out[row] = result_of<Out>(a, p);
}

// A threadgroup of 32 by `height` threads: a lane per result, and `height` parts of each.
template <class Out>
kernel void columns(device const T* in [[buffer(0)]], device Out* out [[buffer(1)]],
                    constant Reduction& p [[buffer(2)]], constant uint* shape [[buffer(3)]],
                    constant long* strides [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                    uint2 at [[thread_position_in_threadgroup]], uint2 size [[threads_per_threadgroup]]) {
  threadgroup A parts[32 * 8];
  const uint column = group.x * 32 + at.x;
  A a = start_of<A>(kind);
  if (column < p.results) a = part_of_row(in, p, shape, strides, column, at.y, size.y);
  parts[at.y * 32 + at.x] = a;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (at.y != 0 || column >= p.results) return;
  for (uint y = 1; y < size.y; ++y) a = combine(kind, a, parts[y * 32 + at.x]);
  out[column] = result_of<Out>(a, p);
}

#define instantiate(name, Out)                                                                                  \
  template [[host_name("short_rows_" name)]] kernel void short_rows<Out>(                                      \
      device const T*, device Out*, constant Reduction&, constant uint*, constant long*, uint2, uint, uint, uint); \
  template [[host_name("long_rows_" name)]] kernel void long_rows<Out>(device const T*, device Out*,            \
                                                                       constant Reduction&, constant uint*,     \
                                                                       constant long*, uint, uint, uint, uint,  \
                                                                       uint, uint);                             \
  template [[host_name("columns_" name)]] kernel void columns<Out>(device const T*, device Out*,                \
                                                                   constant Reduction&, constant uint*,         \
                                                                   constant long*, uint2, uint2, uint2);
instantiate("acc", A)
instantiate("bool", bool)
#ifdef OTHER_RESULT  // T is no A
instantiate("same", T)
#endif
#ifdef RESULT
instantiate("other", RESULT)
#endif

// --- positions of extremes: (outer, n, inner), a SIMD-group per result; the first of equals, the first nan ---

struct Best {
  A value;
  uint index;
};
METAL_FUNC Best better(Best a, Best b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  const bool more = kind == max_kind ? b.value > a.value : b.value < a.value;
  const bool same = b.value == a.value || (a_nan && b_nan);
  const bool take = b_nan && !a_nan ? true : a_nan && !b_nan ? false : more || (same && b.index < a.index);
  return take ? b : a;
}
kernel void positions(device const T* in [[buffer(0)]], device uint* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                      constant uint& inner [[buffer(3)]], constant uint& results [[buffer(4)]],
                      uint2 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                      uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint row = group.x * simds + simd;
  if (row >= results) return;
  device const T* x = in + static_cast<ulong>(row / inner) * n * inner + row % inner;
  Best best = {static_cast<A>(x[0]), 0};
  for (uint i = lane; i < n; i += 32) {
    const Best b = {static_cast<A>(x[static_cast<ulong>(i) * inner]), i};
    best = better(best, b);
  }
  for (ushort mask = 16; mask > 0; mask /= 2) {
    const Best b = {lane_xor(best.value, mask), simd_shuffle_xor(best.index, mask)};
    best = better(best, b);
  }
  if (lane == 0) out[row] = best.index;
}
