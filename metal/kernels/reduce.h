// Reductions within a SIMD-group and a threadgroup, for any operation and type.
#pragma once
#include "metal/kernels/types.h"

// As host code numbers them (metal/host/reduce.cpp).
constant constexpr int sum_kind = 0, prod_kind = 1, max_kind = 2, min_kind = 3, any_kind = 4, all_kind = 5;

// What a type is accumulated in.
template <class T>
struct Accumulator {
  typedef float type;
};
template <>
struct Accumulator<bool> {
  typedef int type;
};
template <>
struct Accumulator<int8_t> {
  typedef int type;
};
template <>
struct Accumulator<int16_t> {
  typedef int type;
};
template <>
struct Accumulator<int> {
  typedef int type;
};
template <>
struct Accumulator<uint8_t> {
  typedef uint type;
};
template <>
struct Accumulator<uint16_t> {
  typedef uint type;
};
template <>
struct Accumulator<uint> {
  typedef uint type;
};
template <>
struct Accumulator<long> {
  typedef long type;
};
template <>
struct Accumulator<ulong> {
  typedef ulong type;
};
template <>
struct Accumulator<complex64_t> {
  typedef complex64_t type;
};

// SIMD functions know no 64-bit integers.
template <class T>
METAL_FUNC T lane_xor(T x, ushort mask) {
  return simd_shuffle_xor(x, mask);
}
METAL_FUNC long lane_xor(long x, ushort mask) {
  return as_type<long>(simd_shuffle_xor(as_type<uint2>(x), mask));
}
METAL_FUNC ulong lane_xor(ulong x, ushort mask) {
  return as_type<ulong>(simd_shuffle_xor(as_type<uint2>(x), mask));
}

METAL_FUNC complex64_t lane_xor(complex64_t x, ushort mask) {
  return {simd_shuffle_xor(x.re, mask), simd_shuffle_xor(x.im, mask)};
}

template <class T>
struct Limits {
  static METAL_FUNC T lowest() { return numeric_limits<T>::lowest(); }
  static METAL_FUNC T highest() { return numeric_limits<T>::max(); }
};
template <>
struct Limits<float> {
  static METAL_FUNC float lowest() { return -INFINITY; }
  static METAL_FUNC float highest() { return INFINITY; }
};
template <>
struct Limits<complex64_t> {
  static METAL_FUNC complex64_t lowest() { return {-INFINITY, -INFINITY}; }
  static METAL_FUNC complex64_t highest() { return {INFINITY, INFINITY}; }
};
// 0 and 1
template <class A>
METAL_FUNC A truth(bool x) {
  return static_cast<A>(x);
}
template <>
METAL_FUNC complex64_t truth<complex64_t>(bool x) {
  return {x ? 1.0f : 0.0f, 0.0f};
}

// a then b; a nan wins.
template <class A>
METAL_FUNC A combine(int kind, A a, A b) {
  switch (kind) {
    case sum_kind:
      return a + b;
    case prod_kind:
      return a * b;
    case max_kind:
      return a != a || a > b ? a : b;
    case min_kind:
      return a != a || a < b ? a : b;
    case any_kind:
      return truth<A>(static_cast<bool>(a) || static_cast<bool>(b));
    default:
      return truth<A>(static_cast<bool>(a) && static_cast<bool>(b));
  }
}
template <class A>
METAL_FUNC A start_of(int kind) {
  switch (kind) {
    case max_kind:
      return Limits<A>::lowest();
    case min_kind:
      return Limits<A>::highest();
    case prod_kind:
    case all_kind:
      return truth<A>(true);
    default:
      return truth<A>(false);
  }
}

// Every lane gets the result.
template <class A>
METAL_FUNC A simd_combine(int kind, A x) {
  for (ushort mask = 16; mask > 0; mask /= 2) x = combine(kind, x, lane_xor(x, mask));
  return x;
}
METAL_FUNC float simd_combine(int kind, float x) {
  if (kind == sum_kind) return simd_sum(x);
  for (ushort mask = 16; mask > 0; mask /= 2) x = combine(kind, x, lane_xor(x, mask));
  return x;
}

// Every thread gets the result. `parts` has room for 32 and may be used again after another barrier. All
// threads of a group of whole SIMD-groups call it.
template <class A>
METAL_FUNC A group_combine(int kind, A x, threadgroup A* parts, uint lane, uint simd, uint simds) {
  x = simd_combine(kind, x);
  if (simds == 1) return x;
  if (lane == 0) parts[simd] = x;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  A part = start_of<A>(kind);
  if (lane < simds) part = parts[lane];
  return simd_combine(kind, part);
}

// Of means.
template <class X>
METAL_FUNC float divided(X x, float by) {
  return static_cast<float>(x) / by;
}
METAL_FUNC complex64_t divided(complex64_t x, float by) { return {x.re / by, x.im / by}; }
