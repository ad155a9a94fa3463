// Convolutions whose groups have one input channel, and the gradient of their weights. A product of matrices has nothing
// to share here, so lanes are channels, and each sum is made by one thread, in float32.
//
// A threadgroup of 32 by 8 threads computes a tile of 8 x per_thread (or 1 x 8 per_thread) outputs of 32 channels. What
// the tile meets of x lies in threadgroup memory (`staged`; a kernel that reaches too far reads the device instead).
// Bytes read: x times (tile + reach) / tile, (10 * 10) / (8 * 8) = 1.56 for 3 x 3 and stride 1, 67 / 64 for a line of 4
// taps; weights once per tile. The minimum is x and w once. Written: the result once. 2 * taps operations per element
// read and written, 18 per 10 bytes for 3 x 3 in float32: bound by memory. Threadgroup memory: 13.9 KiB for 3 x 3, at most
// 24 KiB. Registers: per_thread (up to 8) sums, and as many weights as a row of taps where it slides.
#include "metal/kernels/conv.h"

constant bool staged [[function_constant(0)]];
constant int per_thread [[function_constant(1)]];   // outputs along a row: 1 to 8
constant int tile_rows [[function_constant(2)]];    // 8 or 1
constant int slide [[function_constant(3)]];        // taps in a row that neighbouring outputs share, 0: none
constant bool split [[function_constant(4)]];       // gradient: parts of the positions go to `partial`
constant bool divided [[function_constant(5)]];     // gradient: positions have to be divided, see conv_weights
constant bool exchanged [[function_constant(6)]];   // gradient: x lies as it is, g is gathered
constant bool whole = !split;

constant constexpr int rows_of_threads = 8;
constant constexpr int most_per_thread = 8;

// As in metal/host/conv.cpp.
struct Halo {
  int rows, columns;  // of x in threadgroup memory
  int tiles;          // gradient: per part
};

// A part of a plane to threadgroup memory; zeros where there is nothing.
template <class T>
METAL_FUNC void load_plane(threadgroup T* tile, device const T* plane, int rows, int columns, int v1, int v2, int in1,
                           int in2, long pitch, int channels, uint index) {
  for (int i = static_cast<int>(index); i < rows * columns * 32; i += 32 * rows_of_threads) {
    const int c = i % 32, at = i / 32, r = v1 + at / columns, col = v2 + at % columns;
    T value = T(0);
    if (c < channels && inside(r, in1) && inside(col, in2))
      value = plane[(static_cast<long>(r) * in2 + col) * pitch + c];
    tile[i] = value;
  }
}

template <class T>
[[kernel, max_total_threads_per_threadgroup(256)]] void depthwise(
    device const T* x [[buffer(0)]], device const T* w [[buffer(1)]], device T* out [[buffer(2)]],
    constant ConvParams& p [[buffer(3)]], constant Halo& halo [[buffer(4)]], threadgroup T* held [[threadgroup(0)]],
    uint3 group [[threadgroup_position_in_grid]], uint2 thread_at [[thread_position_in_threadgroup]]) {
  const int lane = static_cast<int>(thread_at.x), y = static_cast<int>(thread_at.y);
  const uint index = thread_at.y * 32 + thread_at.x;
  const int all_outputs = p.outputs * p.groups, first = static_cast<int>(group.x) * 32, o = first + lane;
  const int c0 = first / p.outputs, c = min(o, all_outputs - 1) / p.outputs;
  const int channels = (min(first + 32, all_outputs) - 1) / p.outputs - c0 + 1;
  const bool exists = o < all_outputs;

  uint z = group.z;
  Phase phase[3];
  for (int d = 2; d >= 0; --d) {
    const int step = p.input_dilation[d];
    phase[d] = phase_of(p, d, static_cast<int>(z % step));
    z /= step;
  }
  const int taps0 = phase[0].taps, taps1 = phase[1].taps, taps2 = phase[2].taps;
  const int across = rows_of_threads / tile_rows, tile_columns = across * per_thread;
  const int tiles2 = (p.out[2] + tile_columns * phase[2].step - 1) / (tile_columns * phase[2].step);
  const int tiles1 = (p.out[1] + tile_rows * phase[1].step - 1) / (tile_rows * phase[1].step);
  int tile = static_cast<int>(group.y);
  const int first2 = tile % tiles2 * tile_columns;
  tile /= tiles2;
  const int first1 = tile % tiles1 * tile_rows, q0 = tile / tiles1;
  if (q0 >= phase[0].outs) return;
  const int ty = y / across, tx = y % across * per_thread;  // of this thread in the tile

  // Where the tile begins in x: taps may reach backwards.
  const int back1 = min(0, (taps1 - 1) * phase[1].reach), back2 = min(0, (taps2 - 1) * phase[2].reach);
  const int v1 = phase[1].base + first1 * p.stride[1] + back1, v2 = phase[2].base + first2 * p.stride[2] + back2;
  const int r0 = ty * p.stride[1] - back1, s0 = tx * p.stride[2] - back2;
  threadgroup T* weights = held + (staged ? halo.rows * halo.columns * 32 : 0);
  const long pitch = p.groups;
  const long plane = static_cast<long>(p.in[1]) * p.in[2] * pitch;
  const long w_pitch = taps_of(p);

  float sums[most_per_thread];
  for (int i = 0; i < per_thread; ++i) sums[i] = 0;
  for (int j0 = 0; j0 < taps0; ++j0) {
    const int v0 = phase[0].base + q0 * p.stride[0] + j0 * phase[0].reach;
    if (!inside(v0, p.in[0])) continue;
    device const T* from = x + (static_cast<long>(z) * p.in[0] + v0) * plane;
    const long tap0 = static_cast<long>(phase[0].tap + j0 * p.tap_step[0]) * p.taps[1];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = static_cast<int>(index); i < taps1 * taps2 * 32; i += 32 * rows_of_threads) {
      const int channel = i % 32, t = i / 32, t1 = t / taps2, t2 = t % taps2;
      const long tap = (tap0 + phase[1].tap + t1 * p.tap_step[1]) * p.taps[2] + phase[2].tap + t2 * p.tap_step[2];
      T value = T(0);
      if (first + channel < all_outputs) value = w[(first + channel) * w_pitch + tap];
      weights[i] = value;
    }
    if (staged)
      load_plane(held, from + c0, halo.rows, halo.columns, v1, v2, p.in[1], p.in[2], pitch, channels, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);

    for (int j1 = 0; j1 < taps1; ++j1) {
      const int r = r0 + j1 * phase[1].reach;
      threadgroup const T* row = held + (r * halo.columns + s0) * 32 + c - c0;
      threadgroup const T* row_of_taps = weights + j1 * taps2 * 32 + lane;
      if (slide > 0) {
        for (int i = 0; i < per_thread + slide - 1; ++i) {
          const float value = static_cast<float>(row[i * 32]);
          for (int j = 0; j < slide; ++j)
            if (i - j >= 0 && i - j < per_thread) sums[i - j] += static_cast<float>(row_of_taps[j * 32]) * value;
        }
        continue;
      }
      for (int j2 = 0; j2 < taps2; ++j2) {
        const float weight = static_cast<float>(row_of_taps[j2 * 32]);
        for (int i = 0; i < per_thread; ++i) {
          const int col = i * p.stride[2] + j2 * phase[2].reach;
          if (staged) {
            sums[i] += weight * static_cast<float>(row[col * 32]);
          } else if (inside(v1 + r, p.in[1]) && inside(v2 + s0 + col, p.in[2])) {
            sums[i] += weight * static_cast<float>(from[(static_cast<long>(v1 + r) * p.in[2] + v2 + s0 + col) * pitch + c]);
          }
        }
      }
    }
  }
  const int q1 = first1 + ty;
  if (!exists || q1 >= phase[1].outs) return;
  const long line = ((static_cast<long>(z) * p.out[0] + phase[0].first + q0 * phase[0].step) * p.out[1] +
                     phase[1].first + q1 * phase[1].step) *
                    p.out[2];
  for (int i = 0; i < per_thread; ++i) {
    const int q2 = first2 + tx + i;
    if (q2 < phase[2].outs)
      out[(line + phase[2].first + q2 * phase[2].step) * all_outputs + o] = static_cast<T>(sums[i]);
  }
}

// dw[o, t] = sum over positions of plain[position, a] * gathered[position * stride - low + t * dilation, b], where a and b
// are o's channels of g and x (`exchanged`: of x and g). A threadgroup walks over a part of the tiles of positions; a
// thread has every eighth tap of a plane, eight at most. Bytes read: plain once, gathered as x above, per 64 taps and
// plane of taps. Threadgroup memory: the tiles of both, 20.5 KiB for 3 x 3.
template <class T>
[[kernel, max_total_threads_per_threadgroup(256)]] void depthwise_weights(
    device const T* plain [[buffer(0)]], device const T* gathered [[buffer(1)]],
    device T* out [[buffer(2), function_constant(whole)]], constant ConvParams& p [[buffer(3)]],
    constant Halo& halo [[buffer(4)]], device float* partial [[buffer(5), function_constant(split)]],
    threadgroup T* held [[threadgroup(0)]], uint3 group [[threadgroup_position_in_grid]],
    uint2 thread_at [[thread_position_in_threadgroup]]) {
  const int lane = static_cast<int>(thread_at.x), y = static_cast<int>(thread_at.y);
  const uint index = thread_at.y * 32 + thread_at.x;
  const int multiplier = p.outputs, all_outputs = multiplier * p.groups, first = static_cast<int>(group.x) * 32;
  const int o = first + lane, last = min(first + 32, all_outputs) - 1;
  const int plain_of = exchanged ? multiplier : 1, gathered_of = exchanged ? 1 : multiplier;
  const long plain_pitch = all_outputs / plain_of, pitch = all_outputs / gathered_of;
  const int a0 = first / plain_of, b0 = first / gathered_of;
  const int a = min(o, last) / plain_of, b = min(o, last) / gathered_of;
  const int plain_channels = last / plain_of - a0 + 1, channels = last / gathered_of - b0 + 1;

  const int plane_taps = p.taps[1] * p.taps[2], chunks = (plane_taps + 63) / 64;
  const int t0 = static_cast<int>(group.z) / chunks, tap_begin = static_cast<int>(group.z) % chunks * 64;
  const int taps = min(64, plane_taps - tap_begin);
  const int tile_columns = 64 / tile_rows;
  const int tiles2 = (p.out[2] + tile_columns - 1) / tile_columns, tiles1 = (p.out[1] + tile_rows - 1) / tile_rows;
  const long all_tiles = static_cast<long>(p.batch) * p.out[0] * tiles1 * tiles2;
  const long begin = static_cast<long>(group.y) * halo.tiles, end = min(begin + halo.tiles, all_tiles);
  const int back1 = min(0, (p.taps[1] - 1) * p.dilation[1]), back2 = min(0, (p.taps[2] - 1) * p.dilation[2]);
  threadgroup T* gathered_tile = held + 64 * 32;

  float totals[8];
  for (int i = 0; i < 8; ++i) totals[i] = 0;
  for (long tile = begin; tile < end; ++tile) {
    const int first2 = static_cast<int>(tile % tiles2) * tile_columns;
    const long rest = tile / tiles2, image = rest / tiles1;
    const int first1 = static_cast<int>(rest % tiles1) * tile_rows;
    const int u0 = static_cast<int>(image % p.out[0]), n = static_cast<int>(image / p.out[0]);
    int v0 = u0 * p.stride[0] - p.low[0] + t0 * p.dilation[0];
    if (divided) {
      if (v0 % p.input_dilation[0] != 0) continue;
      v0 /= p.input_dilation[0];
    }
    if (!inside(v0, p.in[0])) continue;
    const int v1 = first1 * p.stride[1] - p.low[1] + back1, v2 = first2 * p.stride[2] - p.low[2] + back2;
    device const T* from = gathered + (static_cast<long>(n) * p.in[0] + v0) * p.in[1] * p.in[2] * pitch;
    device const T* from_plain = plain + image * p.out[1] * p.out[2] * plain_pitch + a0;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_plane(held, from_plain, tile_rows, tile_columns, first1, first2, p.out[1], p.out[2], plain_pitch, plain_channels,
               index);
    if (staged)
      load_plane(gathered_tile, from + b0, halo.rows, halo.columns, v1, v2, p.in[1], p.in[2], pitch, channels, index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < 8; ++i) {
      const int t = tap_begin + y + i * rows_of_threads;
      if (t >= tap_begin + taps) break;
      const int r = t / p.taps[2] * p.dilation[1] - back1, s = t % p.taps[2] * p.dilation[2] - back2;
      float sum = 0;
      for (int at = 0; at < 64; ++at) {
        if (first1 + at / tile_columns >= p.out[1] || first2 + at % tile_columns >= p.out[2]) continue;
        const float g = static_cast<float>(held[at * 32 + a - a0]);
        const int row = at / tile_columns * p.stride[1] + r, col = at % tile_columns * p.stride[2] + s;
        if (staged) {
          sum += g * static_cast<float>(gathered_tile[(row * halo.columns + col) * 32 + b - b0]);
          continue;
        }
        int w1 = v1 + row, w2 = v2 + col;
        if (divided) {
          if (w1 % p.input_dilation[1] != 0 || w2 % p.input_dilation[2] != 0) continue;
          w1 /= p.input_dilation[1];
          w2 /= p.input_dilation[2];
        }
        if (inside(w1, p.in[1]) && inside(w2, p.in[2]))
          sum += g * static_cast<float>(from[(static_cast<long>(w1) * p.in[2] + w2) * pitch + b]);
      }
      totals[i] += sum;
    }
  }
  if (o >= all_outputs) return;
  for (int i = 0; i < 8; ++i) {
    const int t = tap_begin + y + i * rows_of_threads;
    if (t >= tap_begin + taps) break;
    const long at = static_cast<long>(o) * taps_of(p) + t0 * plane_taps + t;
    if (split) {
      partial[group.y * p.size + at] = totals[i];
    } else {
      out[at] = static_cast<T>(totals[i]);
    }
  }
}
