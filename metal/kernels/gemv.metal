// Products of a matrix with one to four vectors: out[v][r] = alpha * sum over k of w[r][k] x[v][k] + beta * d.
// Bytes moved: the matrix once, 16 (8) bytes per thread side by side; the vectors once per threadgroup, through
// threadgroup memory, 1/32 (1/128) of what the matrix takes. Intensity: two operations per element of the matrix and
// vector, so these are bound by memory alone. Threadgroup memory: 4 KiB for each vector, and, for the sums of
// SIMD-groups that share rows or columns, 0.5 or 4 KiB; registers: 16 sums (32 where they are folded), 4 elements of the matrix, 4 of a vector.
#include "metal/kernels/gemm.h"

constant bool vectors [[function_constant(0)]];  // lines begin at multiples of four elements
constant bool has_d [[function_constant(1)]];
constant int count [[function_constant(2)]];   // of vectors: 1 to 4
constant bool shared [[function_constant(3)]];  // gemv_rows: all SIMD-groups work on the same rows
constant bool folded [[function_constant(4)]];  // the inner dimension is long: parts of it are summed by themselves

struct GemvParams {
  int rows, k, dims, unused;
  float alpha, beta;
  long w_pitch, w_first, x_first, x_step, x_pitch, out_step, out_pitch, d_first, d_step, d_pitch;
  long w_swapped;  // 1: in the batch the matrix is b
};

constant constexpr int chunk = 1024;  // of k in threadgroup memory
constant constexpr int simds = 8;
constant constexpr int per_simd = 4;  // rows
constant constexpr int fold_rows = 64 * chunk, fold_columns = 8 * chunk;  // where sums are folded

template <class T>
METAL_FUNC void load_vectors(threadgroup float* to, device const T* x, constant GemvParams& p, int k, uint index) {
  for (int i = static_cast<int>(index); i < count * chunk; i += simds * 32) {
    const int v = i / chunk, at = i % chunk;
    to[i] = k + at < p.k ? static_cast<float>(x[v * p.x_pitch + (k + at) * p.x_step]) : 0.0f;
  }
}
template <class T>
METAL_FUNC float4 load_four(device const T* from, int exist) {
  if (vectors && exist >= 4) return static_cast<float4>(*reinterpret_cast<device const vec<T, 4>*>(from));
  float4 r = 0;
  for (int j = 0; j < 4; ++j)
    if (j < exist) r[j] = static_cast<float>(from[j]);
  return r;
}
template <class T>
METAL_FUNC void store_sum(device T* out, device const T* d, constant GemvParams& p, int r, int v, float sum) {
  float value = p.alpha * sum;
  if (has_d) value += p.beta * static_cast<float>(d[r * p.d_step + v * p.d_pitch]);
  out[r * p.out_step + v * p.out_pitch] = static_cast<T>(value);
}
struct GemvOffsets {
  long w, x, d;
};
METAL_FUNC GemvOffsets gemv_offsets(uint z, constant long* batch, constant GemvParams& p) {
  const Offsets at = offsets_of(z, batch, p.dims);
  return p.w_swapped ? GemvOffsets{at.b + p.w_first, at.a + p.x_first, at.d + p.d_first}
                     : GemvOffsets{at.a + p.w_first, at.b + p.x_first, at.d + p.d_first};
}

// A row of w lies in a line: the lanes of a SIMD-group take four elements each of four rows.
template <class T>
[[kernel, max_total_threads_per_threadgroup(256)]] void gemv_rows(
    device const T* w [[buffer(0)]], device const T* x [[buffer(1)]], device T* out [[buffer(2)]],
    constant GemvParams& p [[buffer(3)]], constant long* batch [[buffer(4)]],
    device const T* d [[buffer(5), function_constant(has_d)]], threadgroup float* held [[threadgroup(0)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint index [[thread_index_in_threadgroup]]) {
  threadgroup float parts[simds * 4 * per_simd];
  const GemvOffsets at = gemv_offsets(group.z, batch, p);
  w += at.w;
  x += at.x;
  out += group.z * static_cast<long>(p.rows) * count;
  if (has_d) d += at.d;
  const int first = static_cast<int>(shared ? group.x : group.x * simds + simd) * per_simd;
  const int rows = min(per_simd, p.rows - first);

  float sums[per_simd][4], totals[per_simd][4];
  for (int r = 0; r < per_simd; ++r)
    for (int v = 0; v < 4; ++v) sums[r][v] = totals[r][v] = 0;
  for (int k = 0; k < p.k; k += chunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_vectors(held, x, p, k, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (folded && k % fold_rows == 0)
      for (int r = 0; r < per_simd; ++r)
        for (int v = 0; v < count; ++v) {
          totals[r][v] += sums[r][v];
          sums[r][v] = 0;
        }
    const int step = shared ? 128 * simds : 128;
    for (int i = static_cast<int>((shared ? simd * 128 : 0) + lane * 4); i < min(chunk, p.k - k); i += step)
      for (int r = 0; r < rows; ++r) {
        const float4 four = load_four(w + (first + r) * p.w_pitch + k + i, p.k - k - i);
        for (int v = 0; v < count; ++v)
          sums[r][v] += dot(four, *reinterpret_cast<threadgroup const float4*>(held + v * chunk + i));
      }
  }
  for (int r = 0; r < per_simd; ++r)
    for (int v = 0; v < count; ++v) sums[r][v] = simd_sum(folded ? totals[r][v] + sums[r][v] : sums[r][v]);
  if (!shared) {
    if (lane == 0)
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < count; ++v) store_sum(out, d, p, first + r, v, sums[r][v]);
    return;
  }
  if (lane == 0)
    for (int r = 0; r < per_simd; ++r)
      for (int v = 0; v < count; ++v) parts[(simd * per_simd + r) * 4 + v] = sums[r][v];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int r = static_cast<int>(index) / 4, v = static_cast<int>(index) % 4;
  if (r < rows && v < count) {
    float sum = 0;
    for (int i = 0; i < simds; ++i) sum += parts[(i * per_simd + r) * 4 + v];
    store_sum(out, d, p, first + r, v, sum);
  }
}

// A column of w (all rows of one k) lies in a line: a lane has four rows, SIMD-groups take every eighth k.
template <class T>
[[kernel, max_total_threads_per_threadgroup(256)]] void gemv_columns(
    device const T* w [[buffer(0)]], device const T* x [[buffer(1)]], device T* out [[buffer(2)]],
    constant GemvParams& p [[buffer(3)]], constant long* batch [[buffer(4)]],
    device const T* d [[buffer(5), function_constant(has_d)]], threadgroup float* held [[threadgroup(0)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint index [[thread_index_in_threadgroup]]) {
  threadgroup float parts[simds * 128];
  const GemvOffsets at = gemv_offsets(group.z, batch, p);
  w += at.w;
  x += at.x;
  out += group.z * static_cast<long>(p.rows) * count;
  if (has_d) d += at.d;
  const int first = static_cast<int>(group.x * 128 + lane * 4);

  float4 sums[4], totals[4];
  for (int v = 0; v < 4; ++v) sums[v] = totals[v] = 0;
  for (int k = 0; k < p.k; k += chunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_vectors(held, x, p, k, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (folded && k % fold_columns == 0)
      for (int v = 0; v < count; ++v) {
        totals[v] += sums[v];
        sums[v] = 0;
      }
    for (int i = static_cast<int>(simd); i < min(chunk, p.k - k); i += simds) {
      const float4 four = load_four(w + (k + i) * p.w_pitch + first, p.rows - first);
      for (int v = 0; v < count; ++v) sums[v] += four * held[v * chunk + i];
    }
  }
  for (int v = 0; v < count; ++v) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    *reinterpret_cast<threadgroup float4*>(parts + simd * 128 + lane * 4) = folded ? totals[v] + sums[v] : sums[v];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const int r = static_cast<int>(group.x * 128 + index);
    if (index < 128 && r < p.rows) {
      float sum = 0;
      for (int i = 0; i < simds; ++i) sum += parts[i * 128 + index];
      store_sum(out, d, p, r, v, sum);
    }
  }
}
