#include "mlx/cpu/gemm/nest.h"

#include <algorithm>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kPackedAtMost = int64_t{24} << 20;  // bytes of A and B packed at once: about an L3 cache
constexpr int64_t kPanelSlack = 64;                   // panels stay aligned to cache lines
constexpr double kSerialFlops = 1.5e6;                // below, waking another thread costs more than it gains
constexpr double kTileFlops = 3e6;                    // about 30 us of one core
constexpr int64_t kEnoughTiles = 16;
constexpr int64_t kPackItem = 32768;  // elements

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// A range cut into nearly equal blocks whose length is a multiple of `unit`.
struct Blocks {
  Blocks(int64_t extent, int64_t at_most, int64_t unit) : extent(extent) {
    const int64_t wanted = std::max<int64_t>(1, ceil_div(extent, std::max<int64_t>(at_most, unit)));
    size = std::max(unit, round_up(ceil_div(extent, wanted), unit));
    count = std::max<int64_t>(1, ceil_div(extent, size));
  }
  int64_t begin(int64_t i) const { return i * size; }
  int64_t length(int64_t i) const { return std::min(size, extent - i * size); }
  int64_t extent, size, count;
};

// The macro-tile: as large as the caches like, but enough of them to share among threads and not too small.
struct TileShape {
  int64_t rows, cols;
};
TileShape tile_shape(const Family& f, int64_t m, int64_t n, int64_t k) {
  TileShape t{std::min<int64_t>(f.mc, round_up(m, f.mr)), std::min<int64_t>(f.nc, round_up(n, f.nr))};
  const auto tiles = [&] { return ceil_div(m, t.rows) * ceil_div(n, t.cols); };
  while (tiles() < kEnoughTiles && 2.0 * t.rows * t.cols * k > 2 * kTileFlops) {
    if (t.cols > 2 * t.rows && t.cols > f.nr) {
      t.cols = round_up(t.cols / 2, f.nr);
    } else if (t.rows > 2 * f.mr) {
      t.rows = round_up(t.rows / 2, f.mr);
    } else if (t.cols > f.nr) {
      t.cols = round_up(t.cols / 2, f.nr);
    } else {
      break;
    }
  }
  // Even out: the last tile of a row or column is nearly as large as the others.
  t.rows = Blocks(m, t.rows, f.mr).size;
  t.cols = Blocks(n, t.cols, f.nr).size;
  return t;
}

// One packed operand of the current chunk: [k block][panel].
struct Packed {
  char* data;
  int64_t panel_bytes, panels;
  int r;
  char* panel(int64_t block, int64_t p) const { return data + (block * panels + p) * panel_bytes; }
};

class Run {
 public:
  explicit Run(const Nest& g)
      : g_(g),
        f_(*g.family),
        kb_(g.k, f_.kc, 8),
        shape_(tile_shape(f_, g.m, g.n, g.k)),
        serial_(2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) <
                kSerialFlops) {
    panel_a_ = panel_bytes(f_.mr);
    panel_b_ = panel_bytes(f_.nr);
  }

  void operator()() {
    const int64_t per_row = kb_.size * f_.packed_size;  // bytes of one row of one k block
    Blocks mb(g_.m, std::max(shape_.rows, kPackedAtMost / 2 / per_row), shape_.rows);
    Blocks nb(g_.n, std::max(shape_.cols, kPackedAtMost / 2 / per_row), shape_.cols);
    const int64_t chunk = std::max<int64_t>(1, kPackedAtMost / (per_row * (mb.size + nb.size)));
    const Blocks chunks(kb_.count, chunk, 1);
    const int64_t panels_a = ceil_div(std::min(mb.size, g_.m), f_.mr);
    const int64_t panels_b = ceil_div(std::min(nb.size, g_.n), f_.nr);
    Workspace space_a(chunks.size * panels_a * panel_a_);
    Workspace space_b(g_.in_place ? chunks.size * panel_b_ : chunks.size * panels_b * panel_b_);
    const bool partial = chunks.count > 1 && !g_.direct;
    Workspace sums(partial ? mb.size * nb.size * f_.acc_size : 0);
    a_ = {space_a.as<char>(), panel_a_, panels_a, f_.mr};
    b_ = {space_b.as<char>(), panel_b_, g_.in_place ? 1 : panels_b, f_.nr};
    sums_ = sums.as<char>();
    ld_sums_ = nb.size;
    for (int64_t j = 0; j < nb.count; ++j)
      for (int64_t i = 0; i < mb.count; ++i)
        for (int64_t c = 0; c < chunks.count; ++c) {
          i0_ = mb.begin(i), m_ = mb.length(i);
          j0_ = nb.begin(j), n_ = nb.length(j);
          block0_ = chunks.begin(c), blocks_ = chunks.length(c);
          first_ = c == 0, last_ = c + 1 == chunks.count;
          const bool same_a = mb.count == 1 && chunks.count == 1 && j > 0;
          const bool same_b = chunks.count == 1 && i > 0;
          pack(!same_a, !same_b);
          multiply();
        }
  }

 private:
  int64_t panel_bytes(int r) const {
    return round_up(ceil_div(kb_.size, f_.k_unit) * r * f_.packed_size, kPanelSlack);
  }
  int64_t k_begin(int64_t block) const { return kb_.begin(block0_ + block); }
  int64_t k_length(int64_t block) const { return std::max<int64_t>(0, kb_.length(block0_ + block)); }

  void pack_panel(const PanelSource& source, const Packed& to, int64_t at, int64_t extent, int64_t block,
                  int64_t p) {
    const int64_t r0 = p * to.r;
    const int rows = static_cast<int>(std::min<int64_t>(to.r, extent - r0));
    source.pack(at + r0, rows, k_begin(block), k_length(block), to.panel(block, p));
  }

  void pack(bool want_a, bool want_b) {
    // In place, only the last panel of B is packed, where it is not full.
    const int64_t used_a = want_a ? ceil_div(m_, f_.mr) : 0;
    const int64_t used_b = !want_b ? 0 : g_.in_place ? (n_ % f_.nr != 0 ? 1 : 0) : ceil_div(n_, f_.nr);
    const int64_t group_a = std::max<int64_t>(1, kPackItem / (kb_.size * f_.mr));
    const int64_t group_b = std::max<int64_t>(1, kPackItem / (kb_.size * f_.nr));
    const int64_t items_a = ceil_div(used_a, group_a), items_b = ceil_div(used_b, group_b);
    const int64_t items = blocks_ * (items_a + items_b);
    const auto one = [&](int64_t item) {
      const int64_t block = item / (items_a + items_b), in_block = item % (items_a + items_b);
      if (in_block < items_a) {
        const int64_t end = std::min(used_a, (in_block + 1) * group_a);
        for (int64_t p = in_block * group_a; p < end; ++p) pack_panel(*g_.a, a_, i0_, m_, block, p);
      } else if (g_.in_place) {
        const int64_t r0 = n_ / f_.nr * f_.nr;
        g_.b->pack(j0_ + r0, static_cast<int>(n_ - r0), k_begin(block), k_length(block), b_.panel(block, 0));
      } else {
        const int64_t first = (in_block - items_a) * group_b, end = std::min(used_b, first + group_b);
        for (int64_t p = first; p < end; ++p) pack_panel(*g_.b, b_, j0_, n_, block, p);
      }
    };
    if (serial_) {
      for (int64_t i = 0; i < items; ++i) one(i);
    } else {
      parallel_for(items, one);
    }
  }

  void multiply() {
    const int64_t tiles_m = ceil_div(m_, shape_.rows), tiles_n = ceil_div(n_, shape_.cols);
    const auto one = [&](int64_t t) { tile(t % tiles_m * shape_.rows, t / tiles_m * shape_.cols); };
    if (serial_) {
      for (int64_t t = 0; t < tiles_m * tiles_n; ++t) one(t);
    } else {
      parallel_for(tiles_m * tiles_n, one);
    }
  }

  void tile(int64_t i, int64_t j) {
    const int64_t rows = std::min(shape_.rows, m_ - i), cols = std::min(shape_.cols, n_ - j);
    Workspace scratch(g_.direct || sums_ ? 0 : rows * cols * f_.acc_size);
    int64_t ld = cols;
    char* acc = scratch.as<char>();
    if (g_.direct) {
      ld = g_.ld;
      acc = static_cast<char*>(g_.direct) + ((i0_ + i) * ld + j0_ + j) * f_.acc_size;
    } else if (sums_) {
      ld = ld_sums_;
      acc = sums_ + (i * ld + j) * f_.acc_size;
    }
    for (int64_t block = 0; block < blocks_; ++block) {
      const int64_t steps = ceil_div(k_length(block), f_.k_unit);
      const bool add = !(first_ && block == 0);
      const char* a = a_.panel(block, i / f_.mr);
      if (!g_.in_place) {
        f_.tile(rows, cols, steps, a, panel_a_, b_.panel(block, j / f_.nr), panel_b_, f_.nr, acc, ld, add);
        continue;
      }
      const int64_t full = (j + cols == n_ ? n_ / f_.nr * f_.nr - j : cols);
      const char* b = static_cast<const char*>(g_.in_place) +
                      (k_begin(block) * g_.in_place_ld + j0_ + j) * f_.packed_size;
      f_.tile(rows, full, steps, a, panel_a_, b, f_.nr * f_.packed_size, g_.in_place_ld, acc, ld, add);
      if (full < cols)
        f_.tile(rows, cols - full, steps, a, panel_a_, b_.panel(block, 0), panel_b_, f_.nr,
                acc + full * f_.acc_size, ld, add);
    }
    if (last_ && g_.sink) g_.sink->take(i0_ + i, rows, j0_ + j, cols, acc, ld);
  }

  const Nest& g_;
  const Family& f_;
  const Blocks kb_;
  const TileShape shape_;
  const bool serial_;
  int64_t panel_a_, panel_b_;
  Packed a_{}, b_{};
  char* sums_ = nullptr;
  int64_t ld_sums_ = 0;
  // The current chunk.
  int64_t i0_ = 0, m_ = 0, j0_ = 0, n_ = 0, block0_ = 0, blocks_ = 0;
  bool first_ = true, last_ = true;
};

}  // namespace

void run_nest(const Nest& nest) {
  if (nest.m <= 0 || nest.n <= 0) return;
  Run run(nest);
  run();
}

}  // namespace mlx::core::cpu::gemm_detail
