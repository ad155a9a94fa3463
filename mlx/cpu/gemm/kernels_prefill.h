// Products of many rows of x with quantized rows, in 16-bit integers: codes are exact in them, and x is one
// or two of them: rounded to 16 bits of the largest number of its group (more than float16 and bfloat16 have
// where it matters), or to 32 (float32). Panels lie group by group along k; within a group, a step is a pair
// of columns in one 32-bit element, as the dot-product instructions want.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels_quantized.h"

namespace mlx::core::cpu::gemm_detail {

// Rows of x, at most kPrefillRows: for every group, `steps` times `rows` pairs, and per row a scale and the
// scaled sum of the rounded numbers.
struct PrefillRows {
  int rows;
  int32_t* pairs;
  float* scales;
  float* sums;
};
inline constexpr int kPrefillRows = 12, kPrefillColumns = 32;

// The same on matrix tiles: codes are exact in bfloat16, and x is one to three of those (amx_panels.h).
// Panels of x have kTileRows rows, those of w kPrefillColumns columns; a chunk is 32 elements along k.
inline constexpr int kTileRows = 32, kTileChunk = 32;
struct PrefillTiles {
  // k columns of `rows` <= kTileRows rows, a header of kTileHeader bytes before the chunks. Null where the
  // set has no tiles.
  void (*pack_x[kFloatTypes])(const void* x, int64_t ldx, int64_t stride_k, int rows, int64_t k, void* panel);
  int64_t chunk_bytes[kFloatTypes];
  // What the header says: the panel is x times 2^scale, and whether it is one at all (numbers too far apart
  // or not finite: no).
  bool (*usable)(const void* panel, int* scale);
  void (*pack_w[kCodes])(const uint32_t* w, int64_t words, int count, int64_t k, void* panel);
  // c[kTileRows, kPrefillColumns] += x w over some groups of a multiple of kTileChunk columns; rows from
  // `rows` on may be left as they are. Scales and biases (null: none) of w: kPrefillColumns for each group;
  // sums of x: kTileRows for each group.
  void (*tile[kFloatTypes])(int rows, const void* x, int scale, int64_t groups, int group_size, const void* w,
                            const float* scales, const float* biases, const float* sums, float* c);
};
inline constexpr int64_t kTileHeader = 64, kTileBytesOfW = kTileChunk * kPrefillColumns * 2;

struct PrefillTable {
  PrefillTiles tiles;
  // False where a number is not finite or a group too small: those are no integers. Null where the set has no
  // such instructions. `low` (null: none) gets what rounding leaves; the sums of `out` are those of both.
  bool (*pack_x)(const float* x, int64_t ldx, int64_t k, int group_size, const PrefillRows& out,
                 const PrefillRows* low);
  // `count` <= kPrefillColumns rows of w, `words` apart, k columns (a multiple of 32) of each; others are
  // zeros.
  void (*pack_w[kCodes])(const uint32_t* w, int64_t words, int count, int64_t k, int32_t* pairs);
  // What an integer of pack_w stands for.
  float unit[kCodes];
  // c[rows, kPrefillColumns] += x w over some groups. Scales and biases (null: none) of w: kPrefillColumns
  // for each group.
  void (*tile)(const PrefillRows& x, int64_t groups, int group_size, const int32_t* w, const float* scales,
               const float* biases, float* c);
};

// The same in bytes, for float32: a step is four columns, and x is an integer of 24 bits in three pieces,
// from the high one on, `piece` elements apart.
// Integers of w have no sign: what 0 stands for, in units, is a bias.
struct PrefillBytesTable {
  bool (*pack_x)(const float* x, int64_t ldx, int64_t k, int group_size, const PrefillRows& out,
                 int64_t piece);
  void (*pack_w[kCodes])(const uint32_t* w, int64_t words, int count, int64_t k, int32_t* quads);
  float least[kCodes];
  void (*tile)(const PrefillRows& x, int64_t piece, int64_t groups, int group_size, const int32_t* w,
               const float* scales, const float* biases, float* c);
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using PrefillTable = gemm_detail::PrefillTable;
using PrefillBytesTable = gemm_detail::PrefillBytesTable;
MLX_DECLARE_ISA_TABLE_WITH_AMX(PrefillTable, prefill_kernels)
MLX_DECLARE_ISA_TABLE_WITH_BF16(PrefillBytesTable, prefill_bytes_kernels)
}  // namespace mlx::core::cpu
