// Attention of few queries (decoding). A threadgroup takes a head of keys and up to four rows of queries that read
// it: rows of one head, or of the heads of a group. Its eight SIMD-groups take every eighth key of the threadgroup's
// part; a lane holds PER elements of each row, key and value. Bytes moved: k and v once for four rows, 4 * rows *
// d operations on 2 * d elements of a key and its value: rows / 2 to rows operations per byte, bound by memory.
// Threadgroup memory: 1 KiB of PER = 8 for each SIMD-group; registers of PER = 4 and four rows: 16 of q, 16 sums.
// Where a part is not all keys, sums go to `partial`, and attention_join adds them.
#include "metal/kernels/attention.h"

constant int rows [[function_constant(5)]];   // of queries in a threadgroup: 1 to 4
constant bool parts [[function_constant(6)]];  // partial results
constant bool whole = !parts;
constant constexpr int simds = 8;

template <class T, int PER>
METAL_FUNC void load_lane(thread float* to, device const T* from, uint lane, int length) {
  const int first = static_cast<int>(lane) * PER;
  if (vectors && PER % 4 == 0 && first + PER <= length) {
    for (int i = 0; i < PER; i += 4) {
      const float4 four = static_cast<float4>(*reinterpret_cast<device const vec<T, 4>*>(from + first + i));
      for (int j = 0; j < 4; ++j) to[(i + j) % PER] = four[j];
    }
  } else {
    for (int i = 0; i < PER; ++i) to[i] = first + i < length ? static_cast<float>(from[first + i]) : 0.0f;
  }
}

template <class T, int PER>
[[kernel, max_total_threads_per_threadgroup(256)]] void attention_vector(
    device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
    device T* out [[buffer(3), function_constant(whole)]], device float2* stats [[buffer(4)]],
    constant AttentionParams& p [[buffer(5)]],
    device const bool* allowed [[buffer(6), function_constant(has_allowed)]],
    device const T* added [[buffer(7), function_constant(has_mask)]],
    device const float* sinks [[buffer(8), function_constant(has_sinks)]],
    device float* partial [[buffer(9), function_constant(parts)]], uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]) {
  threadgroup float held[simds * 32 * PER];
  threadgroup float2 held_stats[simds * 4];
  const int share = p.heads / p.kv_heads, all = share * p.lq, blocks = (all + rows - 1) / rows;
  const int kv_head = static_cast<int>(group.x) / blocks, first = static_cast<int>(group.x) % blocks * rows;
  const int last = p.lk - p.lq, begin = static_cast<int>(group.y) * p.part, end = min(begin + p.part, p.lk);
  k += place_of(p.k, group.z, kv_head, 0, 3);
  v += place_of(p.v, group.z, kv_head, 0, 3);

  float queries[4][PER], sums[4][PER], highest[4], total[4];
  int row_of[4];
  long mask_row[4];
  const Mask<T> mask = {allowed, added, p.mask[3]};
  for (int r = 0; r < rows; ++r) {
    // Rows beyond the last do its work again and keep it to themselves.
    const int at = min(first + r, all - 1), head = kv_head * share + at / p.lq;
    row_of[r] = at % p.lq;
    load_lane<T, PER>(queries[r], q + place_of(p.q, group.z, head, row_of[r], 3), lane, p.d);
    mask_row[r] = has_allowed || has_mask ? place_of(p.mask, group.z, head, row_of[r], 4) : 0;
    for (int i = 0; i < PER; ++i) sums[r][i] = 0, queries[r][i] *= p.scale;
    highest[r] = -INFINITY;
    total[r] = 0;
  }
  for (int key = begin + static_cast<int>(simd); key < end; key += simds) {
    float part[PER], score[4];
    load_lane<T, PER>(part, k + key * p.k[2], lane, p.d);
    for (int r = 0; r < rows; ++r) {
      float sum = 0;
      for (int i = 0; i < PER; ++i) sum += queries[r][i] * part[i];
      score[r] = simd_sum(sum);
    }
    load_lane<T, PER>(part, v + key * p.v[2], lane, p.dv);
    for (int r = 0; r < rows; ++r) {
      // One lane reads the mask.
      float s = lane == 0 ? mask(score[r], row_of[r], key, last, mask_row[r]) : 0.0f;
      s = simd_broadcast(s, 0);
      const float most = max(highest[r], s), base = most == -INFINITY ? 0.0f : most;
      const float factor = exp2(highest[r] - base), weight = exp2(s - base);
      highest[r] = most;
      total[r] = total[r] * factor + weight;
      for (int i = 0; i < PER; ++i) sums[r][i] = sums[r][i] * factor + weight * part[i];
    }
  }

  if (lane == 0)
    for (int r = 0; r < rows; ++r) held_stats[simd * 4 + r] = float2(highest[r], total[r]);
  for (int r = 0; r < rows; ++r) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < PER; ++i) held[(simd * 32 + lane) * PER + i] = sums[r][i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (first + r >= all) continue;
    const int head = kv_head * share + (first + r) / p.lq;
    float most = has_sinks && whole ? sinks[head] * log2e : -INFINITY;
    for (int s = 0; s < simds; ++s) most = max(most, held_stats[s * 4 + r].x);
    const float base = most == -INFINITY ? 0.0f : most;
    float sum = has_sinks && whole ? exp2(sinks[head] * log2e - base) : 0.0f;
    for (int s = 0; s < simds; ++s) sum += exp2(held_stats[s * 4 + r].x - base) * held_stats[s * 4 + r].y;
    const long at = (static_cast<long>(group.z) * p.heads + head) * p.lq + row_of[r];
    const long to = parts ? at * groups.y + group.y : at;
    if (index == 0) stats[to] = float2(most, parts ? sum : 1.0f / sum);
    for (int i = static_cast<int>(index); i < p.dv; i += simds * 32) {
      float value = 0;
      for (int s = 0; s < simds; ++s) value += exp2(held_stats[s * 4 + r].x - base) * held[s * 32 * PER + i];
      if (parts) {
        partial[to * p.dv + i] = value;
      } else {
        out[to * p.dv + i] = static_cast<T>(value / sum);
      }
    }
  }
}

// The second pass: one SIMD-group per row. Bytes moved: 4 * dv per part and row read, the result written once.
template <class T>
[[kernel, max_total_threads_per_threadgroup(32)]] void attention_join(
    device const float* partial [[buffer(0)]], device const float2* part_stats [[buffer(1)]],
    device T* out [[buffer(2)]], device float2* stats [[buffer(3)]], constant AttentionParams& p [[buffer(4)]],
    device const float* sinks [[buffer(5), function_constant(has_sinks)]],
    uint at [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  const int count = (p.lk + p.part - 1) / p.part;
  partial += static_cast<long>(at) * count * p.dv;
  part_stats += static_cast<long>(at) * count;
  const float sink = has_sinks ? sinks[at / p.lq % p.heads] * log2e : -INFINITY;
  // At most 32 parts: one for each lane.
  const float2 mine = static_cast<int>(lane) < count ? part_stats[lane] : float2(-INFINITY, 0);
  const float most = max(sink, simd_max(mine.x)), base = most == -INFINITY ? 0.0f : most;
  const float weight = exp2(mine.x - base);
  const float sum = simd_sum(weight * mine.y) + (has_sinks ? exp2(sink - base) : 0.0f);
  if (lane == 0) stats[at] = float2(most, 1.0f / sum);
  for (int c = 0; c < p.dv; c += 32) {
    const int i = c + static_cast<int>(lane);
    float value = 0;
    for (int s = 0; s < count; ++s) {
      const float w = simd_shuffle(weight, static_cast<ushort>(s));
      if (i < p.dv) value += w * partial[s * p.dv + i];
    }
    if (i < p.dv) out[static_cast<long>(at) * p.dv + i] = static_cast<T>(value / sum);
  }
}
