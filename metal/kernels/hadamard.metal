// Hadamard transforms of lines of m 2^bits elements: butterflies in threadgroup memory, in float32, and a matrix of signs
// for m = 12, 20 or 28.
//
// Bytes moved: each element read once and written once, where a line fits in threadgroup memory (8192 elements). Longer
// ones take two passes, over blocks and over columns across them (`inner` elements apart, neighbouring columns side by
// side), with floats between them. Operations: log2(n) per element, below 2 per byte: bound by memory. A thread takes 16
// elements through four butterflies in registers, so a line of 4096 passes threadgroup memory three times. Threadgroup
// memory: 4 bytes per element of the tile, at most 32 KiB. Registers: 16 values, or m.
#include "metal/kernels/types.h"

constant int bits [[function_constant(0)]];
constant int m [[function_constant(1)]];      // 1: no matrix
constant bool across [[function_constant(2)]];  // lines are columns of a tile

// As in metal/host/hadamard.cpp.
struct Hadamard {
  ulong total;      // elements
  uint lines;       // not across: lines of a tile
  uint columns;     // across: columns of a tile
  uint inner;       // across: between neighbours of a line
  float scale;
};

template <int R>
METAL_FUNC void butterflies(threadgroup float* tile, uint count, uint h, uint index, uint threads) {
  for (uint b = index; b < count / R; b += threads) {
    threadgroup float* at = tile + b / h * (h * R) + b % h;
    float v[R];
    for (int i = 0; i < R; ++i) v[i] = at[i * h];
    for (int s = 1; s < R; s *= 2)
      for (int i = 0; i < R; ++i)
        if ((i & s) == 0) {
          const float x = v[i], y = v[i + s];
          v[i] = x + y;
          v[i + s] = x - y;
        }
    for (int i = 0; i < R; ++i) at[i * h] = v[i];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

template <class In, class Out>
[[kernel]] void hadamard(device const In* in [[buffer(0)]], device Out* out [[buffer(1)]],
                         constant Hadamard& p [[buffer(2)]], constant uint* signs [[buffer(3)]],
                         threadgroup float* tile [[threadgroup(0)]], uint group [[threadgroup_position_in_grid]],
                         uint index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  const uint line = static_cast<uint>(m) << bits;
  const uint columns = across ? p.columns : 1, lines = across ? 1 : p.lines;
  ulong first;
  uint count = line * columns * lines;
  if (across) {
    const uint blocks = p.inner / columns;
    first = static_cast<ulong>(group / blocks) * line * p.inner + group % blocks * columns;
  } else {
    first = static_cast<ulong>(group) * count;
    count = static_cast<uint>(min(static_cast<ulong>(count), p.total - first));
  }
  for (uint i = index; i < count; i += threads)
    tile[i] = static_cast<float>(in[first + (across ? static_cast<ulong>(i / columns) * p.inner + i % columns : i)]);
  threadgroup_barrier(mem_flags::mem_threadgroup);

  uint h = columns;
  int left = bits;
  for (; left >= 4; left -= 4, h *= 16) butterflies<16>(tile, count, h, index, threads);
  if (left == 3) butterflies<8>(tile, count, h, index, threads);
  if (left == 2) butterflies<4>(tile, count, h, index, threads);
  if (left == 1) butterflies<2>(tile, count, h, index, threads);

  const uint chunk = columns << bits;  // m of them are a line
  for (uint i = index; i < count / m; i += threads) {
    const uint l = i / chunk, k = i % chunk;
    threadgroup const float* from = tile + l * m * chunk + k;
    const ulong to = first + (across ? static_cast<ulong>(k / columns) * p.inner + k % columns : l * m * chunk + k);
    const ulong step = across ? static_cast<ulong>(p.inner) << bits : chunk;
    float v[28];
    for (int j = 0; j < m; ++j) v[j] = from[j * chunk];
    for (int j = 0; j < m; ++j) {
      float sum = v[0];
      if (m > 1) {
        const uint minus = signs[j];
        sum = 0;
        for (int r = 0; r < m; ++r) sum += minus >> r & 1 ? -v[r] : v[r];
      }
      out[to + j * step] = static_cast<Out>(sum * p.scale);
    }
  }
}
