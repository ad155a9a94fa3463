// c = alpha a b + beta d, with matrices of a batch that strides or indices choose. What moves: see gemm.h; the
// result is written once (and d read once).
#include "metal/kernels/gemm.h"

constant bool a_transposed [[function_constant(0)]];  // a line of memory is a column
constant bool b_transposed [[function_constant(1)]];
constant bool a_vectors [[function_constant(2)]];  // lines begin at multiples of four elements
constant bool b_vectors [[function_constant(3)]];
constant bool has_d [[function_constant(4)]];
constant bool gathered [[function_constant(5)]];   // indices choose the matrices
constant bool segmented [[function_constant(6)]];  // each result has a part of the inner dimension
constant bool split [[function_constant(7)]];      // sums of parts of the inner dimension go to `partial`
constant bool folded [[function_constant(8)]];     // the inner dimension is long: see Sums
constant bool whole = !split;

struct GemmParams {
  int m, n, k, dims;
  int a_count, b_count;  // gathered: how many matrices there are
  int part;              // split: a multiple of BK
  float alpha, beta;
  int unused;
  long a_pitch, b_pitch, a_first, b_first, d_first, d_row, d_column;
};

template <class T>
struct StoreProduct {
  device T* c;
  device const T* d;
  device float* partial;
  long pitch, d_row, d_column;
  float alpha, beta;
  METAL_FUNC void operator()(int r, int col, float sum) const {
    if (split) {
      partial[r * pitch + col] = sum;
      return;
    }
    float value = alpha * sum;
    if (has_d) value += beta * static_cast<float>(d[r * d_row + col * d_column]);
    c[r * pitch + col] = static_cast<T>(value);
  }
};

// Indices below zero count from the end. -1: there is no such matrix; the host refuses those, and here none is read.
METAL_FUNC int wrapped(int index, int count) {
  if (index < 0) index += count;
  return index >= 0 && index < count ? index : -1;
}

template <class T, int BM, int BN, int BK, int WM, int WN>
[[kernel, max_total_threads_per_threadgroup(WM * WN * 32)]] void gemm(
    device const T* a [[buffer(0)]], device const T* b [[buffer(1)]],
    device T* c [[buffer(2), function_constant(whole)]], constant GemmParams& p [[buffer(3)]],
    constant long* batch [[buffer(4)]], device const T* d [[buffer(5), function_constant(has_d)]],
    device const int* lhs [[buffer(6), function_constant(gathered)]],
    device const int* rhs [[buffer(7), function_constant(gathered)]],
    device const int* segments [[buffer(8), function_constant(segmented)]],
    device float* partial [[buffer(9), function_constant(split)]], uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    ushort lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]) {
  typedef Tiles<T, BM, BN, BK, WM, WN> tiles;
  threadgroup T a_tile[tiles::a_size];
  threadgroup T b_tile[tiles::b_size];

  const int row = static_cast<int>(group.y) * BM, column = static_cast<int>(group.x) * BN;
  const int m = p.m - row, n = p.n - column;
  int begin = 0, end = p.k;
  uint z = group.z;
  if (split) {
    const uint parts = (p.k + p.part - 1) / p.part;
    begin = static_cast<int>(z % parts) * p.part;
    end = min(begin + p.part, p.k);
    z /= parts;
  }
  float alpha = p.alpha;
  Offsets at = {0, 0, 0};
  if (gathered) {
    const int i = wrapped(lhs[z], p.a_count), j = wrapped(rhs[z], p.b_count);
    if (i < 0 || j < 0) {
      end = 0;
      alpha = NAN;
    }
    at.a = max(i, 0) * batch[1];
    at.b = max(j, 0) * batch[2];
  } else if (!segmented) {
    at = offsets_of(z, batch, p.dims);
  }
  if (segmented) {
    begin = segments[2 * z];
    end = segments[2 * z + 1];
    if (begin < 0 || begin > p.k || end > p.k || end < 0) {
      begin = end = 0;
      alpha = NAN;
    }
  }
  a += p.a_first + at.a;
  b += p.b_first + at.b;
  const long a_step = a_transposed ? p.a_pitch : 1, b_step = b_transposed ? 1 : p.b_pitch;
  a += row * (a_transposed ? 1 : p.a_pitch);
  b += column * (b_transposed ? p.b_pitch : 1);

  Sums<T, BM, BN, BK, WM, WN> sums;
  sums.clear(simd, folded);
  for (int k = begin; k < end; k += BK) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    tiles::load_a(a_tile, a + k * a_step, p.a_pitch, m, end - k, a_transposed, a_vectors, index);
    tiles::load_b(b_tile, b + k * b_step, p.b_pitch, n, end - k, b_transposed, b_vectors, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.add(a_tile, b_tile, a_transposed, b_transposed);
    if (folded) sums.fold_at(k - begin + BK);
  }

  const long place = static_cast<long>(row) * p.n + column, size = static_cast<long>(p.m) * p.n;
  StoreProduct<T> store = {c, d, partial, p.n, p.d_row, p.d_column, alpha, p.beta};
  if (split) {
    store.partial = partial + group.z * size + place;
  } else {
    store.c = c + z * size + place;
    if (has_d) store.d = d + p.d_first + at.d + row * p.d_row + column * p.d_column;
  }
  sums.each(store, m, n, lane, folded);
}

// The second pass of a split product: each thread adds the parts of one element, in their order. Bytes moved: 4 *
// parts per element read, the result written once; an operation per 4 bytes.
template <class T>
[[kernel]] void gemm_sum(device const float* partial [[buffer(0)]], device T* c [[buffer(1)]],
                         constant GemmParams& p [[buffer(2)]], constant long* batch [[buffer(3)]],
                         device const T* d [[buffer(4), function_constant(has_d)]],
                         uint3 at [[thread_position_in_grid]]) {
  const int parts = (p.k + p.part - 1) / p.part;
  const long size = static_cast<long>(p.m) * p.n, place = static_cast<long>(at.y) * p.n + at.x;
  device const float* from = partial + at.z * parts * size + place;
  float sum = 0;
  for (int i = 0; i < parts; ++i) sum += from[i * size];
  float value = p.alpha * sum;
  if (has_d) {
    const long first = p.d_first + offsets_of(at.z, batch, p.dims).d;
    value += p.beta * static_cast<float>(d[first + at.y * p.d_row + at.x * p.d_column]);
  }
  c[at.z * size + place] = static_cast<T>(value);
}
