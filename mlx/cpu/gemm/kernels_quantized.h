// What is compiled once per instruction set for quantized matrices (mlx/quantized_layout.h), as a table of
// plain functions.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

// Codes: unsigned integers of a few bits, and the two small floats.
enum Code : int { kCode1, kCode2, kCode3, kCode4, kCode5, kCode6, kCode8, kE2m1, kE4m3, kCodes };
enum ScaleType : int { kScaleF32, kScaleF16, kScaleBf16, kScaleE8m0, kScaleE4m3, kScaleTypes };
enum FloatType : int { kFloat32, kFloat16, kBfloat16, kFloatTypes };
// One more way to write rows: bfloat16, rounded once at the end.
inline constexpr int kBfloat16Once = kFloatTypes;

// n columns of one row, n a multiple of 16: code * scale, rounded to the output's type, + bias, rounded
// again. The codes begin at a multiple of 32 columns, which is `column` columns behind the beginning of the
// group of scales[0] and biases[0] (biases null: none).
using DequantizeFn = void (*)(const uint32_t* codes, const float* scales, const float* biases, int group_size,
                              int64_t column, int64_t n, void* out);

// Rows of x as the dot products read them: `shuffled` is x in the order in which shifts take codes out of
// words, as floats or, for pairs, as bfloat16. Rows are k elements apart, those of the sums one per group.
struct QuantizedOperand {
  const float* x;
  const void* shuffled;
  const float* sums;  // of x, per group; null where there are no biases
};
// y[s, j] = sum_p x[s, p] w(j, p), rows j of w with k columns; scales and biases have k / group_size columns.
using QuantizedDotFn = void (*)(int64_t rows, int64_t k, int group_size, const uint32_t* codes,
                                const float* scales, const float* biases, const QuantizedOperand& x, float* y,
                                int64_t ldy);
// Dot products exist for these numbers of rows of x.
inline constexpr int kDotRows[] = {1, 2, 3, 4, 5, 6, 8};
inline constexpr int kDots = sizeof(kDotRows) / sizeof(int);

// A panel of 32 columns: out[p, j] = w(p, column + j) for rows p < n, `words` apart, whose codes of these
// columns begin at `codes`. Row p has `groups` scales and biases (1, or 2 where groups are 16 columns) at p *
// groups. Pairs: bfloat16, rows 2i and 2i + 1 in one 32-bit element, as the GEMM has them; n is even.
using DequantizePanelFn = void (*)(const uint32_t* codes, int64_t words, const float* scales,
                                   const float* biases, int groups, int64_t n, void* out);

struct QuantizedTable {
  void (*to_float[kScaleTypes])(const void* src, int64_t n, float* out);
  DequantizeFn dequantize[kCodes][kFloatTypes + 1];
  DequantizePanelFn panel[kCodes], panel_of_pairs[kCodes];
  QuantizedDotFn dot[kCodes][kDots];
  void (*shuffle[kCodes])(const float* x, int64_t k, float* out);
  void (*group_sums)(const float* x, int64_t groups, int group_size, float* out);
};

// The same for x of bfloat16, whose products with codes an instruction adds up in pairs. Null where the set
// has no such instruction, or the codes do not fill words.
struct QuantizedPairsTable {
  QuantizedDotFn dot[kCodes][kDots];
  void (*shuffle[kCodes])(const void* x, int64_t k, void* out);
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using QuantizedTable = gemm_detail::QuantizedTable;
using QuantizedPairsTable = gemm_detail::QuantizedPairsTable;
MLX_DECLARE_ISA_TABLE(QuantizedTable, quantized_kernels)
MLX_DECLARE_ISA_TABLE_WITH_BF16(QuantizedPairsTable, quantized_pairs_kernels)
}  // namespace mlx::core::cpu
