// The gated delta rule over the steps of one sequence and one head, on raw memory. The state S has a row per
// value feature and a column per key feature; with the decay g, S' = S diag(g):
//   d = beta (v - S' k),   S <- S' + d k^T,   y = S q
// Rows are independent of each other but for sums, so a head may be cut into ranges of rows. Numbers are in
// the compute type C (double for float64, else float); q, k, v, y in the element type.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct GatedDeltaHead {
  int64_t steps, dk, dv;
  const void *q, *k, *v;             // first step; one dv or dk long
  int64_t key_stride, value_stride;  // elements from step to step, of q and k, of v and y
  const void *gate, *beta;           // C
  int64_t gate_stride, beta_stride;  // from step to step
  bool gate_per_key;                 // a gate for each key feature, else one
  const uint8_t* mask;               // null, or for each step whether it counts
  const void* state;                 // C, (dv, dk)
};

struct GatedDeltaKernel {
  // Rows [begin, end). y: first step. state_out: (dv, dk). Steps that do not count give y = 0.
  void (*forward)(const GatedDeltaHead& head, int64_t begin, int64_t end, void* y, void* state_out,
                  void* workspace) = nullptr;
  // Gradients, all in C: of q and k with gate_stride's layout for a gate per key ((steps) rows of dk at
  // `key_step` elements), of v (at value_stride), gate and beta (at their strides), state. dy is in C, at
  // value_stride.
  void (*backward)(const GatedDeltaHead& head, const void* dy, const void* dstate_out, int64_t key_step,
                   void* dq, void* dk, void* dv, void* dgate, void* dbeta, void* dstate,
                   void* workspace) = nullptr;
  // Bytes of workspace.
  int64_t (*forward_bytes)(int64_t dk, int64_t rows) = nullptr;
  int64_t (*backward_bytes)(int64_t steps, int64_t dk, int64_t dv) = nullptr;
};

struct GatedDeltaTable {
  GatedDeltaKernel at[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(GatedDeltaTable, gated_delta_kernels)

}  // namespace mlx::core::cpu
