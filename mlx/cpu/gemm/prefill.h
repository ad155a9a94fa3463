// What the loops around the kernels of kernels_prefill.h share.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels_prefill.h"
#include "mlx/cpu/gemm/quantized.h"

namespace mlx::core::cpu::gemm_detail {

inline constexpr int64_t kPiece = 512;  // columns of a packed piece of w: it stays in the first-level cache

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Scales or biases of `rows` <= kPrefillColumns rows of w, `groups` <= kMostTurned of them from g0 on,
// turned: kPrefillColumns for each group. `unit` is a factor of scales that are small floats.
inline constexpr int64_t kMostTurned = kPiece / 16;
void turn_scales(const QuantizedMatrix& w, const void* source, int64_t row, int rows, int64_t g0,
                 int64_t groups, float unit, float* out);

// Products on matrix tiles, where the machine has them and the layout suits; else false.
bool prefill_on_tiles(const QuantizedProduct& p);

}  // namespace mlx::core::cpu::gemm_detail
