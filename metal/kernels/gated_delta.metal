// The gated delta rule over the steps of a sequence, head by head; T, the type of q, k, v and y, is defined in front of this
// text. The state S (dv, dk) is in floats; with the decay g, S' = S diag(g):
//   d = beta (v - S' k),   S <- S' + d k^T,   y = S q = S' q + d (k . q)
//
// A SIMD-group keeps four rows of the state in registers over all steps, each lane every 32nd of their elements.
// Bytes moved: the state is read once and written once, v and y once; k, q and gates once per four rows, from the cache
// but for the first. 9 operations per element of the state and step, none of which waits for memory.
#include "metal/kernels/types.h"

constant bool gate_per_key [[function_constant(0)]];
constant bool masked [[function_constant(1)]];
constant int chunks [[function_constant(2)]];  // of 32 elements, of a row
constant constexpr int rows = 4, most_chunks = 8;

struct Delta {
  uint steps, key_heads, heads, dk, dv;
};

kernel void gated_delta(device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
                        device const float* gate [[buffer(3)]], device const float* beta [[buffer(4)]],
                        device const float* state [[buffer(5)]],
                        device const bool* mask [[buffer(6), function_constant(masked)]], device T* y [[buffer(7)]],
                        device float* state_out [[buffer(8)]], constant Delta& p [[buffer(9)]],
                        uint2 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                        uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint first = (group.x * simds + simd) * rows, batch = group.y / p.heads, head = group.y % p.heads;
  if (first >= p.dv) return;
  const uint key_head = head / (p.heads / p.key_heads);
  const ulong state_at = static_cast<ulong>(group.y) * p.dv * p.dk;
  float s[rows][most_chunks];
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < chunks; ++j) {
      const uint i = 32 * j + lane;
      s[r][j] = first + r < p.dv && i < p.dk ? state[state_at + (first + r) * p.dk + i] : 0.0f;
    }
  for (uint t = 0; t < p.steps; ++t) {
    const ulong step = static_cast<ulong>(batch) * p.steps + t, here = step * p.heads + head;
    if (masked && !mask[step]) {
      if (lane < rows && first + lane < p.dv) y[here * p.dv + first + lane] = static_cast<T>(0.0f);
      continue;
    }
    const ulong key_at = (step * p.key_heads + key_head) * p.dk;
    float key[most_chunks], query[most_chunks], decay[most_chunks], both = 0;
    const float shared = gate_per_key ? 0.0f : simd_shuffle(lane == 0 ? gate[here] : 0.0f, 0);
    for (int j = 0; j < chunks; ++j) {
      const uint i = 32 * j + lane;
      const bool inside = i < p.dk;
      key[j] = inside ? static_cast<float>(k[key_at + i]) : 0.0f;
      query[j] = inside ? static_cast<float>(q[key_at + i]) : 0.0f;
      decay[j] = gate_per_key ? (inside ? gate[here * p.dk + i] : 0.0f) : shared;
      both += key[j] * query[j];
    }
    both = simd_sum(both);
    // Lane r has the value of row r, for all of them.
    const bool owns = lane < rows && first + lane < p.dv;
    const float values = owns ? static_cast<float>(v[here * p.dv + first + lane]) : 0.0f;
    const float weight = simd_shuffle(lane == 0 ? beta[here] : 0.0f, 0);
    for (int r = 0; r < rows; ++r) {
      const uint row = first + r;
      float with_key = 0, with_query = 0;
      for (int j = 0; j < chunks; ++j) {
        s[r][j] *= decay[j];
        with_key = fma(s[r][j], key[j], with_key);
        with_query = fma(s[r][j], query[j], with_query);
      }
      with_key = simd_sum(with_key), with_query = simd_sum(with_query);
      if (row >= p.dv) break;
      const float d = (simd_shuffle(values, r) - with_key) * weight;
      for (int j = 0; j < chunks; ++j) s[r][j] = fma(d, key[j], s[r][j]);
      if (lane == 0) y[here * p.dv + row] = static_cast<T>(fma(d, both, with_query));
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < chunks; ++j) {
      const uint i = 32 * j + lane;
      if (first + r < p.dv && i < p.dk) state_out[state_at + (first + r) * p.dk + i] = s[r][j];
    }
}
