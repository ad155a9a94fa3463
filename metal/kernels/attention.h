// Attention: what the kernels share. Scores are in units of log2: exp2 is the instruction that there is.
#pragma once
#include "metal/kernels/gemm.h"

constant bool vectors [[function_constant(0)]];      // rows of q, k and v begin at multiples of four elements
constant bool causal [[function_constant(1)]];       // query i sees keys up to i + lk - lq
constant bool has_allowed [[function_constant(2)]];  // a boolean mask
constant bool has_mask [[function_constant(3)]];     // an additive mask
constant bool has_sinks [[function_constant(4)]];    // one more score per head, of the sum alone

// Strides: of batch, head, row; then where the first element is.
struct AttentionParams {
  int heads, kv_heads, lq, lk, d, dv;
  int part;     // of the keys; a multiple of the block
  float scale;  // in units of log2
  long q[4], k[4], v[4];
  long mask[5];  // and a stride of columns
};

constant constexpr float log2e = 1.44269504088896341f;
// Of a key that a mask excludes: a row that excludes all of them is uniform.
constant constexpr float excluded = -1e30f;

METAL_FUNC long place_of(constant long* strides, long batch, long head, long row, int first) {
  return batch * strides[0] + head * strides[1] + row * strides[2] + strides[first];
}

template <class T>
struct Mask {
  device const bool* allowed;
  device const T* added;
  long column;  // stride
  METAL_FUNC float operator()(float score, int row, int key, int last, long at) const {
    if (has_allowed && !allowed[at + key * column]) return excluded;
    if (causal && key > row + last) return excluded;
    if (has_mask) score += static_cast<float>(added[at + key * column]) * log2e;
    return score;
  }
};

// How many keys a block of rows needs: a row that sees none weighs all of them alike.
METAL_FUNC int keys_of(int first_row, int rows, constant AttentionParams& p) {
  const int last = p.lk - p.lq;
  if (!causal || first_row + last < 0) return p.lk;
  return min(p.lk, first_row + rows + last);
}

// Over the lanes that hold one row of a matrix of 8 by 8 (see matrix_place).
METAL_FUNC float row_max(float x) {
  x = max(x, simd_shuffle_xor(x, 1));
  return max(x, simd_shuffle_xor(x, 8));
}
METAL_FUNC float row_sum(float x) {
  x += simd_shuffle_xor(x, 1);
  return x + simd_shuffle_xor(x, 8);
}
