// Convolution and the gradient of its weights as products of matrices whose operands are gathered (implicit GEMM), on
// the core of gemm.h; no patches are written to memory.
//
// conv: rows are positions of the output (of a phase, see conv.h), columns output channels of a group, k = (tap,
// channel) is the order of w, so its lines are those of w. Bytes read: at most those of a product of the same sizes in
// the same tile, e k (m n / BN + n m / BM); what lies in the padding is not read. Written: the result once. The unique
// bytes of x are fewer by the number of taps that share them; these readings come from the cache. Intensity: as gemm.h,
// 16 operations per byte asked for by 64 x 64 in float32, 32 in 16 bits. Threadgroup memory: as gemm.h. Registers: sums,
// and for every line that a thread loads (1 to 4) an offset and three coordinates.
//
// conv_weights: rows are channels of the operand that is read as it lies (`plain`), columns (tap, channel) of the
// gathered one, k positions. Bytes: as conv.
#include "metal/kernels/conv.h"

constant bool vectors [[function_constant(0)]];        // four channels lie at multiples of four elements
constant bool plain_vectors [[function_constant(1)]];  // conv: those of w; conv_weights: of the plain operand
constant bool phased [[function_constant(2)]];         // there is input dilation
constant bool split [[function_constant(3)]];          // sums of parts of k go to `partial`
constant bool folded [[function_constant(4)]];         // k is long: see Sums
constant bool exchanged [[function_constant(5)]];      // conv_weights: rows are input channels
constant bool whole = !split;

template <class T>
METAL_FUNC void put_four(threadgroup T* to, vec<T, 4> four) {
  *reinterpret_cast<threadgroup vec<T, 4>*>(to) = four;
}
template <class T>
METAL_FUNC vec<T, 4> get_four(device const T* from) {
  return *reinterpret_cast<device const vec<T, 4>*>(from);
}

// Where rows of a tile are in the output.
struct OutputRows {
  Phase phase[3];
  int out[3];
  long pitch;  // elements per position
  METAL_FUNC long at(long row) const {
    if (!phased) return row * pitch;
    const int outs2 = phase[2].outs, outs1 = phase[1].outs, outs0 = phase[0].outs;
    const long q2 = row % outs2, r1 = row / outs2, q1 = r1 % outs1, r0 = r1 / outs1, q0 = r0 % outs0, n = r0 / outs0;
    return (((n * out[0] + phase[0].first + q0 * phase[0].step) * out[1] + phase[1].first + q1 * phase[1].step) *
                out[2] +
            phase[2].first + q2 * phase[2].step) *
           pitch;
  }
};

template <class T>
struct StoreConv {
  device T* out;
  device float* partial;
  OutputRows rows;
  long row;
  METAL_FUNC void operator()(int r, int c, float sum) const {
    const long at = rows.at(row + r) + c;
    if (split) {
      partial[at] = sum;
    } else {
      out[at] = static_cast<T>(sum);
    }
  }
};

template <class T, int BM, int BN, int BK, int WM, int WN>
[[kernel, max_total_threads_per_threadgroup(WM * WN * 32)]] void conv(
    device const T* x [[buffer(0)]], device const T* w [[buffer(1)]],
    device T* out [[buffer(2), function_constant(whole)]], constant ConvParams& p [[buffer(3)]],
    device float* partial [[buffer(4), function_constant(split)]], uint3 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], ushort lane [[thread_index_in_simdgroup]],
    uint index [[thread_index_in_threadgroup]]) {
  typedef Tiles<T, BM, BN, BK, WM, WN> tiles;
  threadgroup T x_tile[tiles::a_size];
  threadgroup T w_tile[tiles::b_size];
  constexpr int per_line = BK / 4, lines = tiles::threads / per_line;  // that all threads load at once
  constexpr int x_lines = BM / lines, w_lines = BN / lines;
  static_assert(x_lines * lines == BM && w_lines * lines == BN, "all threads load the same number of lines");

  uint z = group.z;
  int part = 0;
  if (split) {
    part = static_cast<int>(z % p.parts);
    z /= p.parts;
  }
  const int g = static_cast<int>(z % p.groups);
  z /= p.groups;
  Phase phase[3];
  for (int d = 2; d >= 0; --d) {
    const int step = p.input_dilation[d];
    phase[d] = phase_of(p, d, static_cast<int>(z % step));
    z /= step;
  }
  const long positions = static_cast<long>(phase[0].outs) * phase[1].outs * phase[2].outs;
  const long row = static_cast<long>(group.y) * BM;
  const int column = static_cast<int>(group.x) * BN;
  if (row >= p.batch * positions) return;  // a phase with fewer outputs than the first one
  const int m = static_cast<int>(min(p.batch * positions - row, static_cast<long>(BM))), n = p.outputs - column;
  const int taps0 = phase[0].taps, taps1 = phase[1].taps, taps2 = phase[2].taps;
  const int k_all = taps0 * taps1 * taps2 * p.channels;
  const int begin = split ? part * p.part : 0, end = split ? min(begin + p.part, k_all) : k_all;

  // What this thread loads: four elements of k, of lines `mine`, mine + lines, ...
  const int mine = static_cast<int>(index) / per_line, at = static_cast<int>(index) % per_line * 4;
  const long all_channels = static_cast<long>(p.channels) * p.groups;
  long image[x_lines];
  int i0[x_lines], i1[x_lines], i2[x_lines];
  for (int i = 0; i < x_lines; ++i) {
    const int line = mine + i * lines;
    const long position = row + line;
    const long q2 = position % phase[2].outs, r1 = position / phase[2].outs;
    const long q1 = r1 % phase[1].outs, r0 = r1 / phase[1].outs;
    image[i] = r0 / phase[0].outs * p.in[0] * p.in[1] * p.in[2] * all_channels + g * p.channels;
    i0[i] = line < m ? phase[0].base + static_cast<int>(r0 % phase[0].outs) * p.stride[0] : INT_MIN / 2;
    i1[i] = phase[1].base + static_cast<int>(q1) * p.stride[1];
    i2[i] = phase[2].base + static_cast<int>(q2) * p.stride[2];
  }
  const long w_pitch = static_cast<long>(taps_of(p)) * p.channels;
  w += (static_cast<long>(g) * p.outputs + column + mine) * w_pitch;
  Walk walk = {0, taps0, 0, 0};  // without taps nothing is read
  if (k_all > 0) walk.begin(begin + at, p.channels, taps1, taps2);

  Sums<T, BM, BN, BK, WM, WN> sums;
  sums.clear(simd, folded);
  for (int k = begin; k < end; k += BK) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (vectors) {
      const bool exists = walk.t0 < taps0;
      for (int i = 0; i < x_lines; ++i) {
        const int v0 = i0[i] + walk.t0 * phase[0].reach, v1 = i1[i] + walk.t1 * phase[1].reach,
                  v2 = i2[i] + walk.t2 * phase[2].reach;
        vec<T, 4> four = vec<T, 4>(T(0));
        if (exists && inside(v0, p.in[0]) && inside(v1, p.in[1]) && inside(v2, p.in[2]))
          four = get_four(x + image[i] +
                          ((static_cast<long>(v0) * p.in[1] + v1) * p.in[2] + v2) * all_channels + walk.c);
        put_four(x_tile + (mine + i * lines) * tiles::a_pitch + at, four);
      }
    } else {
      Walk here = walk;
      for (int j = 0; j < 4; ++j) {
        const bool exists = here.t0 < taps0;
        for (int i = 0; i < x_lines; ++i) {
          const int v0 = i0[i] + here.t0 * phase[0].reach, v1 = i1[i] + here.t1 * phase[1].reach,
                    v2 = i2[i] + here.t2 * phase[2].reach;
          T value = T(0);
          if (exists && inside(v0, p.in[0]) && inside(v1, p.in[1]) && inside(v2, p.in[2]))
            value = x[image[i] + ((static_cast<long>(v0) * p.in[1] + v1) * p.in[2] + v2) * all_channels + here.c];
          x_tile[(mine + i * lines) * tiles::a_pitch + at + j] = value;
        }
        if (j < 3) here.go(1, p.channels, taps1, taps2);
      }
    }
    Walk here = walk;
    for (int j = 0; j < 4; j += plain_vectors ? 4 : 1) {
      const bool exists = here.t0 < taps0;
      const long tap = (static_cast<long>(phase[0].tap + here.t0 * p.tap_step[0]) * p.taps[1] + phase[1].tap +
                        here.t1 * p.tap_step[1]) *
                           p.taps[2] +
                       phase[2].tap + here.t2 * p.tap_step[2];
      for (int i = 0; i < w_lines; ++i) {
        threadgroup T* to = w_tile + (mine + i * lines) * tiles::bt_pitch + at + j;
        const bool read = exists && mine + i * lines < n;
        device const T* from = w + i * lines * w_pitch + tap * p.channels + here.c;
        if (plain_vectors) {
          vec<T, 4> four = vec<T, 4>(T(0));
          if (read) four = get_four(from);
          put_four(to, four);
        } else {
          T value = T(0);
          if (read) value = *from;
          *to = value;
        }
      }
      if (!plain_vectors && j < 3) here.go(1, p.channels, taps1, taps2);
    }
    walk.go(BK, p.channels, taps1, taps2);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.add(x_tile, w_tile, false, true);
    if (folded) sums.fold_at(static_cast<int>(k - begin) + BK);
  }

  const long pitch = static_cast<long>(p.outputs) * p.groups, first = static_cast<long>(g) * p.outputs + column;
  StoreConv<T> store = {out, partial, {{phase[0], phase[1], phase[2]}, {p.out[0], p.out[1], p.out[2]}, pitch}, row};
  if (split) {
    store.partial = partial + part * p.size + first;
  } else {
    store.out = out + first;
  }
  sums.each(store, m, n, lane, folded);
}

template <class T>
struct StoreWeights {
  device T* out;
  device float* partial;
  int inner;               // channels of a tap
  long row, tap, channel;  // steps of a row, of a tap, of a channel
  int first;               // column
  METAL_FUNC void operator()(int r, int c, float sum) const {
    const int j = first + c;
    const long at = r * row + j / inner * tap + j % inner * channel;
    if (split) {
      partial[at] = sum;
    } else {
      out[at] = static_cast<T>(sum);
    }
  }
};

// `in` of the parameters is the gathered operand, `out` the plain one; input_dilation divides what is gathered.
template <class T, int BM, int BN, int BK, int WM, int WN>
[[kernel, max_total_threads_per_threadgroup(WM * WN * 32)]] void conv_weights(
    device const T* plain [[buffer(0)]], device const T* gathered [[buffer(1)]],
    device T* out [[buffer(2), function_constant(whole)]], constant ConvParams& p [[buffer(3)]],
    device float* partial [[buffer(4), function_constant(split)]], uint3 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], ushort lane [[thread_index_in_simdgroup]],
    uint index [[thread_index_in_threadgroup]]) {
  typedef Tiles<T, BM, BN, BK, WM, WN> tiles;
  threadgroup T a_tile[tiles::a_size];
  threadgroup T b_tile[tiles::b_size];
  constexpr int per_line = BN / 4, lines = tiles::threads / per_line, b_lines = BK / lines;
  static_assert(b_lines * lines == BK, "all threads load the same number of lines");

  uint z = group.z;
  int part = 0;
  if (split) {
    part = static_cast<int>(z % p.parts);
    z /= p.parts;
  }
  const int g = static_cast<int>(z);
  const int row = static_cast<int>(group.y) * BM, column = static_cast<int>(group.x) * BN;
  const int taps = taps_of(p), columns = taps * p.channels;
  const int m = p.outputs - row, n = columns - column;
  const long begin = split ? static_cast<long>(part) * p.part : 0, end = split ? min(begin + p.part, p.k) : p.k;
  const long plain_pitch = static_cast<long>(p.outputs) * p.groups, pitch = static_cast<long>(p.channels) * p.groups;
  plain += g * p.outputs + row;

  // This thread's four columns, and its lines: positions mine, mine + lines, ... of a step.
  const int mine = static_cast<int>(index) / per_line, at = static_cast<int>(index) % per_line * 4;
  Walk mine_of_columns;
  mine_of_columns.begin(column + at, p.channels, p.taps[1], p.taps[2]);
  long image[b_lines];
  int u0[b_lines], u1[b_lines], u2[b_lines];
  const long elements = static_cast<long>(p.in[0]) * p.in[1] * p.in[2] * pitch;
  for (int i = 0; i < b_lines; ++i) {
    const long position = begin + mine + i * lines;
    const long r1 = position / p.out[2], r0 = r1 / p.out[1];
    u2[i] = static_cast<int>(position % p.out[2]);
    u1[i] = static_cast<int>(r1 % p.out[1]);
    u0[i] = static_cast<int>(r0 % p.out[0]);
    image[i] = r0 / p.out[0] * elements + g * p.channels;
  }

  Sums<T, BM, BN, BK, WM, WN> sums;
  sums.clear(simd, folded);
  for (long k = begin; k < end; k += BK) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const int left = static_cast<int>(min(end - k, static_cast<long>(BK)));
    tiles::load_a(a_tile, plain + k * plain_pitch, plain_pitch, m, left, true, plain_vectors, index);
    for (int i = 0; i < b_lines; ++i) {
      Walk here = mine_of_columns;
      threadgroup T* to = b_tile + (mine + i * lines) * tiles::b_pitch + at;
      for (int j = 0; j < 4; j += vectors ? 4 : 1) {
        int v0 = u0[i] * p.stride[0] - p.low[0] + here.t0 * p.dilation[0],
            v1 = u1[i] * p.stride[1] - p.low[1] + here.t1 * p.dilation[1],
            v2 = u2[i] * p.stride[2] - p.low[2] + here.t2 * p.dilation[2];
        bool exists = mine + i * lines < left && column + at + j < columns;
        if (phased) {
          exists = exists && v0 % p.input_dilation[0] == 0 && v1 % p.input_dilation[1] == 0 &&
                   v2 % p.input_dilation[2] == 0;
          v0 /= p.input_dilation[0];
          v1 /= p.input_dilation[1];
          v2 /= p.input_dilation[2];
        }
        exists = exists && inside(v0, p.in[0]) && inside(v1, p.in[1]) && inside(v2, p.in[2]);
        device const T* from =
            gathered + image[i] + ((static_cast<long>(v0) * p.in[1] + v1) * p.in[2] + v2) * pitch + here.c;
        if (vectors) {
          vec<T, 4> four = vec<T, 4>(T(0));
          if (exists) four = get_four(from);
          put_four(to, four);
        } else {
          T value = T(0);
          if (exists) value = *from;
          to[j] = value;
          if (j < 3) here.go(1, p.channels, p.taps[1], p.taps[2]);
        }
      }
      u2[i] += BK;
      while (u2[i] >= p.out[2]) {
        u2[i] -= p.out[2];
        if (++u1[i] < p.out[1]) continue;
        u1[i] = 0;
        if (++u0[i] < p.out[0]) continue;
        u0[i] = 0;
        image[i] += elements;
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.add(a_tile, b_tile, true, false);
    if (folded) sums.fold_at(static_cast<int>(k - begin) + BK);
  }

  // The result is (output, tap, input) channel by channel.
  StoreWeights<T> store = {out, partial, p.channels, 0, 0, 0, column};
  long first;
  if (exchanged) {
    store.row = 1;
    store.tap = p.outputs;
    store.channel = static_cast<long>(taps) * p.outputs;
    first = static_cast<long>(g) * p.channels * taps * p.outputs + row;
  } else {
    store.row = columns;
    store.tap = p.channels;
    store.channel = 1;
    first = (static_cast<long>(g) * p.outputs + row) * columns;
  }
  if (split) {
    store.partial = partial + part * p.size + first;
  } else {
    store.out = out + first;
  }
  sums.each(store, m, n, lane, folded);
}

// The second pass of a split product: a thread adds the parts of one element, in their order. Bytes: 4 * parts per
// element read, the result written once.
template <class T>
[[kernel]] void conv_sum(device const float* partial [[buffer(0)]], device T* out [[buffer(1)]],
                         constant ConvParams& p [[buffer(2)]], uint2 at [[thread_position_in_grid]],
                         uint2 size [[threads_per_grid]]) {
  const long i = static_cast<long>(at.y) * size.x + at.x;
  if (i >= p.size) return;
  float sum = 0;
  for (int part = 0; part < p.parts; ++part) sum += partial[part * p.size + i];
  out[i] = static_cast<T>(sum);
}
