// Attention in one pass over the keys (FlashAttention, arXiv:2205.14135, 2307.08691): scores live in registers, nothing
// of the size lq by lk is written.
#include "metal/kernels/attention.h"

// Many queries: four SIMD-groups with 8 rows each share blocks of BK keys in threadgroup memory, first the keys,
// then the values in the same place. Bytes moved: q and the result once, k and v once per 32 rows, each mask once:
// 64 * d operations on 2 * d elements of a key and its value per row of four, 16 operations per byte in float32, 32
// in 16 bits. Threadgroup memory: 32 * (D + pad) elements, 16.5 KiB of D = 128 in float32, 8.5 in 16 bits. Registers
// of D = 128: 32 (16) of q, 32 sums, 8 scores, 8 of operands.
template <class T, int D>
[[kernel, max_total_threads_per_threadgroup(128)]] void attention(
    device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
    device T* out [[buffer(3)]], device float2* stats [[buffer(4)]], constant AttentionParams& p [[buffer(5)]],
    device const bool* allowed [[buffer(6), function_constant(has_allowed)]],
    device const T* added [[buffer(7), function_constant(has_mask)]],
    device const float* sinks [[buffer(8), function_constant(has_sinks)]],
    uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    ushort lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]) {
  const int BQ = 32, BK = 32, pitch = D + 16 / sizeof(T), steps = D / 8;
  threadgroup T tile[BK * pitch];
  const int head = static_cast<int>(group.y), kv_head = head / (p.heads / p.kv_heads), last = p.lk - p.lq;
  const int q0 = static_cast<int>(group.x) * BQ;
  q += place_of(p.q, group.z, head, q0, 3);
  k += place_of(p.k, group.z, kv_head, 0, 3);
  v += place_of(p.v, group.z, kv_head, 0, 3);

  load_tile<T, BQ, D, pitch, 128>(tile, q, p.q[2], p.lq - q0, p.d, vectors, index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<T, 8, 8> queries[steps];
  for (int i = 0; i < steps; ++i) simdgroup_load(queries[i], tile + simd * 8 * pitch + i * 8, pitch);

  const ushort2 place = matrix_place(lane);
  const int row = q0 + static_cast<int>(simd) * 8 + place.y;
  const Mask<T> mask = {allowed, added, p.mask[3]};
  const long mask_row = has_allowed || has_mask ? place_of(p.mask, group.z, head, min(row, p.lq - 1), 4) : 0;
  float highest = has_sinks ? sinks[head] * log2e : -INFINITY, total = has_sinks ? 1.0f : 0.0f;
  simdgroup_matrix<float, 8, 8> sums[steps];
  for (int i = 0; i < steps; ++i) sums[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);

  const int keys = keys_of(q0, BQ, p);
  for (int k0 = 0; k0 < keys; k0 += BK) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, BK, D, pitch, 128>(tile, k + k0 * p.k[2], p.k[2], p.lk - k0, p.d, vectors, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_matrix<float, 8, 8> scores[BK / 8];
    for (int j = 0; j < BK / 8; ++j) {
      scores[j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      for (int i = 0; i < steps; ++i) {
        simdgroup_matrix<T, 8, 8> part;
        simdgroup_load(part, tile + j * 8 * pitch + i * 8, pitch, ulong2(0), true);
        simdgroup_multiply_accumulate(scores[j], queries[i], part, scores[j]);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, BK, D, pitch, 128>(tile, v + k0 * p.v[2], p.v[2], p.lk - k0, p.dv, vectors, index);

    float most = highest;
    for (int j = 0; j < BK / 8; ++j) {
      float2 pair = scores[j].thread_elements();
      for (int e = 0; e < 2; ++e) {
        const int key = k0 + j * 8 + place.x + e;
        pair[e] = key < p.lk && row < p.lq ? mask(pair[e] * p.scale, row, key, last, mask_row) : -INFINITY;
        most = max(most, pair[e]);
      }
      scores[j].thread_elements() = pair;
    }
    most = row_max(most);
    const float base = most == -INFINITY ? 0.0f : most, factor = exp2(highest - base);
    highest = most;
    float sum = 0;
    simdgroup_matrix<T, 8, 8> weights[BK / 8];
    for (int j = 0; j < BK / 8; ++j) {
      const float2 pair = exp2(float2(scores[j].thread_elements()) - base);
      sum += pair.x + pair.y;
      weights[j].thread_elements() = vec<T, 2>(static_cast<T>(pair.x), static_cast<T>(pair.y));
    }
    total = total * factor + row_sum(sum);
    for (int i = 0; i < steps; ++i) sums[i].thread_elements() = float2(sums[i].thread_elements()) * factor;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int j = 0; j < BK / 8; ++j)
      for (int i = 0; i < steps; ++i) {
        simdgroup_matrix<T, 8, 8> part;
        simdgroup_load(part, tile + j * 8 * pitch + i * 8, pitch);
        simdgroup_multiply_accumulate(sums[i], weights[j], part, sums[i]);
      }
  }
  if (row >= p.lq) return;
  const long at = (static_cast<long>(group.z) * p.heads + head) * p.lq + row;
  const float over = 1.0f / total;
  if (place.x == 0) stats[at] = float2(highest, over);
  out += at * p.dv;
  for (int i = 0; i < steps; ++i) {
    const float2 pair = float2(sums[i].thread_elements()) * over;
    for (int e = 0; e < 2; ++e) {
      const int column = i * 8 + place.x + e;
      if (column < p.dv) out[column] = static_cast<T>(pair[e]);
    }
  }
}
