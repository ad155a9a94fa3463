// The loops around the tile kernels of kernels_prefill.h.
#include <algorithm>
#include <atomic>
#include <vector>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/gemm/prefill.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int64_t kBlock = 6;  // panels of x whose pieces stay in the second-level cache
// Panels of w in an item: each meets the pieces of x while they are in the second-level cache, so many of
// them where that leaves enough items.
constexpr int64_t kManyPanels = 16, kFewPanels = 4, kEnoughItems = 16;
constexpr int64_t kFewRows = 8;  // up to so many, tiles would be half empty

// All of x as panels of tiles, and the sums of its groups.
class TiledX {
 public:
  explicit TiledX(const QuantizedProduct& p)
      : tiles_(prefill_kernels().tiles),
        type_(float_type_of(p.dtype)),
        groups_(p.w.layout.groups(p.k)),
        count_(ceil_div(p.m, kTileRows)),
        m_(p.m),
        panel_bytes_(kTileHeader + p.k / kTileChunk * tiles_.chunk_bytes[type_]),
        panels_(count_ * panel_bytes_),
        sums_(p.w.biases ? count_ * groups_ * kTileRows * 4 : 0),
        scales_(static_cast<size_t>(count_)) {
    const int64_t size = type_ == kFloat32 ? 4 : 2;
    std::atomic<bool> usable{true};
    parallel_for(count_, [&](int64_t i) {
      char* to = panels_.as<char>() + i * panel_bytes_;
      const char* from = static_cast<const char*>(p.x) + i * kTileRows * p.k * size;
      tiles_.pack_x[type_](from, p.k, 1, rows(i), p.k, to);
      if (!tiles_.usable(to, &scales_[static_cast<size_t>(i)]) ||
          (type_ == kBfloat16 && !finite(reinterpret_cast<const uint16_t*>(from), rows(i) * p.k)))
        usable = false;
      if (p.w.biases) add_up(p, i, from);
    });
    usable_ = usable;
  }
  bool usable() const { return usable_; }
  int64_t count() const { return count_; }
  int rows(int64_t i) const { return static_cast<int>(std::min<int64_t>(kTileRows, m_ - i * kTileRows)); }
  int scale(int64_t i) const { return scales_[static_cast<size_t>(i)]; }
  const char* chunks(int64_t i, int64_t k) const {
    return panels_.as<char>() + i * panel_bytes_ + kTileHeader + k / kTileChunk * tiles_.chunk_bytes[type_];
  }
  const float* sums(int64_t i, int64_t group) const {
    return sums_.as<float>() + (i * groups_ + group) * kTileRows;
  }

 private:
  // Panels of several pieces know this; one piece is taken as it is.
  static bool finite(const uint16_t* x, int64_t n) {
    bool all = true;
    for (int64_t i = 0; i < n; ++i) all &= (x[i] & 0x7f80) != 0x7f80;
    return all;
  }
  // The sums of a panel's groups, those of all rows for each group.
  void add_up(const QuantizedProduct& p, int64_t i, const char* from) {
    Workspace converted(type_ == kFloat32 ? 0 : rows(i) * p.k * 4), by_row(rows(i) * groups_ * 4);
    const float* x = reinterpret_cast<const float*>(from);
    if (type_ != kFloat32) {
      quantized_kernels().to_float[type_](from, rows(i) * p.k, converted.as<float>());
      x = converted.as<float>();
    }
    quantized_kernels().group_sums(x, rows(i) * groups_, p.w.layout.group_size, by_row.as<float>());
    float* to = sums_.as<float>() + i * groups_ * kTileRows;
    for (int64_t g = 0; g < groups_; ++g)
      for (int64_t r = 0; r < kTileRows; ++r)
        to[g * kTileRows + r] = r < rows(i) ? by_row.as<float>()[r * groups_ + g] : 0;
  }

  const PrefillTiles& tiles_;
  FloatType type_;
  int64_t groups_, count_, m_, panel_bytes_;
  Workspace panels_, sums_;
  std::vector<int> scales_;
  bool usable_ = true;
};

// A block of rows of x by some panels of w.
void block(const QuantizedProduct& p, const TiledX& x, int64_t first, int64_t last, int64_t n0, int64_t n1) {
  const PrefillTiles& t = prefill_kernels().tiles;
  const Code code = code_of(p.w.layout);
  const FloatType type = float_type_of(p.dtype);
  const int group = p.w.layout.group_size;
  const int64_t panels = ceil_div(n1 - n0, kPrefillColumns);
  const int64_t rows = (last - first) * kTileRows;
  Workspace sums(panels * rows * kPrefillColumns * 4), packed(kPiece / kTileChunk * kTileBytesOfW);
  const int64_t all_groups = p.w.layout.groups(p.k), panel_scales = all_groups * kPrefillColumns;
  Workspace scales(panels * panel_scales * 4), biases(p.w.biases ? panels * panel_scales * 4 : 0);
  for (int64_t j = 0; j < panels; ++j)
    for (int64_t g = 0; g < all_groups; g += kMostTurned) {
      const int64_t row = n0 + j * kPrefillColumns, groups = std::min(kMostTurned, all_groups - g);
      const int count = static_cast<int>(std::min<int64_t>(kPrefillColumns, p.n - row));
      const int64_t at = j * panel_scales + g * kPrefillColumns;
      turn_scales(p.w, p.w.scales, row, count, g, groups, 1, scales.as<float>() + at);
      if (p.w.biases) turn_scales(p.w, p.w.biases, row, count, g, groups, 1, biases.as<float>() + at);
    }
  float* c = sums.as<float>();
  std::fill_n(c, panels * rows * kPrefillColumns, 0.0f);
  for (int64_t k0 = 0; k0 < p.k; k0 += kPiece) {
    const int64_t kn = std::min(kPiece, p.k - k0), groups = kn / group, g0 = k0 / group;
    for (int64_t j = 0; j < panels; ++j) {
      const int64_t row = n0 + j * kPrefillColumns, words = p.w.layout.words(p.k);
      const int count = static_cast<int>(std::min<int64_t>(kPrefillColumns, p.n - row));
      t.pack_w[code](p.w.words + row * words + p.w.layout.words(k0), words, count, kn, packed.data());
      const int64_t at = j * panel_scales + g0 * kPrefillColumns;
      for (int64_t i = first; i < last; ++i)
        t.tile[type](x.rows(i), x.chunks(i, k0), x.scale(i), groups, group, packed.data(),
                     scales.as<float>() + at, p.w.biases ? biases.as<float>() + at : nullptr,
                     p.w.biases ? x.sums(i, g0) : nullptr,
                     c + (j * rows + (i - first) * kTileRows) * kPrefillColumns);
    }
  }
  const FinishFn finish = gemm_kernels().finish[type == kFloat32 ? kF32 : type == kFloat16 ? kF16 : kBf16];
  const int64_t size = type == kFloat32 ? 4 : 2;
  for (int64_t j = 0; j < panels; ++j) {
    const int64_t col = n0 + j * kPrefillColumns;
    char* out = static_cast<char*>(p.out) + (first * kTileRows * p.n + col) * size;
    finish(std::min(p.m, last * kTileRows) - first * kTileRows, std::min<int64_t>(kPrefillColumns, p.n - col),
           c + j * rows * kPrefillColumns, kPrefillColumns, out, p.n, 1, 0, nullptr, 0, 0);
  }
}

}  // namespace

namespace gemm_detail {

bool prefill_on_tiles(const QuantizedProduct& p) {
  const int group = p.w.layout.group_size;
  if (!prefill_kernels().tiles.usable || !p.transpose || p.m <= kFewRows || group % kTileChunk != 0)
    return false;
  const TiledX x(p);
  if (!x.usable()) return false;
  const int64_t blocks_m = ceil_div(x.count(), kBlock);
  const int64_t many = kManyPanels * kPrefillColumns, few = kFewPanels * kPrefillColumns;
  const int64_t cols = blocks_m * ceil_div(p.n, many) >= kEnoughItems ? many : few;
  const int64_t blocks_n = ceil_div(p.n, cols);
  parallel_for(blocks_m * blocks_n, [&](int64_t item) {
    const int64_t first = item / blocks_n * kBlock, n0 = item % blocks_n * cols;
    block(p, x, first, std::min(x.count(), first + kBlock), n0, std::min(p.n, n0 + cols));
  });
  return true;
}

}  // namespace gemm_detail

}  // namespace mlx::core::cpu
