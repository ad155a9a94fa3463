// The sum of products that each have a part of the columns: c[:, s:e] += x[i] b[s:e, :]^T for every segment i = (s, e), the
// gradient of segmented_mm. Segments may overlap, and columns that none has are zeros.
//
// A threadgroup computes a tile of c, and walks through the segments that meet its columns, whose list the host makes: sums
// stay in registers from one to the next, so that no atomics are needed, the order is that of the segments and c is
// written once. Bytes read: for each segment and tile that it meets, e k (its rows of x + its columns of b in the
// segment); twelve bytes of the list. Intensity and threadgroup memory: those of the tile, see gemm.h.
#include "metal/kernels/gemm.h"

constant bool x_transposed [[function_constant(0)]];  // a line of memory is a column
constant bool b_transposed [[function_constant(1)]];  // a line of memory is a row of b^T
constant bool x_vectors [[function_constant(2)]];     // lines begin at multiples of four elements
constant bool b_vectors [[function_constant(3)]];
constant bool folded [[function_constant(4)]];  // sums are long: see Sums

struct SegmentedSum {
  int m, n, k, unused;
  long x_pitch, x_step, b_pitch, x_first, b_first;
};

template <class T>
struct StoreSum {
  device T* c;
  long pitch;
  METAL_FUNC void operator()(int r, int column, float sum) const { c[r * pitch + column] = static_cast<T>(sum); }
};

// `list`: for each tile of columns where its part of the list begins, and the end of the last one; then, for each segment
// of a part, its number, the first column that it has of the tile, and the column behind its last one.
template <class T, int BM, int BN, int BK, int WM, int WN>
[[kernel, max_total_threads_per_threadgroup(WM * WN * 32)]] void segmented_sum(
    device const T* x [[buffer(0)]], device const T* b [[buffer(1)]], device T* c [[buffer(2)]],
    constant SegmentedSum& p [[buffer(3)]], device const int* list [[buffer(4)]],
    uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    ushort lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]]) {
  typedef Tiles<T, BM, BN, BK, WM, WN> tiles;
  threadgroup T x_tile[tiles::a_size];
  threadgroup T b_tile[tiles::b_size];
  const int row = static_cast<int>(group.y) * BM, column = static_cast<int>(group.x) * BN;
  const int m = p.m - row;
  x += p.x_first + row * (x_transposed ? 1 : p.x_pitch);
  b += p.b_first + column * (b_transposed ? p.b_pitch : 1);
  const long x_along = x_transposed ? p.x_pitch : 1, b_along = b_transposed ? 1 : p.b_pitch;

  Sums<T, BM, BN, BK, WM, WN> sums;
  sums.clear(simd, folded);
  int done = 0;
  for (int i = list[group.x], last = list[group.x + 1]; i < last; i += 3) {
    device const int* segment = list + i;
    const int first = segment[1], end = segment[2];
    device const T* part = x + segment[0] * p.x_step;
    for (int k = 0; k < p.k; k += BK, done += BK) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      tiles::load_a(x_tile, part + k * x_along, p.x_pitch, m, p.k - k, x_transposed, x_vectors, index);
      tiles::load_b(b_tile, b + k * b_along, p.b_pitch, end, p.k - k, b_transposed, b_vectors, index, first);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      sums.add(x_tile, b_tile, x_transposed, b_transposed);
      if (folded) sums.fold_at(done + BK);
    }
  }
  const StoreSum<T> store = {c + static_cast<long>(row) * p.n + column, p.n};
  sums.each(store, m, p.n - column, lane, folded);
}
