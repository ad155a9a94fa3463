// How many elements of a mask are true before each one: counts of blocks, their sums, then ranks. A mask is read twice, a
// byte per element; what is written is a number per element.
#include <metal_stdlib>
using namespace metal;

constant constexpr uint per_thread = 4, threads = 256, block = per_thread * threads;

// What is before this thread's part in the threadgroup, and the sum of all; `parts` has room for 8.
struct Before {
  uint here, all;
};
METAL_FUNC Before before_in_group(uint count, threadgroup uint* parts, uint lane, uint simd) {
  const uint in_simd = simd_prefix_exclusive_sum(count);
  if (lane == 31) parts[simd] = in_simd + count;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  Before b = {in_simd, 0};
  for (uint i = 0; i < threads / 32; ++i) {
    if (i < simd) b.here += parts[i];
    b.all += parts[i];
  }
  return b;
}
// Which of a thread's elements are true, as bits.
METAL_FUNC uint flags_of(device const bool* mask, ulong first, ulong n) {
  uint flags = 0;
  for (uint k = 0; k < per_thread; ++k)
    if (first + k < n && mask[first + k]) flags |= 1u << k;
  return flags;
}

kernel void counts(device const bool* mask [[buffer(0)]], device uint* out [[buffer(1)]], constant ulong& n [[buffer(2)]],
                   uint group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]], uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint parts[threads / 32];
  const uint flags = flags_of(mask, static_cast<ulong>(group) * block + thread_index * per_thread, n);
  const Before b = before_in_group(popcount(flags), parts, lane, simd);
  if (thread_index == 0) out[group] = b.all;
}

// One threadgroup: what is before each block, in place; behind the last one, the number of all.
kernel void starts(device uint* counts [[buffer(0)]], constant uint& blocks [[buffer(1)]],
                   uint thread_index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                   uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint parts[threads / 32];
  uint carry = 0;
  for (uint first = 0; first < blocks; first += threads) {
    const uint i = first + thread_index;
    const Before b = before_in_group(i < blocks ? counts[i] : 0, parts, lane, simd);
    if (i < blocks) counts[i] = carry + b.here;
    carry += b.all;
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (thread_index == 0) counts[blocks] = carry;
}

kernel void ranks(device const bool* mask [[buffer(0)]], device const uint* starts [[buffer(1)]],
                  device uint* out [[buffer(2)]], constant ulong& n [[buffer(3)]], uint group [[threadgroup_position_in_grid]],
                  uint thread_index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                  uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint parts[threads / 32];
  const ulong first = static_cast<ulong>(group) * block + thread_index * per_thread;
  const uint flags = flags_of(mask, first, n);
  uint rank = starts[group] + before_in_group(popcount(flags), parts, lane, simd).here;
  for (uint k = 0; k < per_thread; ++k) {
    if (first + k >= n) break;
    out[first + k] = rank;
    rank += (flags >> k) & 1;
  }
}

// --- distinct values of a sorted sequence: `begins` and its ranks say where each one begins ---

struct Unique {
  uint n, size;
};
kernel void unique_places(device const bool* begins [[buffer(0)]], device const uint* ranks [[buffer(1)]],
                          device const uint* order [[buffer(2)]], device uint* index [[buffer(3)]],
                          device uint* inverse [[buffer(4)]], device uint* firsts [[buffer(5)]],
                          constant Unique& p [[buffer(6)]], uint i [[thread_position_in_grid]]) {
  const uint which = ranks[i] + (begins[i] ? 1 : 0) - 1;
  inverse[order[i]] = p.size == 0 ? 0 : min(which, p.size - 1);
  if (!begins[i] || which > p.size) return;
  firsts[which] = i;
  if (which < p.size) index[which] = order[i];
}
// starts[blocks] is the number of distinct values; places that are left get the smallest one.
kernel void unique_counts(device const uint* starts [[buffer(0)]], constant uint& blocks [[buffer(1)]],
                          device const uint* order [[buffer(2)]], device const uint* firsts [[buffer(3)]],
                          device uint* index [[buffer(4)]], device int* counts [[buffer(5)]], constant Unique& p [[buffer(6)]],
                          uint i [[thread_position_in_grid]]) {
  const uint distinct = starts[blocks];
  if (i < distinct) {
    const uint end = i + 1 < distinct ? firsts[i + 1] : p.n;
    counts[i] = static_cast<int>(end - firsts[i]);
  } else {
    counts[i] = 0;
    index[i] = order[0];
  }
}
