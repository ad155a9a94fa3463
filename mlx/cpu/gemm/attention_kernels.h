// What attention compiles once per instruction set beside the GEMM's tables: the passes over tiles of scores.
//
// Tiles of scores lie transposed, [key][query] with one query per lane (nr of the float32 family), so that
// the softmax over keys needs no sums across lanes and its result is at once the packed B panel of the
// product with V. Scores are in units of log2: the queries were multiplied by scale * log2(e).
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

// Scores that a boolean or causal mask excludes; a row of nothing else comes out uniform.
inline constexpr float kMaskedScore = -3.402823466e+38f;

struct AttentionTable {
  void (*scale)(float* x, int64_t n, float factor);
  // s[keys][nr] becomes exp2(s - m); m and l [nr] are the running maximum and sum, correction what old sums
  // shrank by.
  void (*softmax_tile)(float* s, int64_t keys, float* m, float* l, float* correction);
  // o[rows][nr] *= correction[nr]
  void (*rescale)(float* o, int64_t rows, const float* correction);
  // out[lane * stride + row] = o[row][lane] * factor[lane], for `lanes` lanes (out: stored type)
  void (*store_transposed[kElems])(const float* o, int64_t rows, int lanes, const float* factor, void* out,
                                   int64_t stride);
  // s[key][lane] = key0 + key > query0 + lane ? kMaskedScore : s
  void (*causal_tile)(float* s, int64_t keys, int64_t key0, int64_t query0);
  // s[key][lane] = mask[key][lane] ? s : kMaskedScore, and s += mask * log2(e)
  void (*bool_tile)(float* s, int64_t n, const uint8_t* mask);
  void (*add_tile)(float* s, int64_t n, const float* mask);
  // One row: x = exp2(x * factor - m) with m the maximum of x * factor (and of *m before); adds the sum to
  // *l.
  void (*softmax_row)(float* x, int64_t n, float factor, float* m, float* l);
  // Backward, one query per lane: p = exp2(s - m) * inverse, then dp becomes p * (dp - delta), 0 where s is
  // masked.
  void (*grad_lanes)(const float* s, float* dp, int64_t keys, const float* m, const float* inverse,
                     const float* delta);
  // Backward, one key per lane and one query per row: also leaves p in s.
  void (*grad_rows)(float* s, float* dp, int64_t rows, const float* m, const float* inverse,
                    const float* delta);
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using AttentionTable = gemm_detail::AttentionTable;
MLX_DECLARE_ISA_TABLE(AttentionTable, attention_kernels)
}  // namespace mlx::core::cpu
