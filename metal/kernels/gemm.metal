// Products of matrices: out = alpha * a b + beta * c; T is defined in front of this text. Operands have any strides.
//
// A threadgroup of 4 SIMD-groups makes a tile of 64 x 64; each SIMD-group a quarter, 4 x 4 matrices of 8 x 8, in
// float32. Panels of 64 x 16 go through threadgroup memory, read so that lanes are neighbours in memory.
// Bytes moved: a is read n / 64 times and b m / 64 times, which is the least for tiles of this shape; out is written
// once. Arithmetic intensity: 2 * 64 * 64 / (2 * 64) = 64 operations per element that is read, 16 per byte of float32.
#include "metal/kernels/types.h"

constant bool has_c [[function_constant(0)]];
constant bool a_by_rows [[function_constant(1)]];  // neighbours along k
constant bool b_by_rows [[function_constant(2)]];  // neighbours along n

struct Gemm {
  uint m, n, k, dims;  // dims: of the batch
  long a_first, a_row, a_column, b_first, b_row, b_column, c_first, c_row, c_column;
  float alpha, beta;
};
struct Offsets {
  long a, b, c;
};
// Strides of a, b and c, `dims` each.
METAL_FUNC Offsets offsets_of(uint batch, constant Gemm& p, constant uint* shape, constant long* strides) {
  Offsets o = {p.a_first, p.b_first, p.c_first};
  for (uint d = p.dims; d-- > 0;) {
    const long i = batch % shape[d];
    batch /= shape[d];
    o.a += i * strides[d];
    o.b += i * strides[p.dims + d];
    if (has_c) o.c += i * strides[2 * p.dims + d];
  }
  return o;
}

constant constexpr uint tile = 64, depth = 16, a_pitch = depth + 4, b_pitch = tile + 4, group_threads = 128;

kernel void gemm(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]],
                 device const T* c [[buffer(2), function_constant(has_c)]], device T* out [[buffer(3)]],
                 constant Gemm& p [[buffer(4)]], constant uint* shape [[buffer(5)]], constant long* strides [[buffer(6)]],
                 uint3 group [[threadgroup_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                 uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup T a_panel[tile * a_pitch];
  threadgroup T b_panel[depth * b_pitch];
  threadgroup float result[tile * tile];
  const Offsets o = offsets_of(group.z, p, shape, strides);
  const uint row0 = group.y * tile, column0 = group.x * tile;
  const uint simd_row = simd / 2 * 32, simd_column = simd % 2 * 32;
  simdgroup_matrix<float, 8, 8> sums[4][4];
  for (uint i = 0; i < 4; ++i)
    for (uint j = 0; j < 4; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k0 = 0; k0 < p.k; k0 += depth) {
    for (uint e = t; e < tile * depth; e += group_threads) {
      const uint i = a_by_rows ? e / depth : e % tile, k = a_by_rows ? e % depth : e / tile;
      const bool inside = row0 + i < p.m && k0 + k < p.k;
      a_panel[i * a_pitch + k] =
          inside ? a[o.a + static_cast<long>(row0 + i) * p.a_row + static_cast<long>(k0 + k) * p.a_column]
                 : static_cast<T>(0);
    }
    for (uint e = t; e < tile * depth; e += group_threads) {
      const uint j = b_by_rows ? e % tile : e / depth, k = b_by_rows ? e / tile : e % depth;
      const bool inside = column0 + j < p.n && k0 + k < p.k;
      b_panel[k * b_pitch + j] =
          inside ? b[o.b + static_cast<long>(k0 + k) * p.b_row + static_cast<long>(column0 + j) * p.b_column]
                 : static_cast<T>(0);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < depth; k += 8) {
      simdgroup_matrix<T, 8, 8> x[4], y[4];
      for (uint i = 0; i < 4; ++i)
        simdgroup_load(x[i], a_panel + (simd_row + 8 * i) * a_pitch + k, static_cast<ulong>(a_pitch));
      for (uint j = 0; j < 4; ++j)
        simdgroup_load(y[j], b_panel + k * b_pitch + simd_column + 8 * j, static_cast<ulong>(b_pitch));
      for (uint i = 0; i < 4; ++i)
        for (uint j = 0; j < 4; ++j) simdgroup_multiply_accumulate(sums[i][j], x[i], y[j], sums[i][j]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < 4; ++i)
    for (uint j = 0; j < 4; ++j)
      simdgroup_store(sums[i][j], result + (simd_row + 8 * i) * tile + simd_column + 8 * j, static_cast<ulong>(tile));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device T* to = out + static_cast<ulong>(group.z) * p.m * p.n;
  for (uint e = t; e < tile * tile; e += group_threads) {
    const uint i = row0 + e / tile, j = column0 + e % tile;
    if (i >= p.m || j >= p.n) continue;
    float v = p.alpha * result[e];
    if (has_c) v += p.beta * static_cast<float>(c[o.c + static_cast<long>(i) * p.c_row + static_cast<long>(j) * p.c_column]);
    to[static_cast<ulong>(i) * p.n + j] = static_cast<T>(v);
  }
}

// A matrix (a_row apart, neighbours along k) times a vector b: a SIMD-group per row. The matrix is read once, which is
// the least there is; two operations per element, so memory decides.
kernel void gemv(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]],
                 device const T* c [[buffer(2), function_constant(has_c)]], device T* out [[buffer(3)]],
                 constant Gemm& p [[buffer(4)]], constant uint* shape [[buffer(5)]], constant long* strides [[buffer(6)]],
                 uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                 uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint row = group.x * simds + simd;
  if (row >= p.m) return;
  const Offsets o = offsets_of(group.z, p, shape, strides);
  device const T* x = a + o.a + static_cast<long>(row) * p.a_row;
  float sum = 0;
  for (uint k = lane; k < p.k; k += 32)
    sum += static_cast<float>(x[k]) * static_cast<float>(b[o.b + static_cast<long>(k) * p.b_row]);
  sum = simd_sum(sum);
  if (lane != 0) return;
  float v = p.alpha * sum;
  if (has_c) v += p.beta * static_cast<float>(c[o.c + static_cast<long>(row) * p.c_row]);
  out[static_cast<ulong>(group.z) * p.m + row] = static_cast<T>(v);
}
