// Cumulative sums, products and extremes along an axis of row-contiguous memory (outer, n, inner); T is defined in front
// of this text. Each element is read once (twice where lines are cut into chunks) and written once; an operation or six per
// element, so memory decides.
#include "metal/kernels/reduce.h"

typedef Accumulator<T>::type A;
constant int kind [[function_constant(0)]];
constant bool reverse [[function_constant(1)]];
constant bool inclusive [[function_constant(2)]];

// Few long lines are cut into chunks, so that every core has a part: their totals are scanned first and read by the chunks.
constant bool chunked [[function_constant(3)]];
constant constexpr uint chunk = 1024;

struct Scan {
  uint n, inner, lines;
};

// SIMD functions know no 64-bit integers.
template <class X>
METAL_FUNC X lane_below(X x, ushort delta) {
  return simd_shuffle_up(x, delta);
}
METAL_FUNC long lane_below(long x, ushort delta) { return as_type<long>(simd_shuffle_up(as_type<uint2>(x), delta)); }
METAL_FUNC ulong lane_below(ulong x, ushort delta) { return as_type<ulong>(simd_shuffle_up(as_type<uint2>(x), delta)); }
template <class X>
METAL_FUNC X last_lane(X x) {
  return simd_shuffle(x, 31);
}
METAL_FUNC long last_lane(long x) { return as_type<long>(simd_shuffle(as_type<uint2>(x), 31)); }
METAL_FUNC ulong last_lane(ulong x) { return as_type<ulong>(simd_shuffle(as_type<uint2>(x), 31)); }

// What comes before the first element: for extremes the end of T's own range.
METAL_FUNC A first_value() {
  if (is_float<T>::value || sizeof(T) >= 4 || kind < max_kind) return start_of<A>(kind);
  const bool is_bool = static_cast<T>(2) == static_cast<T>(1), is_signed = static_cast<T>(-1) < static_cast<T>(0);
  const int bits = is_bool ? 1 : 8 * static_cast<int>(sizeof(T)) - (is_signed ? 1 : 0);
  return static_cast<A>(kind == min_kind ? (1 << bits) - 1 : is_signed ? -(1 << bits) : 0);
}

// inner is 1: what a chunk makes of its elements, in the order of the scan.
kernel void totals(device const T* in [[buffer(0)]], device A* out [[buffer(1)]], constant Scan& p [[buffer(2)]],
                   uint group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                   uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint part = group * simds + simd, chunks = (p.n + chunk - 1) / chunk;
  const uint line = part / chunks, first = part % chunks * chunk, end = min(p.n, first + chunk);
  if (line >= p.lines) return;
  const ulong base = static_cast<ulong>(line) * p.n;
  A a = start_of<A>(kind);
  for (uint i = first + lane; i < end; i += 32)
    a = combine(kind, a, static_cast<A>(in[base + (reverse ? p.n - 1 - i : i)]));
  a = simd_combine(kind, a);
  if (lane == 0) out[part] = a;
}

// inner is 1: a SIMD-group per line or chunk, 32 elements at a time; what came before is carried.
kernel void rows(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant Scan& p [[buffer(2)]],
                 device const A* before_chunks [[buffer(3), function_constant(chunked)]],
                 uint group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                 uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint part = group * simds + simd, chunks = chunked ? (p.n + chunk - 1) / chunk : 1;
  const uint line = part / chunks, begin = part % chunks * chunk, end = chunked ? min(p.n, begin + chunk) : p.n;
  if (line >= p.lines) return;
  const ulong base = static_cast<ulong>(line) * p.n;
  A carry = first_value();
  if (chunked && begin > 0) carry = before_chunks[part];
  for (uint first = begin; first < end; first += 32) {
    const uint i = first + lane;
    const ulong at = base + (reverse ? p.n - 1 - i : i);
    A v = i < end ? static_cast<A>(in[at]) : first_value();
    for (ushort delta = 1; delta < 32; delta *= 2) {
      const A before = lane_below(v, delta);
      if (lane >= delta) v = combine(kind, before, v);
    }
    const A before = lane_below(v, 1);
    const A result = inclusive ? combine(kind, carry, v) : lane == 0 ? carry : combine(kind, carry, before);
    carry = combine(kind, carry, last_lane(v));
    if (i < end) out[at] = cast_to<T>(result);
  }
}

// A thread per line; lanes are neighbours along the inner axes.
kernel void columns(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant Scan& p [[buffer(2)]],
                    uint line [[thread_position_in_grid]]) {
  const ulong base = static_cast<ulong>(line / p.inner) * p.n * p.inner + line % p.inner;
  A a = first_value();
  for (uint i = 0; i < p.n; ++i) {
    const ulong at = base + static_cast<ulong>(reverse ? p.n - 1 - i : i) * p.inner;
    const A next = combine(kind, a, static_cast<A>(in[at]));
    out[at] = cast_to<T>(inclusive ? next : a);
    a = next;
  }
}

// --- log sum exp: sums of exponentials relative to the largest element so far ---

struct LogSum {
  float largest, sum;
};
METAL_FUNC float less_of(float a, float b) { return a == b ? 0.0f : a - b; }  // of equal infinities as well
METAL_FUNC LogSum added(LogSum a, LogSum b) {
  const float m = combine(max_kind, a.largest, b.largest);
  return {m, a.sum * exp(less_of(a.largest, m)) + b.sum * exp(less_of(b.largest, m))};
}
METAL_FUNC T value_of(LogSum x) { return cast_to<T>(x.sum == 0 ? -INFINITY : log(x.sum) + x.largest); }

kernel void log_rows(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant Scan& p [[buffer(2)]],
                     uint group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                     uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint line = group * simds + simd;
  if (line >= p.lines) return;
  const ulong base = static_cast<ulong>(line) * p.n;
  LogSum carry = {-INFINITY, 0};
  for (uint first = 0; first < p.n; first += 32) {
    const uint i = first + lane;
    const ulong at = base + (reverse ? p.n - 1 - i : i);
    LogSum v = {-INFINITY, 0};
    if (i < p.n) v = {static_cast<float>(in[at]), 1};
    for (ushort delta = 1; delta < 32; delta *= 2) {
      const LogSum before = {simd_shuffle_up(v.largest, delta), simd_shuffle_up(v.sum, delta)};
      if (lane >= delta) v = added(before, v);
    }
    const LogSum before = {simd_shuffle_up(v.largest, 1), simd_shuffle_up(v.sum, 1)};
    const LogSum all = {simd_shuffle(v.largest, 31), simd_shuffle(v.sum, 31)};
    LogSum result = carry;
    if (inclusive) {
      result = added(carry, v);
    } else if (lane != 0) {
      result = added(carry, before);
    }
    carry = added(carry, all);
    if (i < p.n) out[at] = value_of(result);
  }
}
kernel void log_columns(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant Scan& p [[buffer(2)]],
                        uint line [[thread_position_in_grid]]) {
  const ulong base = static_cast<ulong>(line / p.inner) * p.n * p.inner + line % p.inner;
  LogSum a = {-INFINITY, 0};
  for (uint i = 0; i < p.n; ++i) {
    const ulong at = base + static_cast<ulong>(reverse ? p.n - 1 - i : i) * p.inner;
    const LogSum one = {static_cast<float>(in[at]), 1}, next = added(a, one);
    out[at] = value_of(inclusive ? next : a);
    a = next;
  }
}
