// Convolution with 3 x 3 taps by F(4 x 4, 3 x 3) (Winograd; arXiv:1509.09308): with tiles d of 6 x 6 inputs and the
// taps w of a pair of channels,
//
//     a tile of 4 x 4 outputs = A^T [ sum over channels of (G w G^T) * (B^T d B) ] A
//
// where * is element by element: 36 products of matrices (tiles x C) (C x O) of the GEMM kernels, in float32 for every
// dtype. 36 multiplications make 16 outputs of one channel instead of 144: a quarter.
//
// Arithmetic: 36 / 16 * 2 C O = 4.5 C O per output position instead of 18 C O. Bytes, per position and beside the
// products: x once (2.25 times, the rest from the cache), 36 / 16 floats of C written and read, 36 / 16 of O written and
// read, the result once: about 22 (C + O). The transformed taps: 324 C O bytes in all. metal/host/winograd.cpp weighs
// them.
//
// The tiles are values of polynomials at 0, +-a, +-b and infinity. The transforms add numbers larger than the result, and
// how much larger depends on the points: with a = 5 / 8, b = 3 / 2 the error was 2.1e-6 of the largest output of 192
// channels in float32, with the usual 1 and 2 8.1e-6 (a sum of products in order: 0.4e-6).
//
// Registers: 36 values of a tile, 36 of the first transform. No threadgroup memory.
#include "metal/kernels/conv.h"

constant bool mirrored [[function_constant(0)]];

METAL_FUNC int tiles_along(int n) { return (n + 3) / 4; }

constant constexpr float a = 0.625f, a2 = a * a, a3 = a2 * a, b = 1.5f, b2 = b * b, b3 = b2 * b;
constant constexpr float product = a2 * b2, sum_of = a2 + b2;
constant constexpr float near = 1 / (2 * a2 * (a2 - b2)), far = 1 / (2 * b2 * (b2 - a2));

// B^T d, of one column.
METAL_FUNC void to_tile(thread const float* d, int step, thread float* to) {
  const float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const float even = d4 - b2 * d2, odd = a * (d3 - b2 * d1);
  const float far_even = d4 - a2 * d2, far_odd = b * (d3 - a2 * d1);
  to[0] = product * d0 - sum_of * d2 + d4;
  to[step] = even + odd;
  to[2 * step] = even - odd;
  to[3 * step] = far_even + far_odd;
  to[4 * step] = far_even - far_odd;
  to[5 * step] = product * d1 - sum_of * d3 + d5;
}
// G w
METAL_FUNC void to_taps(float w0, float w1, float w2, thread float* to, int step) {
  const float even = (w0 + a2 * w2) * near, odd = a * w1 * near;
  const float far_even = (w0 + b2 * w2) * far, far_odd = b * w1 * far;
  to[0] = w0 / product;
  to[step] = even + odd;
  to[2 * step] = even - odd;
  to[3 * step] = far_even + far_odd;
  to[4 * step] = far_even - far_odd;
  to[5 * step] = w2;
}
// A^T m
METAL_FUNC void to_outputs(thread const float* m, int step, thread float* to, int to_step) {
  const float even = m[step] + m[2 * step], odd = m[step] - m[2 * step];
  const float far_even = m[3 * step] + m[4 * step], far_odd = m[3 * step] - m[4 * step];
  to[0] = m[0] + even + far_even;
  to[to_step] = a * odd + b * far_odd;
  to[2 * to_step] = a2 * even + b2 * far_even;
  to[3 * to_step] = a3 * odd + b3 * far_odd + m[5 * step];
}

// (36, tiles, C) of x; a thread per tile and channel.
template <class T>
[[kernel]] void winograd_input(device const T* x [[buffer(0)]], device float* out [[buffer(1)]],
                               constant ConvParams& p [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {
  const int c = static_cast<int>(at.x), across = tiles_along(p.out[2]), down = tiles_along(p.out[1]);
  const int tile = static_cast<int>(at.y), n = tile / (across * down);
  const int r = tile / across % down * 4 - p.low[1], s = tile % across * 4 - p.low[2];
  device const T* from = x + static_cast<long>(n) * p.in[1] * p.in[2] * p.channels + c;
  float d[36], e[36];
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      float value = 0;
      if (inside(r + i, p.in[1]) && inside(s + j, p.in[2]))
        value = static_cast<float>(from[(static_cast<long>(r + i) * p.in[2] + s + j) * p.channels]);
      d[i * 6 + j] = value;
    }
  for (int j = 0; j < 6; ++j) to_tile(d + j, 6, e + j);
  for (int i = 0; i < 6; ++i) to_tile(e + 6 * i, 1, d + 6 * i);
  const long step = static_cast<long>(p.batch) * down * across * p.channels;
  out += static_cast<long>(tile) * p.channels + c;
  for (int i = 0; i < 36; ++i) out[i * step] = d[i];
}

// (36, O, C) of w; a thread per pair of channels.
template <class T>
[[kernel]] void winograd_taps(device const T* w [[buffer(0)]], device float* out [[buffer(1)]],
                              constant ConvParams& p [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {
  device const T* from = w + static_cast<long>(at.y) * 9 * p.channels + at.x;
  float taps[9], half_way[18], all[36];
  for (int i = 0; i < 9; ++i) taps[mirrored ? 8 - i : i] = static_cast<float>(from[i * p.channels]);
  for (int j = 0; j < 3; ++j) to_taps(taps[j], taps[3 + j], taps[6 + j], half_way + j, 3);
  for (int i = 0; i < 6; ++i) to_taps(half_way[3 * i], half_way[3 * i + 1], half_way[3 * i + 2], all + 6 * i, 1);
  out += static_cast<long>(at.y) * p.channels + at.x;
  for (int i = 0; i < 36; ++i) out[static_cast<long>(i) * p.outputs * p.channels] = all[i];
}

// The output from (36, tiles, O); a thread per tile and channel.
template <class T>
[[kernel]] void winograd_output(device const float* products [[buffer(0)]], device T* out [[buffer(1)]],
                                constant ConvParams& p [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {
  const int across = tiles_along(p.out[2]), down = tiles_along(p.out[1]);
  const int tile = static_cast<int>(at.y), n = tile / (across * down);
  const int r = tile / across % down * 4, s = tile % across * 4;
  const long step = static_cast<long>(p.batch) * down * across * p.outputs;
  products += static_cast<long>(tile) * p.outputs + at.x;
  float m[36], half_way[24], all[16];
  for (int i = 0; i < 36; ++i) m[i] = products[i * step];
  for (int j = 0; j < 6; ++j) to_outputs(m + j, 6, half_way + j, 6);
  for (int i = 0; i < 4; ++i) to_outputs(half_way + 6 * i, 1, all + 4 * i, 1);
  out += static_cast<long>(n) * p.out[1] * p.out[2] * p.outputs + at.x;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      if (r + i < p.out[1] && s + j < p.out[2])
        out[(static_cast<long>(r + i) * p.out[2] + s + j) * p.outputs] = static_cast<T>(all[4 * i + j]);
}
