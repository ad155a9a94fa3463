// Convolutions of one to three spatial dimensions, channels last, given as three (missing ones in front, of
// size 1):
//
//     out[n, p, o] = sum over taps t, channels c of  x'[n, p * stride - low + t * dilation, c] * w[o, t, c]
//
// x' has input_dilation - 1 zeros between neighbours. Outputs whose positions are the same modulo the input
// dilation form a phase: they meet only every tap_step-th tap, and in those x' is x. A phase is therefore a
// convolution without input dilation, and no zero is multiplied. A mirrored kernel is one whose dilation is
// negative.
#pragma once
#include "metal/kernels/gemm.h"

// As struct ConvParams of metal/host/conv.h. `in` is the operand whose elements are gathered, C its channels.
struct ConvParams {
  int batch, groups, channels, outputs;  // channels and outputs of one group
  int in[3], out[3], taps[3], stride[3], dilation[3], low[3];
  int input_dilation[3], tap_step[3];
  int part;  // split: elements of k, a multiple of BK
  int parts;
  long k;     // weight gradient: positions
  long size;  // of the result
};

METAL_FUNC int taps_of(constant ConvParams& p) { return p.taps[0] * p.taps[1] * p.taps[2]; }

// One dimension of a phase: position q of it is out[first + q * step], and its tap j, tap + j * tap_step of
// w, meets in[base + q * stride + j * reach].
struct Phase {
  int first, step, outs, tap, taps, base, reach;
};
METAL_FUNC Phase phase_of(constant ConvParams& p, int d, int residue) {
  const int step = p.input_dilation[d], start = residue * p.stride[d] - p.low[d];
  int tap = 0;
  while (tap < p.tap_step[d] && (start + tap * p.dilation[d]) % step != 0) ++tap;
  const bool some = tap < p.tap_step[d] && tap < p.taps[d];
  return {residue,
          step,
          (p.out[d] - residue + step - 1) / step,
          tap,
          some ? (p.taps[d] - 1 - tap) / p.tap_step[d] + 1 : 0,
          (start + tap * p.dilation[d]) / step,
          p.tap_step[d] * p.dilation[d] / step};
}

// A place in k = (tap, channel), taps row by row.
struct Walk {
  int c, t0, t1, t2;
  METAL_FUNC void begin(int k, int channels, int taps1, int taps2) {
    c = k % channels;
    int t = k / channels;
    t2 = t % taps2;
    t /= taps2;
    t1 = t % taps1;
    t0 = t / taps1;
  }
  METAL_FUNC void go(int steps, int channels, int taps1, int taps2) {
    c += steps;
    while (c >= channels) {
      c -= channels;
      if (++t2 < taps2) continue;
      t2 = 0;
      if (++t1 < taps1) continue;
      t1 = 0;
      ++t0;
    }
  }
};

METAL_FUNC bool inside(int i, int n) { return static_cast<uint>(i) < static_cast<uint>(n); }
