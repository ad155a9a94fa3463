// Gradients of attention from what the forward pass kept of each row (its maximum and the reciprocal of its sum):
// P = exp2(S - max) / sum, delta = rowsum(dO * O), dS = P * (dO V^T - delta), dQ = scale dS K, dK = scale dS^T Q,
// dV = P^T dO. Scores are computed again, in both kernels; each sum has one order. Blocks of the other side
// come through threadgroup memory, 16 of each of two operands: 16.5 KiB of D = 128 in float32, 8.5 in 16 bits.
// Bytes moved: attention_dq q, o, dO, dQ once and k, v once per 32 rows; attention_dkv k, v, dK, dV once and q, dO of all
// heads of the group once per 32 keys: 96 * d operations on 2 * d elements of each pair of rows, 12 (24 in 16 bits)
// operations per byte and more. Registers of D = 128 in float32: three (attention_dq) or four (attention_dkv) times
// 32; the second keeps few SIMD-groups in flight there, half of that in 16 bits.
#include "metal/kernels/attention.h"

constant constexpr int block = 16;

template <class T>
METAL_FUNC vec<T, 2> rounded(float2 x) {
  return vec<T, 2>(static_cast<T>(x.x), static_cast<T>(x.y));
}

// 8 by `block` products of rows in registers with rows in threadgroup memory.
template <class T, int D, int PITCH>
METAL_FUNC void multiply_rows(thread simdgroup_matrix<float, 8, 8>* to, thread const simdgroup_matrix<T, 8, 8>* rows,
                              threadgroup const T* tile) {
  for (int j = 0; j < block / 8; ++j) {
    to[j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int i = 0; i < D / 8; ++i) {
      simdgroup_matrix<T, 8, 8> part;
      simdgroup_load(part, tile + j * 8 * PITCH + i * 8, PITCH, ulong2(0), true);
      simdgroup_multiply_accumulate(to[j], rows[i], part, to[j]);
    }
  }
}
// sums += weights (8 by `block`) times rows in threadgroup memory.
template <class T, int D, int PITCH>
METAL_FUNC void add_rows(thread simdgroup_matrix<float, 8, 8>* sums, thread const simdgroup_matrix<T, 8, 8>* weights,
                         threadgroup const T* tile) {
  for (int j = 0; j < block / 8; ++j)
    for (int i = 0; i < D / 8; ++i) {
      simdgroup_matrix<T, 8, 8> part;
      simdgroup_load(part, tile + j * 8 * PITCH + i * 8, PITCH);
      simdgroup_multiply_accumulate(sums[i], weights[j], part, sums[i]);
    }
}
// A tile of 32 rows of the device to 8 rows in the registers of each SIMD-group.
template <class T, int D, int PITCH>
METAL_FUNC void hold_rows(thread simdgroup_matrix<T, 8, 8>* rows, threadgroup T* tile, device const T* from, long pitch,
                          int count, int length, uint simd, uint index) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  load_tile<T, 32, D, PITCH, 128>(tile, from, pitch, count, length, vectors, index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int i = 0; i < D / 8; ++i) simdgroup_load(rows[i], tile + simd * 8 * PITCH + i * 8, PITCH);
}
template <class T, int D>
METAL_FUNC void store_rows(device T* to, thread simdgroup_matrix<float, 8, 8>* sums, int length, float factor,
                           ushort2 place) {
  for (int i = 0; i < D / 8; ++i) {
    const float2 pair = float2(sums[i].thread_elements()) * factor;
    for (int e = 0; e < 2; ++e) {
      const int column = i * 8 + place.x + e;
      if (column < length) to[column] = static_cast<T>(pair[e]);
    }
  }
}

// Strides of o and dO: as those of q in AttentionParams.
struct BackwardParams {
  float scale;  // in natural units
  int unused;
  long o[4], dout[4];
};

template <class T, int D>
[[kernel, max_total_threads_per_threadgroup(128)]] void attention_dq(
    device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
    device const T* o [[buffer(3)]], device const T* dout [[buffer(4)]], constant AttentionParams& p [[buffer(5)]],
    device const bool* allowed [[buffer(6), function_constant(has_allowed)]],
    device const T* added [[buffer(7), function_constant(has_mask)]], constant BackwardParams& b [[buffer(8)]],
    device const float2* stats [[buffer(9)]], device float* delta [[buffer(10)]], device T* dq [[buffer(11)]],
    uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    ushort lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]) {
  const int pitch = D + 16 / sizeof(T), steps = D / 8;
  threadgroup T tile[2 * block * pitch];
  threadgroup T* second = tile + block * pitch;
  const int head = static_cast<int>(group.y), kv_head = head / (p.heads / p.kv_heads), last = p.lk - p.lq;
  const int q0 = static_cast<int>(group.x) * 32;
  k += place_of(p.k, group.z, kv_head, 0, 3);
  v += place_of(p.v, group.z, kv_head, 0, 3);
  const ushort2 place = matrix_place(lane);
  const int row = q0 + static_cast<int>(simd) * 8 + place.y;
  const long at = (static_cast<long>(group.z) * p.heads + head) * p.lq + row;

  simdgroup_matrix<T, 8, 8> queries[steps], gradients[steps];
  simdgroup_matrix<float, 8, 8> sums[steps];
  hold_rows<T, D, pitch>(queries, tile, o + place_of(b.o, group.z, head, q0, 3), b.o[2], p.lq - q0, p.dv, simd, index);
  hold_rows<T, D, pitch>(gradients, tile, dout + place_of(b.dout, group.z, head, q0, 3), b.dout[2], p.lq - q0, p.dv, simd, index);
  float2 products = 0;
  for (int i = 0; i < steps; ++i) {
    products += float2(queries[i].thread_elements()) * float2(gradients[i].thread_elements());
    sums[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  const float mine = row_sum(products.x + products.y);
  if (place.x == 0 && row < p.lq) delta[at] = mine;
  hold_rows<T, D, pitch>(queries, tile, q + place_of(p.q, group.z, head, q0, 3), p.q[2], p.lq - q0, p.d, simd, index);
  const Mask<T> mask = {allowed, added, p.mask[3]};
  const long mask_row = has_allowed || has_mask ? place_of(p.mask, group.z, head, min(row, p.lq - 1), 4) : 0;
  const float2 of_row = row < p.lq ? stats[at] : float2(0);

  const int keys = keys_of(q0, 32, p);
  for (int k0 = 0; k0 < keys; k0 += block) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, block, D, pitch, 128>(tile, k + k0 * p.k[2], p.k[2], p.lk - k0, p.d, vectors, index);
    load_tile<T, block, D, pitch, 128>(second, v + k0 * p.v[2], p.v[2], p.lk - k0, p.dv, vectors, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_matrix<float, 8, 8> scores[block / 8], steep[block / 8];
    simdgroup_matrix<T, 8, 8> weights[block / 8];
    multiply_rows<T, D, pitch>(scores, queries, tile);
    multiply_rows<T, D, pitch>(steep, gradients, second);
    for (int j = 0; j < block / 8; ++j) {
      float2 pair = scores[j].thread_elements();
      const float2 slope = steep[j].thread_elements();
      for (int e = 0; e < 2; ++e) {
        const int key = k0 + j * 8 + place.x + e;
        const float s = key < p.lk && row < p.lq ? mask(pair[e] * p.scale, row, key, last, mask_row) : excluded;
        pair[e] = s == excluded ? 0.0f : exp2(s - of_row.x) * of_row.y * (slope[e] - mine);
      }
      weights[j].thread_elements() = rounded<T>(pair);
    }
    add_rows<T, D, pitch>(sums, weights, tile);
  }
  if (row < p.lq) store_rows<T, D>(dq + at * p.d, sums, p.d, b.scale, place);
}

template <class T, int D>
[[kernel, max_total_threads_per_threadgroup(128)]] void attention_dkv(
    device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
    device const T* o [[buffer(3)]], device const T* dout [[buffer(4)]], constant AttentionParams& p [[buffer(5)]],
    device const bool* allowed [[buffer(6), function_constant(has_allowed)]],
    device const T* added [[buffer(7), function_constant(has_mask)]], constant BackwardParams& b [[buffer(8)]],
    device const float2* stats [[buffer(9)]], device const float* delta [[buffer(10)]], device T* dk [[buffer(11)]],
    device T* dv [[buffer(12)]], uint3 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], ushort lane [[thread_index_in_simdgroup]],
    uint index [[thread_index_in_threadgroup]]) {
  const int pitch = D + 16 / sizeof(T), steps = D / 8;
  threadgroup T tile[2 * block * pitch];
  threadgroup float4 of_rows[block];
  threadgroup T* second = tile + block * pitch;
  const int kv_head = static_cast<int>(group.y), share = p.heads / p.kv_heads, last = p.lk - p.lq;
  const int k0 = static_cast<int>(group.x) * 32;
  const ushort2 place = matrix_place(lane);
  const int key = k0 + static_cast<int>(simd) * 8 + place.y;

  simdgroup_matrix<T, 8, 8> keys[steps], values[steps];
  simdgroup_matrix<float, 8, 8> of_keys[steps], of_values[steps];
  hold_rows<T, D, pitch>(keys, tile, k + place_of(p.k, group.z, kv_head, k0, 3), p.k[2], p.lk - k0, p.d, simd, index);
  hold_rows<T, D, pitch>(values, tile, v + place_of(p.v, group.z, kv_head, k0, 3), p.v[2], p.lk - k0, p.dv, simd, index);
  for (int i = 0; i < steps; ++i)
    of_keys[i] = of_values[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  const Mask<T> mask = {allowed, added, p.mask[3]};
  // Queries before see none of these keys (where all queries see some).
  const int begin = causal && last >= 0 ? max(0, k0 - last) / block * block : 0;

  for (int head = kv_head * share; head < (kv_head + 1) * share; ++head) {
    const long rows = (static_cast<long>(group.z) * p.heads + head) * p.lq;
    device const T* q_head = q + place_of(p.q, group.z, head, 0, 3);
    device const T* g_head = dout + place_of(b.dout, group.z, head, 0, 3);
    for (int q0 = begin; q0 < p.lq; q0 += block) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      load_tile<T, block, D, pitch, 128>(tile, q_head + q0 * p.q[2], p.q[2], p.lq - q0, p.d, vectors, index);
      load_tile<T, block, D, pitch, 128>(second, g_head + q0 * b.dout[2], b.dout[2], p.lq - q0, p.dv, vectors, index);
      if (index < block) {
        const int row = q0 + static_cast<int>(index);
        float4 r = 0;
        if (row < p.lq) {
          const float2 of_row = stats[rows + row];
          r = float4(of_row.x, of_row.y, delta[rows + row], 0);
        }
        of_rows[index] = r;
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      simdgroup_matrix<float, 8, 8> scores[block / 8], steep[block / 8];
      simdgroup_matrix<T, 8, 8> weights[block / 8], slopes[block / 8];
      multiply_rows<T, D, pitch>(scores, keys, tile);
      multiply_rows<T, D, pitch>(steep, values, second);
      for (int j = 0; j < block / 8; ++j) {
        const float2 score = scores[j].thread_elements(), slope = steep[j].thread_elements();
        float2 weight = 0, of_score = 0;
        for (int e = 0; e < 2; ++e) {
          const int i = j * 8 + place.x + e, row = q0 + i;
          if (key >= p.lk || row >= p.lq) continue;
          const long at = has_allowed || has_mask ? place_of(p.mask, group.z, head, row, 4) : 0;
          const float s = mask(score[e] * p.scale, row, key, last, at);
          const float4 of_row = of_rows[i];
          weight[e] = exp2(s - of_row.x) * of_row.y;
          of_score[e] = s == excluded ? 0.0f : weight[e] * (slope[e] - of_row.z);
        }
        weights[j].thread_elements() = rounded<T>(weight);
        slopes[j].thread_elements() = rounded<T>(of_score);
      }
      add_rows<T, D, pitch>(of_values, weights, second);
      add_rows<T, D, pitch>(of_keys, slopes, tile);
    }
  }
  if (key >= p.lk) return;
  const long at = (static_cast<long>(group.z) * p.kv_heads + kv_head) * p.lk + key;
  store_rows<T, D>(dk + at * p.d, of_keys, p.d, b.scale, place);
  store_rows<T, D>(dv + at * p.dv, of_values, p.dv, 1.0f, place);
}
