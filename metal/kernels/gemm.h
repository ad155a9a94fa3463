// The core that products of matrices share: tiles of both operands in threadgroup memory, products of 8 by 8
// matrices that SIMD-groups hold in registers, sums in float32.
//
// A threadgroup of WM by WN SIMD-groups computes BM by BN elements, BK of the inner dimension at a time. Per
// step it moves (BM + BN) * BK elements from the device and multiplies BM * BN * BK pairs: 2 * BM * BN / (BM
// + BN) operations per element moved; 64 by 64 in float32: 16 per byte, in 16 bits: 32. Nothing else is read,
// each line of a tile once by neighbouring threads in 16 (8) bytes each, so the bytes moved are the least of
// the tile's shape. Each thread holds BM * BN / (32 * WM * WN) sums (32 of 64 by 64 with 4 SIMD-groups) and,
// in a step of 8, BM / WM / 4 + BN / WN / 4 elements of the operands (16): below the 128 registers up to
// which all SIMD-groups that a core holds stay in flight. Threadgroup memory: see Tiles::bytes, 9.5 KiB of 64
// by 64 by 16 in float32 (three threadgroups in 32 KiB). Lines of tiles are padded by 16 bytes: lanes that
// read a column of 8 lines meet different banks.
#pragma once
#include "metal/kernels/types.h"

// Where the two elements of a lane are in a matrix of 8 by 8: column (and the next one), row.
METAL_FUNC ushort2 matrix_place(ushort lane) {
  return ushort2(((lane >> 3 & 1) << 2) + ((lane & 1) << 1), (lane >> 4 << 2) + (lane >> 1 & 3));
}

// A part of a matrix to threadgroup memory: LINES lines of LENGTH elements, of which only the first `lines`
// and `length` exist, those before `first_line` and `first` aside; the others become zeros. `vectors`: every
// line begins at a multiple of four elements.
template <class T, int LINES, int LENGTH, int PITCH, int THREADS>
METAL_FUNC void load_tile(threadgroup T* tile, device const T* source, long pitch, int lines, int length,
                          bool vectors, uint index, int first_line = 0, int first = 0) {
  const int per_line = LENGTH / 4;
  for (int i = static_cast<int>(index); i < LINES * per_line; i += THREADS) {
    const int line = i / per_line, at = i % per_line * 4;
    threadgroup T* to = tile + line * PITCH + at;
    device const T* from = source + line * pitch + at;
    const bool exists = line >= first_line && line < lines;
    if (vectors && exists && at >= first && at + 4 <= length) {
      *reinterpret_cast<threadgroup vec<T, 4>*>(to) = *reinterpret_cast<device const vec<T, 4>*>(from);
    } else {
      for (int j = 0; j < 4; ++j) to[j] = exists && at + j >= first && at + j < length ? from[j] : T(0);
    }
  }
}

template <class T, int BM, int BN, int BK, int WM, int WN>
struct Tiles {
  static constant constexpr int threads = WM * WN * 32;
  static constant constexpr int pad = 16 / sizeof(T);
  static constant constexpr int rows = BM / WM, columns = BN / WN;  // of a SIMD-group
  static constant constexpr int TM = rows / 8, TN = columns / 8;
  // Of tiles as they lie in the matrix: rows (or columns) of a, columns (or rows) of b.
  static constant constexpr int a_pitch = BK + pad, at_pitch = BM + pad, b_pitch = BN + pad,
                                bt_pitch = BK + pad;
  static constant constexpr int a_size = BM * a_pitch > BK* at_pitch ? BM * a_pitch : BK * at_pitch;
  static constant constexpr int b_size = BK * b_pitch > BN* bt_pitch ? BK * b_pitch : BN * bt_pitch;
  static constant constexpr int bytes = (a_size + b_size) * sizeof(T);

  // BM by BK of a, of which `m` by `k` exist.
  static METAL_FUNC void load_a(threadgroup T* tile, device const T* a, long pitch, int m, int k,
                                bool transposed, bool vectors, uint index) {
    if (transposed) {
      load_tile<T, BK, BM, at_pitch, threads>(tile, a, pitch, k, m, vectors, index);
    } else {
      load_tile<T, BM, BK, a_pitch, threads>(tile, a, pitch, m, k, vectors, index);
    }
  }
  // The columns before `first` are zeros as well.
  static METAL_FUNC void load_b(threadgroup T* tile, device const T* b, long pitch, int n, int k,
                                bool transposed, bool vectors, uint index, int first = 0) {
    if (transposed) {
      load_tile<T, BN, BK, bt_pitch, threads>(tile, b, pitch, n, k, vectors, index, first);
    } else {
      load_tile<T, BK, BN, b_pitch, threads>(tile, b, pitch, k, n, vectors, index, 0, first);
    }
  }
};

// The sums of one SIMD-group: rows from `row` on, columns from `column` on in the threadgroup's tile.
//
// A float32 sum of many products in order loses digits with their number. Where the inner dimension is long,
// sums are `folded`: every fold_length products they go to totals, so that the error grows with fold_length
// and the number of parts. That is one addition per 256 products, and as many registers again (32 of 64 by
// 64).
constant constexpr int fold_length = 256;
template <class T, int BM, int BN, int BK, int WM, int WN>
struct Sums {
  typedef Tiles<T, BM, BN, BK, WM, WN> tiles;
  simdgroup_matrix<float, 8, 8> sums[tiles::TM][tiles::TN];
  float2 totals[tiles::TM][tiles::TN];  // where sums are folded
  int row, column;

  METAL_FUNC void clear(uint simd, bool folded = false) {
    row = static_cast<int>(simd) / WN * tiles::rows;
    column = static_cast<int>(simd) % WN * tiles::columns;
    for (int i = 0; i < tiles::TM; ++i)
      for (int j = 0; j < tiles::TN; ++j) {
        sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        if (folded) totals[i][j] = float2(0.0f);
      }
  }
  METAL_FUNC void fold() {
    for (int i = 0; i < tiles::TM; ++i)
      for (int j = 0; j < tiles::TN; ++j) {
        totals[i][j] += sums[i][j].thread_elements();
        sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      }
  }
  // After the step that ends `done` products of the inner dimension, a multiple of BK.
  METAL_FUNC void fold_at(int done) {
    if (done % fold_length == 0) fold();
  }

  METAL_FUNC void add(threadgroup const T* a, threadgroup const T* b, bool a_transposed, bool b_transposed) {
    for (int k = 0; k < BK; k += 8) {
      simdgroup_matrix<T, 8, 8> left[tiles::TM], right[tiles::TN];
      for (int i = 0; i < tiles::TM; ++i) {
        const int r = row + 8 * i;
        if (a_transposed) {
          simdgroup_load(left[i], a + k * tiles::at_pitch + r, tiles::at_pitch, ulong2(0), true);
        } else {
          simdgroup_load(left[i], a + r * tiles::a_pitch + k, tiles::a_pitch);
        }
      }
      for (int j = 0; j < tiles::TN; ++j) {
        const int c = column + 8 * j;
        if (b_transposed) {
          simdgroup_load(right[j], b + c * tiles::bt_pitch + k, tiles::bt_pitch, ulong2(0), true);
        } else {
          simdgroup_load(right[j], b + k * tiles::b_pitch + c, tiles::b_pitch);
        }
      }
      for (int i = 0; i < tiles::TM; ++i)
        for (int j = 0; j < tiles::TN; ++j)
          simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
    }
  }

  // Gives every sum that exists in an `m` by `n` part to `store(row, column, sum)`.
  template <class Store>
  METAL_FUNC void each(Store store, int m, int n, ushort lane, bool folded = false) {
    const ushort2 place = matrix_place(lane);
    for (int i = 0; i < tiles::TM; ++i) {
      const int r = row + 8 * i + place.y;
      if (r >= m) continue;
      for (int j = 0; j < tiles::TN; ++j) {
        const int c = column + 8 * j + place.x;
        float2 pair = sums[i][j].thread_elements();
        if (folded) pair += totals[i][j];
        if (c < n) store(r, c, pair.x);
        if (c + 1 < n) store(r, c + 1, pair.y);
      }
    }
  }
};

// The place of matrix `z` of a batch: `dims` axes, for each its length and the strides of a, b and d.
struct Offsets {
  long a, b, d;
};
METAL_FUNC Offsets offsets_of(uint z, constant long* batch, int dims) {
  Offsets at = {0, 0, 0};
  long rest = z;
  for (int i = dims - 1; i >= 0; --i) {
    constant long* axis = batch + 4 * i;
    const long index = rest % axis[0];
    rest /= axis[0];
    at.a += index * axis[1];
    at.b += index * axis[2];
    at.d += index * axis[3];
  }
  return at;
}
