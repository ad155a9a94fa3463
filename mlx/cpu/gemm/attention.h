// Attention of the CPU backend, on raw memory, without ever holding a row of Lk scores (Lq x Lk): for each
// batch and head
//
//     O = softmax(scale * Q K^T + mask) V       Q (Lq, D), K (Lk, D), V (Lk, Dv)
//
// as in FlashAttention (arXiv:2205.14135, 2307.08691), with grouped-query heads: query head h reads key head
// h / (heads / kv_heads). Few query rows (decoding) take a path that reads K and V once, cut over keys.
// Types: float32, float16, bfloat16, one for all of Q, K, V and O; scores, softmax and sums are float32.
// Masks: causal (query i sees keys up to i + Lk - Lq), boolean (true: seen) or additive (of Q's type), with
// any strides. A row that a causal or boolean mask leaves nothing is uniform over all keys; one of -inf is
// nan. A sink is one more score per head that takes part in the softmax's sum alone. Results have the same
// bits for any number of threads.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {

// (batch, head, row, column), strides in elements; 0 broadcasts.
struct AttentionOperand {
  const void* data = nullptr;
  int64_t batch = 0, head = 0, row = 0, col = 1;
};

enum class AttentionMask { none, boolean, additive };

struct AttentionCall {
  Dtype dtype = float32;
  int64_t batch = 0, heads = 0, kv_heads = 0, lq = 0, lk = 0, d = 0, dv = 0;
  AttentionOperand q, k, v;
  AttentionOperand out;  // written; its columns are contiguous
  float scale = 1;
  bool causal = false;
  AttentionMask mask_kind = AttentionMask::none;
  AttentionOperand mask;
  const float* sinks = nullptr;  // [heads]
  // Per row: the maximum of the scores in units of log2 and the reciprocal of the sum. [batch][heads][lq][2],
  // or null.
  float* stats = nullptr;
};

void attention(const AttentionCall& call);
void attention_for(Isa isa, const AttentionCall& call);

// Gradients: dq, dk, dv (columns contiguous, strides as given) from dout, with call.out the forward result
// and call.stats what it wrote. Null data skips a gradient. Sums over queries and over heads of a group run
// in a fixed order.
struct AttentionGradients {
  AttentionOperand dout;
  AttentionOperand dq, dk, dv;
};
void attention_backward(const AttentionCall& call, const AttentionGradients& gradients);
void attention_backward_for(Isa isa, const AttentionCall& call, const AttentionGradients& gradients);

}  // namespace mlx::core::cpu
