// What the forward and the backward pass of attention share: packing of operands into panels, and masks of
// tiles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "mlx/cpu/gemm/attention.h"
#include "mlx/cpu/gemm/attention_kernels.h"

namespace mlx::core::cpu::gemm_detail {

inline constexpr int64_t kKeyBlock = 96;  // keys of a tile: a multiple of every mr; 12 KiB of scores
inline constexpr float kLog2e = 1.442695040888963f;

inline int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

class AttentionTiles {
 public:
  AttentionTiles(const GemmTable& gemm, const AttentionTable& attention, const AttentionCall& call);

  const AttentionCall& call;
  const Family& f;
  const AttentionTable& t;
  const Elem elem;
  const int64_t group;  // query heads per key head
  const float factor;   // scale * log2(e)

  const char* at(const AttentionOperand& x, int64_t b, int64_t h, int64_t row) const {
    return static_cast<const char*>(x.data) + (b * x.batch + h * x.head + row * x.row) * kElemSize[elem];
  }
  // Floats of rows [r0, r0 + rows) by `width` columns as A panels along the columns ("rows") or along the
  // rows ("turned": the panel's rows are the operand's columns); and as one B panel of at most nr rows.
  int64_t rows_size(int64_t rows, int64_t width) const { return blocks_of(rows, f.mr) * f.mr * width; }
  int64_t turned_size(int64_t rows, int64_t width) const { return blocks_of(width, f.mr) * f.mr * rows; }
  void pack_rows(const AttentionOperand& x, int64_t b, int64_t h, int64_t r0, int64_t rows, int64_t width,
                 float* to) const;
  void pack_turned(const AttentionOperand& x, int64_t b, int64_t h, int64_t r0, int64_t rows, int64_t width,
                   float* to) const;
  void pack_lanes(const AttentionOperand& x, int64_t b, int64_t h, int64_t r0, int64_t rows, int64_t width,
                  float* to) const {
    f.pack_b[elem](at(x, b, h, r0), x.row, x.col, static_cast<int>(rows), width, to);
  }

  // c[m][nr] (+)= A panels of `steps` times one B panel.
  void multiply(int64_t m, int64_t steps, const float* a, const float* b, float* c, bool add) const {
    f.tile(m, f.nr, steps, a, steps * f.mr * 4, b, 0, f.nr, c, f.nr, add);
  }

  // The last key that a query of the block sees, plus one; all keys where a row of the block may see none
  // (its result is uniform over all of them).
  int64_t keys_end(int64_t q0, int64_t rows) const {
    if (!call.causal || call.mask_kind == AttentionMask::boolean) return call.lk;
    const int64_t first = q0 + call.lk - call.lq;
    return first < 0 ? call.lk : std::min(call.lk, first + rows);
  }
  // The first query that sees a key of the block at k0.
  int64_t queries_begin(int64_t k0) const {
    if (!call.causal || call.lq > call.lk || call.mask_kind == AttentionMask::boolean) return 0;
    return std::clamp<int64_t>(k0 - (call.lk - call.lq), 0, call.lq);
  }

  // Masks s[key][query lane] of keys [k0, k0 + keys) and queries [q0, q0 + rows); scratch holds a tile.
  void mask_lanes(float* s, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0, int64_t keys,
                  float* scratch) const;
  // The same for s[query][key lane].
  void mask_rows(float* s, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0, int64_t keys,
                 float* scratch) const;

 private:
  void mask_tile(float* s, int64_t b, int64_t h, int64_t row0, int64_t col0, int64_t steps, int64_t step,
                 int64_t lanes, int64_t lane, float* scratch) const;
};

}  // namespace mlx::core::cpu::gemm_detail
