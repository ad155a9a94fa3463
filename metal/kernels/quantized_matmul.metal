// Products with quantized matrices: out = x w (rows of w along n) or x w^T (along k, `transposed`), whose matrices a
// batch or indices choose. Sums are float32. Bytes moved by qmv_*: words, scales and biases once, x once per 32 rows
// (512 columns) through threadgroup memory: 2 operations on bits / 8 bytes of a code and what its scale takes, 4 per
// byte of 4 bits: bound by memory. By qmm: as gemm.h, with bits / 8 bytes and its part of a scale for every element
// of w. Threadgroup memory: qmv_rows 4 KiB per vector, qmv_columns 4 KiB per vector and 16; qmm that of gemm.h.
// Registers: 16 codes, and 16 (qmv_rows) or 64 (qmv_columns with four vectors) sums.
#include "metal/kernels/quantized.h"

constant int count [[function_constant(3)]];          // qmv: of vectors, 1 to 4
constant bool gathered [[function_constant(4)]];      // indices choose the matrices
constant bool transposed [[function_constant(5)]];    // qmm
constant bool vectors [[function_constant(6)]];       // qmm: rows of x begin at multiples of four elements
constant bool folded [[function_constant(7)]];        // qmm: the inner dimension is long: see Sums

struct QuantizedParams {
  int m, n, k, dims, x_count, w_count;
};

constant constexpr int chunk = 1024;  // of k in threadgroup memory
constant constexpr int simds = 8;
constant constexpr int per_simd = 4;  // rows

struct Chosen {
  long x, w;  // which matrices
  bool exists;
};
METAL_FUNC Chosen chosen(uint z, constant QuantizedParams& p, constant long* batch, device const int* lhs,
                         device const int* rhs) {
  if (!gathered) {
    const Offsets at = offsets_of(z, batch, p.dims);
    return {at.a, at.b, true};
  }
  // Indices below zero count from the end. The host refuses what is outside; here it is not read.
  const int i = lhs[z] < 0 ? lhs[z] + p.x_count : lhs[z], j = rhs[z] < 0 ? rhs[z] + p.w_count : rhs[z];
  const bool exists = i >= 0 && i < p.x_count && j >= 0 && j < p.w_count;
  return {exists ? i : 0, exists ? j : 0, exists};
}

#define QUANTIZED_ARGUMENTS                                                                             \
  device const T *x [[buffer(0)]], device const ushort *words [[buffer(1)]], device const S *scales [[buffer(2)]], \
      device const S *biases [[buffer(3), function_constant(affine)]], device T *out [[buffer(4)]],       \
      constant QuantizedParams &p [[buffer(5)]], constant long *batch [[buffer(6)]],                      \
      device const int *lhs [[buffer(7), function_constant(gathered)]],                                  \
      device const int *rhs [[buffer(8), function_constant(gathered)]],                                  \
      uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],        \
      ushort lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]

template <class T>
METAL_FUNC void load_vectors(threadgroup float* to, device const T* x, int k, int all, uint index) {
  for (int i = static_cast<int>(index); i < count * chunk; i += simds * 32) {
    const int v = i / chunk, at = k + i % chunk;
    to[i] = at < all ? static_cast<float>(x[static_cast<long>(v) * all + at]) : 0.0f;
  }
}

template <class T, class S>
[[kernel, max_total_threads_per_threadgroup(256)]] void qmv_rows(QUANTIZED_ARGUMENTS,
                                                                 threadgroup float* held [[threadgroup(0)]]) {
  const Chosen at = chosen(group.z, p, batch, lhs, rhs);
  Packed<S> w = {words, scales, biases, p.k};
  w.skip(at.w, p.n);
  x += at.x * p.m * p.k;
  out += static_cast<long>(group.z) * p.m * p.n;
  const int first = static_cast<int>(group.x * simds + simd) * per_simd, rows = min(per_simd, p.n - first);
  float sums[per_simd][4];
  for (int r = 0; r < per_simd; ++r)
    for (int v = 0; v < 4; ++v) sums[r][v] = 0;
  for (int k = 0; k < p.k; k += chunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_vectors(held, x, k, p.k, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = lane * pack; i < min(chunk, p.k - k); i += 32 * pack) {
      float total[4];
      for (int v = 0; v < count; ++v) {
        total[v] = 0;
        if (affine)
          for (int j = 0; j < pack; ++j) total[v] += held[v * chunk + i + j];
      }
      for (int r = 0; r < rows; ++r) {
        float codes[pack];
        decode(w.words + w.code_at(first + r, k + i), codes);
        const float scale = w.scale(first + r, k + i), bias = w.bias(first + r, k + i);
        for (int v = 0; v < count; ++v) {
          float sum = 0;
          for (int j = 0; j < pack; ++j) sum += codes[j] * held[v * chunk + i + j];
          sums[r][v] += scale * sum + bias * total[v];
        }
      }
    }
  }
  for (int r = 0; r < per_simd; ++r)
    for (int v = 0; v < count; ++v) {
      const float sum = simd_sum(sums[r][v]);
      if (lane == 0 && r < rows) out[v * p.n + first + r] = static_cast<T>(at.exists ? sum : NAN);
    }
}

template <class T, class S>
[[kernel, max_total_threads_per_threadgroup(256)]] void qmv_columns(QUANTIZED_ARGUMENTS,
                                                                    threadgroup float* held [[threadgroup(0)]]) {
  threadgroup float parts[simds * 32 * pack];
  const Chosen at = chosen(group.z, p, batch, lhs, rhs);
  Packed<S> w = {words, scales, biases, p.n};
  w.skip(at.w, p.k);
  x += at.x * p.m * p.k;
  out += static_cast<long>(group.z) * p.m * p.n;
  const int first = static_cast<int>(group.x * 32 + lane) * pack;
  float sums[4][pack];
  for (int v = 0; v < 4; ++v)
    for (int j = 0; j < pack; ++j) sums[v][j] = 0;
  for (int k = 0; k < p.k; k += chunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_vectors(held, x, k, p.k, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (first >= p.n) continue;
    for (int i = static_cast<int>(simd); i < min(chunk, p.k - k); i += simds) {
      float values[pack];
      w.values(k + i, first, values);
      for (int v = 0; v < count; ++v)
        for (int j = 0; j < pack; ++j) sums[v][j] += values[j] * held[v * chunk + i];
    }
  }
  for (int v = 0; v < count; ++v) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int j = 0; j < pack; ++j) parts[(simd * pack + j) * 32 + lane] = sums[v][j];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = static_cast<int>(index); i < 32 * pack; i += simds * 32) {
      const int column = static_cast<int>(group.x) * 32 * pack + i;
      if (column >= p.n) continue;
      float sum = 0;
      for (int s = 0; s < simds; ++s) sum += parts[(s * pack + i % pack) * 32 + i / pack];
      out[v * p.n + column] = static_cast<T>(at.exists ? sum : NAN);
    }
  }
}

// LINES rows of a quantized matrix, LENGTH columns from `column` on, to threadgroup memory.
template <class T, class S, int LINES, int LENGTH, int PITCH, int THREADS>
METAL_FUNC void unpack_tile(threadgroup T* tile, thread const Packed<S>& w, int row, int rows, int column, uint index) {
  const int per_line = LENGTH / pack;
  for (int i = static_cast<int>(index); i < LINES * per_line; i += THREADS) {
    const int line = i / per_line, at = i % per_line * pack;
    threadgroup T* to = tile + line * PITCH + at;
    if (line < rows && column + at < w.columns) {
      float values[pack];
      w.values(row + line, column + at, values);
      for (int j = 0; j < pack; ++j) to[j] = static_cast<T>(values[j]);
    } else {
      for (int j = 0; j < pack; ++j) to[j] = T(0);
    }
  }
}

template <class T>
struct StoreRow {
  device T* out;
  long pitch;
  bool exists;
  METAL_FUNC void operator()(int r, int c, float sum) const {
    out[r * pitch + c] = static_cast<T>(exists ? sum : NAN);
  }
};

template <class T, class S, int BM, int BN, int BK>
[[kernel, max_total_threads_per_threadgroup(128)]] void qmm(QUANTIZED_ARGUMENTS) {
  typedef Tiles<T, BM, BN, BK, 2, 2> tiles;
  threadgroup T x_tile[tiles::a_size];
  threadgroup T w_tile[tiles::b_size];
  const Chosen at = chosen(group.z, p, batch, lhs, rhs);
  Packed<S> w = {words, scales, biases, transposed ? p.k : p.n};
  w.skip(at.w, transposed ? p.n : p.k);
  const int row = static_cast<int>(group.y) * BM, column = static_cast<int>(group.x) * BN;
  x += (at.x * p.m + row) * p.k;
  Sums<T, BM, BN, BK, 2, 2> sums;
  sums.clear(simd, folded);
  for (int k = 0; k < p.k; k += BK) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    tiles::load_a(x_tile, x + k, p.k, p.m - row, p.k - k, false, vectors, index);
    if (transposed) {
      unpack_tile<T, S, BN, BK, tiles::bt_pitch, 128>(w_tile, w, column, p.n - column, k, index);
    } else {
      unpack_tile<T, S, BK, BN, tiles::b_pitch, 128>(w_tile, w, k, p.k - k, column, index);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.add(x_tile, w_tile, false, transposed);
    if (folded) sums.fold_at(k + BK);
  }
  const StoreRow<T> store = {out + (static_cast<long>(group.z) * p.m + row) * p.n + column, p.n, at.exists};
  sums.each(store, p.m - row, p.n - column, lane, folded);
}
