#include "mlx/cpu/gemm/nest.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kPackedAtMost = int64_t{24} << 20;  // bytes of A and B packed at once: about an L3 cache
constexpr int64_t kPanelSlack = 64;                   // panels stay aligned to cache lines
constexpr double kSerialFlops = 8e5;                  // below, waking another thread costs more than it gains
constexpr double kTileFlops = 3e5;                    // about 4 us of one core
constexpr double kFormedTileFlops = 3e6;              // as long on matrix tiles
constexpr int64_t kEnoughTiles = 16, kEnoughFormed = 8;  // formed panels are large: fewer, larger items
constexpr int64_t kPackItem = 32768;                     // elements
constexpr int64_t kTilesFrom = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

int64_t k_blocks_unit(const Family& f) { return f.formed() ? f.k_step : 8; }

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

// How C is cut into items: macro-tiles as large as the caches like, but enough of them to share among threads
// and not too small. Where one tile spans all columns (rows), nobody else needs the packed rows of A (columns
// of B): each item packs its own, while the block is in cache.
struct Plan {
  int64_t rows, cols;
  bool own_a, own_b;
};
Plan plan(const Family& f, int64_t m, int64_t n, int64_t k, bool in_place) {
  const bool one_column = n <= f.nc && (m > f.mc || m >= n);
  const bool one_row = !one_column && m <= f.mc;
  Plan t{std::min<int64_t>(f.mc, round_up(m, f.mr)), std::min<int64_t>(f.nc, round_up(n, f.nr)), one_column,
         one_row && !in_place};
  const auto tiles = [&] { return ceil_div(m, t.rows) * ceil_div(n, t.cols); };
  const int64_t enough = f.formed() ? kEnoughFormed : kEnoughTiles;
  const double least = f.formed() ? kFormedTileFlops : kTileFlops;
  while (tiles() < enough && 2.0 * t.rows * t.cols * k > 2 * least) {
    const bool can_rows = !one_row && t.rows >= 2 * f.mr, can_cols = !one_column && t.cols >= 2 * f.nr;
    if (!can_rows && !can_cols) break;
    if (can_cols && (t.cols > 2 * t.rows || !can_rows)) {
      t.cols = round_up(t.cols / 2, f.nr);
    } else {
      t.rows = round_up(t.rows / 2, f.mr);
    }
  }
  // Even out: the last tile of a row or column is nearly as large as the others.
  t.rows = Blocks(m, t.rows, f.mr).size;
  t.cols = Blocks(n, t.cols, f.nr).size;
  return t;
}

Plan symmetric_plan(const Family& f, int64_t n) {
  const SymmetricTiles tiles(f, n);
  return {tiles.rows, tiles.cols, false, false};
}

// One panel of an operand (A, or B) in the form that the kernel reads.
void make_panel(const Family& f, bool is_a, const PanelSource& source, int64_t r0, int rows, int64_t k0,
                int64_t kn, void* panel) {
  if (!f.formed()) return source.pack(r0, rows, k0, kn, panel);
  const PackFn* form = is_a ? f.form_a : f.form_b;
  if (const InMemory m = source.in_memory(r0, k0); m.data)
    return form[m.type](m.data, m.stride_r, m.stride_k, rows, kn, panel);
  const int r = is_a ? f.mr : f.nr;
  Workspace packed(kn * r * f.packed_size);
  source.pack(r0, rows, k0, kn, packed.data());
  form[kF32](packed.data(), 1, r, r, kn, panel);
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
        kb_(g.k, f_.kc, k_blocks_unit(f_)),
        shape_(g.symmetric ? symmetric_plan(f_, g.n) : plan(f_, g.m, g.n, g.k, g.in_place != nullptr)),
        serial_(2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) <
                kSerialFlops) {
    panel_a_ = f_.panel_bytes(f_.mr, kb_.size);
    panel_b_ = f_.panel_bytes(f_.nr, kb_.size);
  }

  void operator()() {
    const int64_t per_row = panel_a_ / f_.mr;  // bytes of one row of one k block
    const auto packed_rows = [&](int64_t extent, int64_t unit, bool own) {
      return Blocks(extent, own ? extent : std::max(unit, kPackedAtMost / 2 / per_row), unit);
    };
    const Blocks mb = packed_rows(g_.m, shape_.rows, shape_.own_a);
    const Blocks nb = packed_rows(g_.n, shape_.cols, shape_.own_b);
    const int64_t rows = (shape_.own_a ? 0 : mb.size) + (shape_.own_b ? 0 : nb.size);
    const Blocks chunks(kb_.count, std::max<int64_t>(1, kPackedAtMost / (per_row * rows)), 1);
    const int64_t panels_a = ceil_div(std::min(mb.size, g_.m), f_.mr);
    const int64_t panels_b = ceil_div(std::min(nb.size, g_.n), f_.nr);
    Workspace space_a(shape_.own_a ? 0 : chunks.size * panels_a * panel_a_);
    Workspace space_b(shape_.own_b ? 0 : chunks.size * (g_.in_place ? 1 : panels_b) * panel_b_);
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
          pack(!same_a && !shape_.own_a, !same_b && !shape_.own_b);
          multiply();
        }
  }

 private:
  int64_t k_begin(int64_t block) const { return kb_.begin(block0_ + block); }
  int64_t k_length(int64_t block) const { return std::max<int64_t>(0, kb_.length(block0_ + block)); }

  void pack_panel(bool is_a, int64_t at, int64_t extent, int64_t block, int64_t p) {
    const Packed& to = is_a ? a_ : b_;
    const int64_t r0 = p * to.r;
    const int rows = static_cast<int>(std::min<int64_t>(to.r, extent - r0));
    make_panel(f_, is_a, is_a ? *g_.a : *g_.b, at + r0, rows, k_begin(block), k_length(block),
               to.panel(block, p));
  }

  // The panels of [at, at + extent) for one item alone.
  void pack_own(bool is_a, int64_t at, int64_t extent, int64_t block, char* to) {
    const int64_t r = is_a ? f_.mr : f_.nr, panel = is_a ? panel_a_ : panel_b_;
    for (int64_t r0 = 0; r0 < extent; r0 += r, to += panel)
      make_panel(f_, is_a, is_a ? *g_.a : *g_.b, at + r0, static_cast<int>(std::min<int64_t>(r, extent - r0)),
                 k_begin(block), k_length(block), to);
  }

  void pack(bool want_a, bool want_b) {
    // In place, only the last panel of B is packed, where it is not full.
    const int64_t used_a = want_a ? ceil_div(m_, f_.mr) : 0;
    const int64_t used_b = !want_b ? 0 : g_.in_place ? (n_ % f_.nr != 0 ? 1 : 0) : ceil_div(n_, f_.nr);
    const int64_t group_a = std::max<int64_t>(1, kPackItem / (kb_.size * f_.mr));
    const int64_t group_b = std::max<int64_t>(1, kPackItem / (kb_.size * f_.nr));
    const int64_t items_a = ceil_div(used_a, group_a), items_b = ceil_div(used_b, group_b);
    const int64_t items = blocks_ * (items_a + items_b);
    if (items == 0) return;
    // In the order of rows and columns, so that a thread packs what it multiplies: panels that the other
    // cores have read must be taken from them to be written anew.
    const int64_t groups = items_a + items_b;
    const auto one = [&](int64_t item) {
      const int64_t block = item % blocks_, group = item / blocks_;
      const int64_t before_a = group * items_a / groups;
      if ((group + 1) * items_a / groups > before_a) {
        const int64_t end = std::min(used_a, (before_a + 1) * group_a);
        for (int64_t p = before_a * group_a; p < end; ++p) pack_panel(true, i0_, m_, block, p);
      } else if (g_.in_place) {
        const int64_t r0 = n_ / f_.nr * f_.nr;
        g_.b->pack(j0_ + r0, static_cast<int>(n_ - r0), k_begin(block), k_length(block), b_.panel(block, 0));
      } else {
        const int64_t first = (group - before_a) * group_b, end = std::min(used_b, first + group_b);
        for (int64_t p = first; p < end; ++p) pack_panel(false, j0_, n_, block, p);
      }
    };
    if (serial_) {
      for (int64_t i = 0; i < items; ++i) one(i);
    } else {
      parallel_for(items, one, Order::shares);
    }
  }

  void multiply() {
    const int64_t tiles_m = ceil_div(m_, shape_.rows), tiles_n = ceil_div(n_, shape_.cols);
    const SymmetricTiles symmetric(f_, g_.n);
    const auto one = [&](int64_t t) {
      const int64_t i = t % tiles_m * shape_.rows, j = t / tiles_m * shape_.cols;
      if (!g_.symmetric || !symmetric.is_above(i0_ + i, j0_ + j)) tile(i, j);
    };
    if (serial_) {
      for (int64_t t = 0; t < tiles_m * tiles_n; ++t) one(t);
    } else {
      parallel_for(tiles_m * tiles_n, one, Order::shares);
    }
  }

  void tile(int64_t i, int64_t j) {
    const int64_t rows = std::min(shape_.rows, m_ - i), cols = std::min(shape_.cols, n_ - j);
    Workspace scratch(g_.direct || sums_ ? 0 : rows * cols * f_.acc_size);
    Workspace own_a(shape_.own_a ? ceil_div(rows, f_.mr) * panel_a_ : 0);
    Workspace own_b(shape_.own_b ? ceil_div(cols, f_.nr) * panel_b_ : 0);
    int64_t ld = cols;
    char* acc = scratch.as<char>();
    if (g_.direct) {
      ld = g_.ld;
      acc = static_cast<char*>(g_.direct) + ((i0_ + i) * ld + j0_ + j) * f_.acc_size;
    } else if (sums_) {
      ld = ld_sums_;
      acc = sums_ + (i * ld + j) * f_.acc_size;
    }
    if (last_ && blocks_ == 1 && g_.sink) g_.sink->expect(i0_ + i, rows, j0_ + j, cols);
    for (int64_t block = 0; block < blocks_; ++block) {
      const int64_t steps = f_.steps(k_length(block));
      const bool add = !(first_ && block == 0);
      if (shape_.own_a) pack_own(true, i0_ + i, rows, block, own_a.as<char>());
      if (shape_.own_b) pack_own(false, j0_ + j, cols, block, own_b.as<char>());
      const char* a = shape_.own_a ? own_a.as<char>() : a_.panel(block, i / f_.mr);
      if (!g_.in_place) {
        const char* b = shape_.own_b ? own_b.as<char>() : b_.panel(block, j / f_.nr);
        f_.tile(rows, cols, steps, a, panel_a_, b, panel_b_, f_.nr, acc, ld, add);
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
  const Plan shape_;
  const bool serial_;
  int64_t panel_a_, panel_b_;
  Packed a_{}, b_{};
  char* sums_ = nullptr;
  int64_t ld_sums_ = 0;
  // The current chunk.
  int64_t i0_ = 0, m_ = 0, j0_ = 0, n_ = 0, block0_ = 0, blocks_ = 0;
  bool first_ = true, last_ = true;
};

// Few outputs and a long k (weight gradients): pieces of k have sums of their own, which are added in order.
// Each item packs its blocks into buffers of its thread and multiplies them while they are in cache.
constexpr int64_t kSplitOutputs = 64 << 10;  // m * n
constexpr int64_t kMostPieces = 16;

int64_t split_pieces(const Nest& g, const Blocks& kb) {
  if (g.m * g.n > kSplitOutputs || kb.count < 8) return 1;
  return std::min(kMostPieces, kb.count / 2);
}

void run_split(const Nest& g, const Blocks& kb, int64_t wanted) {
  const Family& f = *g.family;
  const Blocks pieces(kb.count, ceil_div(kb.count, wanted), 1);
  const int64_t panels_a = ceil_div(g.m, f.mr), panels_b = ceil_div(g.n, f.nr);
  const int64_t panel_a = f.panel_bytes(f.mr, kb.size), panel_b = f.panel_bytes(f.nr, kb.size);
  const int64_t part = round_up(g.m * g.n * f.acc_size, kPanelSlack);
  Workspace sums(part * pieces.count);
  parallel_for(pieces.count, [&](int64_t piece) {
    Workspace a(panels_a * panel_a), b(panels_b * panel_b);
    char* c = sums.as<char>() + piece * part;
    for (int64_t i = 0; i < pieces.length(piece); ++i) {
      const int64_t block = pieces.begin(piece) + i, k0 = kb.begin(block), kn = kb.length(block);
      for (int64_t p = 0; p < panels_a; ++p)
        make_panel(f, true, *g.a, p * f.mr, static_cast<int>(std::min<int64_t>(f.mr, g.m - p * f.mr)), k0, kn,
                   a.as<char>() + p * panel_a);
      for (int64_t p = 0; p < panels_b; ++p)
        make_panel(f, false, *g.b, p * f.nr, static_cast<int>(std::min<int64_t>(f.nr, g.n - p * f.nr)), k0,
                   kn, b.as<char>() + p * panel_b);
      f.tile(g.m, g.n, f.steps(kn), a.data(), panel_a, b.data(), panel_b, f.nr, c, g.n, i > 0);
    }
  });
  const auto add = [&]<class T>(T* total) {
    const int64_t stride = part / static_cast<int64_t>(sizeof(T));
    parallel_ranges(g.m * g.n, 8192, [&](int64_t begin, int64_t end) {
      for (int64_t p = 1; p < pieces.count; ++p)
        for (int64_t j = begin; j < end; ++j) total[j] += total[p * stride + j];
    });
  };
  if (f.acc_size == 8) {
    add(sums.as<double>());
  } else {
    add(sums.as<float>());
  }
  if (!g.direct) return g.sink->take(0, g.m, 0, g.n, sums.data(), g.n);
  for (int64_t i = 0; i < g.m; ++i)
    std::memcpy(static_cast<char*>(g.direct) + i * g.ld * f.acc_size, sums.as<char>() + i * g.n * f.acc_size,
                static_cast<size_t>(g.n * f.acc_size));
  if (g.sink) g.sink->take(0, g.m, 0, g.n, g.direct, g.ld);
}

}  // namespace

const Family& family(const GemmTable& t, Elem e, int64_t m, int64_t n, int64_t k) {
  // Splitting costs more than plain packing, and tiles come in blocks of 32.
  if (t.tiles[e].tile && m >= kTilesFrom && n >= kTilesFrom && k >= kTilesFrom) return t.tiles[e];
  return e == kF64 ? t.f64 : e == kBf16 && t.bf16.tile ? t.bf16 : t.f32;
}

// Small enough that the halves of the tiles on the diagonal which are computed in vain matter little.
SymmetricTiles::SymmetricTiles(const Family& f, int64_t n)
    : rows(round_up(std::clamp<int64_t>(n / 8, 1, f.mc), f.mr)),
      cols(round_up(std::clamp<int64_t>(n / 8, 1, f.mc), f.nr)) {}

void run_nest(const Nest& nest) {
  if (nest.m <= 0 || nest.n <= 0) return;
  const Blocks kb(nest.k, nest.family->kc, k_blocks_unit(*nest.family));
  if (const int64_t pieces = split_pieces(nest, kb); pieces > 1 && !nest.symmetric)
    return run_split(nest, kb, pieces);
  Run run(nest);
  run();
}

}  // namespace mlx::core::cpu::gemm_detail
