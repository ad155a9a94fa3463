// Products of matrices of complex numbers, which the matrix units do not know: c = a b, or alpha a b + beta d.
//
// A threadgroup of 8 by 8 threads computes 32 by 32 elements, a thread 4 by 4 of them, 16 of the inner dimension at a
// time. Bytes read: 8 k (m n / 32 + n m / 32), the least of the tile; written: 8 m n. Intensity: 8 operations per pair, 16
// per byte read. Threadgroup memory: 8.5 KiB. Registers: 16 sums (32 where they are
// folded) and 8 operands, of two floats.
#include "metal/kernels/gemm.h"

constant bool has_d [[function_constant(0)]];
constant bool folded [[function_constant(1)]];  // the inner dimension is long: parts of it are summed by themselves
constant constexpr int part = 2048;

struct ProductParams {
  int m, n, k, dims;
  float alpha, beta;
  long a_row, a_column, b_row, b_column, d_row, d_column, a_first, b_first, d_first;
};

[[kernel, max_total_threads_per_threadgroup(64)]] void complex_product(
    device const complex64_t* a [[buffer(0)]], device const complex64_t* b [[buffer(1)]], device complex64_t* c [[buffer(2)]],
    constant ProductParams& p [[buffer(3)]], constant long* batch [[buffer(4)]],
    device const complex64_t* d [[buffer(5), function_constant(has_d)]], uint3 group [[threadgroup_position_in_grid]],
    uint2 thread_at [[thread_position_in_threadgroup]], uint index [[thread_index_in_threadgroup]]) {
  constexpr int tile = 32, depth = 16, per_thread = 4;
  threadgroup complex64_t a_tile[tile * (depth + 1)];
  threadgroup complex64_t b_tile[depth * (tile + 1)];
  const Offsets at = offsets_of(group.z, batch, p.dims);
  const int row = static_cast<int>(group.y) * tile, column = static_cast<int>(group.x) * tile;
  a += p.a_first + at.a + row * p.a_row;
  b += p.b_first + at.b + column * p.b_column;
  const int m = p.m - row, n = p.n - column;
  const complex64_t zero = {0, 0};
  complex64_t sums[per_thread][per_thread], totals[per_thread][per_thread];
  for (int i = 0; i < per_thread; ++i)
    for (int j = 0; j < per_thread; ++j) sums[i][j] = totals[i][j] = zero;
  for (int k = 0; k < p.k; k += depth) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (folded && k % part == 0)
      for (int i = 0; i < per_thread; ++i)
        for (int j = 0; j < per_thread; ++j) {
          totals[i][j] = totals[i][j] + sums[i][j];
          sums[i][j] = zero;
        }
    for (int i = static_cast<int>(index); i < tile * depth; i += 64) {
      // Neighbouring threads along what lies together.
      const int r = p.a_row == 1 ? i % tile : i / depth, ka = p.a_row == 1 ? i / tile : i % depth;
      complex64_t value = zero;
      if (r < m && k + ka < p.k) value = a[r * p.a_row + (k + ka) * p.a_column];
      a_tile[r * (depth + 1) + ka] = value;
      const int s = p.b_column == 1 ? i % tile : i / depth, kb = p.b_column == 1 ? i / tile : i % depth;
      value = zero;
      if (s < n && k + kb < p.k) value = b[(k + kb) * p.b_row + s * p.b_column];
      b_tile[kb * (tile + 1) + s] = value;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int q = 0; q < depth; ++q) {
      complex64_t left[per_thread], right[per_thread];
      for (int i = 0; i < per_thread; ++i) {
        left[i] = a_tile[(thread_at.y + 8 * i) * (depth + 1) + q];
        right[i] = b_tile[q * (tile + 1) + thread_at.x + 8 * i];
      }
      for (int i = 0; i < per_thread; ++i)
        for (int j = 0; j < per_thread; ++j) sums[i][j] = sums[i][j] + left[i] * right[j];
    }
  }
  c += group.z * static_cast<long>(p.m) * p.n + static_cast<long>(row) * p.n + column;
  for (int i = 0; i < per_thread; ++i)
    for (int j = 0; j < per_thread; ++j) {
      const int r = static_cast<int>(thread_at.y) + 8 * i, s = static_cast<int>(thread_at.x) + 8 * j;
      if (r >= m || s >= n) continue;
      complex64_t value = sums[i][j];
      if (folded) value = totals[i][j] + value;
      if (has_d)
        value = value * p.alpha + d[p.d_first + at.d + (row + r) * p.d_row + (column + s) * p.d_column] * p.beta;
      c[static_cast<long>(r) * p.n + s] = value;
    }
}
