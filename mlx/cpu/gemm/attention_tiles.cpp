#include "mlx/cpu/gemm/attention_tiles.h"

#include <stdexcept>
#include <string>

namespace mlx::core::cpu::gemm_detail {
namespace {

Elem elem_of(Dtype t) {
  switch (t.val()) {
    case Dtype::Val::float32:
      return kF32;
    case Dtype::Val::float16:
      return kF16;
    case Dtype::Val::bfloat16:
      return kBf16;
    default:
      throw std::invalid_argument(std::string("[attention] no kernel for ") + dtype_name(t));
  }
}

}  // namespace

AttentionTiles::AttentionTiles(const GemmTable& gemm, const AttentionTable& attention,
                               const AttentionCall& call)
    : call(call),
      f(gemm.f32),
      t(attention),
      elem(elem_of(call.dtype)),
      group(std::max<int64_t>(1, call.heads / std::max<int64_t>(1, call.kv_heads))),
      factor(call.scale * kLog2e) {}

void AttentionTiles::pack_rows(const AttentionOperand& x, int64_t b, int64_t h, int64_t r0, int64_t rows,
                               int64_t width, float* to) const {
  for (int64_t r = 0; r < rows; r += f.mr, to += f.mr * width)
    f.pack_a[elem](at(x, b, h, r0 + r), x.row, x.col, static_cast<int>(std::min<int64_t>(f.mr, rows - r)),
                   width, to);
}

void AttentionTiles::pack_turned(const AttentionOperand& x, int64_t b, int64_t h, int64_t r0, int64_t rows,
                                 int64_t width, float* to) const {
  const char* from = at(x, b, h, r0);
  for (int64_t c = 0; c < width; c += f.mr, to += f.mr * rows)
    f.pack_a[elem](from + c * x.col * kElemSize[elem], x.col, x.row,
                   static_cast<int>(std::min<int64_t>(f.mr, width - c)), rows, to);
}

// Element (step i, lane j) of the tile is mask[row0 * row + col0 * col + i * step + j * lane].
void AttentionTiles::mask_tile(float* s, int64_t b, int64_t h, int64_t row0, int64_t col0, int64_t steps,
                               int64_t step, int64_t lanes, int64_t lane, float* scratch) const {
  const AttentionOperand& m = call.mask;
  const int64_t offset = b * m.batch + h * m.head + row0 * m.row + col0 * m.col;
  if (call.mask_kind == AttentionMask::boolean) {
    const uint8_t* from = static_cast<const uint8_t*>(m.data) + offset;
    uint8_t* tile = reinterpret_cast<uint8_t*>(scratch);
    std::fill(tile, tile + steps * f.nr, uint8_t{1});
    for (int64_t j = 0; j < lanes; ++j)
      for (int64_t i = 0; i < steps; ++i) tile[i * f.nr + j] = from[i * step + j * lane];
    return t.bool_tile(s, steps * f.nr, tile);
  }
  const char* from = static_cast<const char*>(m.data) + offset * kElemSize[elem];
  f.pack_b[elem](from, lane, step, static_cast<int>(lanes), steps, scratch);
  t.add_tile(s, steps * f.nr, scratch);
}

void AttentionTiles::mask_lanes(float* s, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0,
                                int64_t keys, float* scratch) const {
  if (call.mask_kind != AttentionMask::none)
    mask_tile(s, b, h, q0, k0, keys, call.mask.col, rows, call.mask.row, scratch);
  const int64_t last_seen_by_first = q0 + call.lk - call.lq;
  if (call.causal && k0 + keys - 1 > last_seen_by_first) t.causal_tile(s, keys, k0, last_seen_by_first);
}

void AttentionTiles::mask_rows(float* s, int64_t b, int64_t h, int64_t q0, int64_t rows, int64_t k0,
                               int64_t keys, float* scratch) const {
  if (call.mask_kind != AttentionMask::none)
    mask_tile(s, b, h, q0, k0, rows, call.mask.row, keys, call.mask.col, scratch);
  if (!call.causal) return;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = std::max<int64_t>(0, q0 + r + call.lk - call.lq + 1 - k0); j < keys; ++j)
      s[r * f.nr + j] = kMaskedScore;
}

}  // namespace mlx::core::cpu::gemm_detail
