#include "mlx/cpu/gemm/conv_direct.h"

#include <algorithm>
#include <vector>

#include "mlx/cpu/gemm/conv_patches.h"
#include "mlx/cpu/gemm/conv_weights.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kPositions = 448;       // of a box: weights are read from L2 once for all of them
constexpr int64_t kFewestPositions = 96;  // of a box, where more items are wanted
constexpr int64_t kItems = 16;
constexpr double kItemFlops = 3e6;
constexpr double kSerialFlops = 1.5e6;  // below, waking another thread costs more than it gains
constexpr int64_t kBlock = 384;         // of k, for C one vector wide: weights of a block stay in L1

// k cut into blocks, each a list of runs. A step of B is `unit` elements of k, the last of a run may be less:
// k0 counts steps, and so does `b` of a run, from the block's first step and times ldb.
struct Block {
  int64_t k0;
  std::vector<DirectRun> runs;
};
int64_t steps_of(const std::vector<DirectRun>& runs, int64_t unit) {
  int64_t steps = 0;
  for (const DirectRun& run : runs) steps += (run.steps + unit - 1) / unit;
  return steps;
}
std::vector<Block> blocks_of(const std::vector<DirectRun>& runs, int64_t unit, int64_t at_most, int64_t ldb) {
  const Parts parts(steps_of(runs, unit), at_most);
  std::vector<Block> out(static_cast<size_t>(parts.count));
  for (int64_t i = 0; i < parts.count; ++i) out[static_cast<size_t>(i)].k0 = parts.begin(i);
  int64_t at = 0;
  for (const DirectRun& run : runs)
    for (int64_t done = 0; done < run.steps;) {
      const int64_t i = at / parts.size, left = parts.begin(i) + parts.length(i) - at;
      const int64_t length = std::min(run.steps - done, left * unit);
      out[static_cast<size_t>(i)].runs.push_back({run.a + done, (at - parts.begin(i)) * ldb, length});
      done += length;
      at += (length + unit - 1) / unit;
    }
  return out;
}

// How many elements of k share a vector, where columns alone would leave most of it empty. In steps: a run
// costs about one to begin, and four where its end has to be masked.
int64_t split_of(const Phase& p, int64_t channels, int64_t outputs, int64_t lanes) {
  const auto cost = [&](int64_t split) {
    int64_t steps = 0;
    for (const int64_t length : run_lengths(p, channels))
      steps += 1 + length / split + (length % split != 0 ? 4 : 0);
    return steps;
  };
  int64_t best = 1;
  for (const int64_t split : {2, 4})
    if (split * outputs <= lanes && cost(split) < cost(best)) best = split;
  return best;
}

class Forward {
 public:
  Forward(const ConvTables& t, const ConvShape& s, const Phase& p, const void* input, void* output)
      : t_(t),
        s_(s),
        p_(p),
        e_(conv_elem(s.dtype)),
        outputs_(s.out_channels / s.groups),
        k_(static_cast<int64_t>(p.taps.size()) * (s.in_channels / s.groups)),
        pairs_(direct_in_pairs(t, s)),
        family_(pairs_ ? t.gemm.bf16 : t.gemm.f32),
        nr_(family_.nr),
        flops_(2.0 * static_cast<double>(s.batch * product(p.size) * k_) *
               static_cast<double>(s.out_channels)),
        split_(pairs_ ? 1 : split_of(p, s.in_channels / s.groups, outputs_, t.direct.lanes)),
        unit_(pairs_ ? 2 : split_),
        multiply_(pairs_        ? t.pairs.patches
                  : split_ == 4 ? t.direct.patches_by_4
                  : split_ == 2 ? t.direct.patches_by_2
                                : t.direct.patches),
        ldb_(split_ > 1 ? t.direct.lanes : nr_),
        boxes_(s.batch, p.size, positions()),
        patches_(s, p, boxes_, t.conv, input, pairs_ ? s.in_channels / s.groups % 2 : split_ - 1, nullptr,
                 pairs_ ? PatchSpace::As::halves : PatchSpace::As::floats),
        output_(static_cast<char*>(output)) {
    const int64_t vectors = (outputs_ + t.direct.lanes - 1) / t.direct.lanes;
    // Short lines make low tiles, which want to be wide.
    wide_ = vectors == 1 ? 1 : vectors > 2 && p.size[2] <= t.direct.rows[4] ? 4 : 2;
    runs_ = patches_.runs();
    blocks_ = blocks_of(runs_, unit_, kBlock / wide_, ldb_);
  }

  void operator()(const void* weight) {
    const int64_t panels = (outputs_ + nr_ - 1) / nr_;
    panel_ = steps_of(runs_, unit_) * ldb_;
    Workspace packed(s_.groups * panels * panel_ * static_cast<int64_t>(sizeof(float)));
    packed_ = packed.as<float>();
    for_each(s_.groups * panels, [&](int64_t i) {
      const WeightSource source(s_, p_, family_, e_, weight, i / panels);
      const int64_t r0 = i % panels * nr_;
      const int columns = static_cast<int>(std::min<int64_t>(nr_, outputs_ - r0));
      if (pairs_) {  // which do not reach into the next run
        float* to = packed_ + i * panel_;
        for (const DirectRun& run : runs_) {
          source.pack(r0, columns, run.b, run.steps, to);
          to += (run.steps + 1) / 2 * ldb_;
        }
        return;
      }
      if (split_ == 1) return source.pack(r0, columns, 0, k_, packed_ + i * panel_);
      Workspace plain(k_ * nr_ * static_cast<int64_t>(sizeof(float)));
      source.pack(r0, columns, 0, k_, plain.data());
      interleave(plain.as<float>(), packed_ + i * panel_);
    });
    panels_ = panels;
    // Few positions: items share out the columns as well.
    const int64_t columns = (outputs_ + width() - 1) / width();
    const int64_t boxes = s_.groups * boxes_.count();
    const int64_t wanted = std::min(kItems / boxes, static_cast<int64_t>(flops_ / kItemFlops) / boxes);
    const Parts parts(columns, (columns + std::max<int64_t>(1, wanted) - 1) / std::max<int64_t>(1, wanted));
    for_each(boxes * parts.count, [&](int64_t i) {
      const int64_t part = i % parts.count, box = i / parts.count;
      item(boxes_[box % boxes_.count()], box / boxes_.count(), parts.begin(part), parts.length(part));
    });
  }

 private:
  template <class F>
  void for_each(int64_t items, F&& f) {
    if (flops_ >= kSerialFlops) return parallel_for(items, f, Order::shares);
    for (int64_t i = 0; i < items; ++i) f(i);
  }
  // Groups of `split_` elements of k side by side for each column, runs completed by zeros.
  void interleave(const float* plain, float* to) const {
    std::fill(to, to + panel_, 0.0f);
    for (const DirectRun& run : runs_) {
      for (int64_t s = 0; s < run.steps; ++s)
        for (int64_t j = 0; j < outputs_; ++j)
          to[s / split_ * ldb_ + j * split_ + s % split_] = plain[(run.b + s) * nr_ + j];
      to += (run.steps + split_ - 1) / split_ * ldb_;
    }
  }
  int64_t positions() const {
    const int64_t all = s_.batch * s_.groups * product(p_.size);
    return std::clamp(all / kItems, kFewestPositions, kPositions);
  }
  int64_t width() const { return std::max<int64_t>(wide_ * t_.direct.lanes, nr_); }

  void item(const Box& box, int64_t group, int64_t column, int64_t columns) {
    Workspace space(patches_.bytes());
    const auto* from = static_cast<const char*>(patches_.fill(box, group, space.data()));
    const int64_t element = pairs_ ? 2 : 4;
    const int64_t lines = box.all_lines(), positions = lines * box.width;
    const int64_t j0 = column * width(), cols = std::min(columns * width(), outputs_ - j0);
    const bool direct = e_ == kF32;
    const bool whole = direct || (pairs_ && blocks_.size() == 1);  // no sums are kept
    Workspace sums(whole ? 0 : positions * cols * static_cast<int64_t>(sizeof(float)));
    const Parts tiles(box.width, t_.direct.rows[wide_]);
    DirectTile tile;
    tile.a_stride = patches_.step();
    tile.b_step = ldb_;
    tile.b_panel = panel_;
    std::vector<DirectRun> some;  // of a block's
    some.reserve(runs_.size());
    tile.ldc = direct ? p_.stride[2] * s_.out_channels : whole ? 0 : cols;
    tile.ld_rounded = p_.stride[2] * s_.out_channels;
    for (int64_t j = 0; j < cols; j += width()) {
      tile.cols = static_cast<int>(std::min(width(), cols - j));
      const float* panel = packed_ + (group * panels_ + (j0 + j) / nr_) * panel_;
      for (const Block& block : blocks_) {
        const bool rounds = pairs_ && &block == &blocks_.back();
        tile.runs = some.data();
        tile.b = panel + block.k0 * ldb_;
        tile.accumulate = block.k0 > 0;
        for (int64_t line = 0; line < lines; ++line) {
          some.clear();
          for (const DirectRun& run : block.runs)
            if (patches_.reads_input(box, line, run.a)) some.push_back(run);
          tile.count = static_cast<int64_t>(some.size());
          if (some.empty() && tile.accumulate && !rounds) continue;
          const char* a = from + patches_.line(box, line) * element;
          char* out = to(box, line, group) + (j0 + j) * kElemSize[e_];
          float* c = direct  ? reinterpret_cast<float*>(out)
                     : whole ? nullptr
                             : sums.as<float>() + line * box.width * cols + j;
          for (int64_t i = 0; i < tiles.count; ++i) {
            tile.a = reinterpret_cast<const float*>(a + tiles.begin(i) * tile.a_stride * element);
            tile.c = c ? c + tiles.begin(i) * tile.ldc : nullptr;
            tile.rounded = rounds ? out + tiles.begin(i) * tile.ld_rounded * kElemSize[e_] : nullptr;
            tile.rows = static_cast<int>(tiles.length(i));
            multiply_(tile);
          }
        }
      }
    }
    if (direct || pairs_) return;
    for (int64_t line = 0; line < lines; ++line) {
      t_.gemm.finish[e_](box.width, cols, sums.as<float>() + line * box.width * cols, cols,
                         to(box, line, group) + j0 * kElemSize[e_], p_.stride[2] * s_.out_channels, 1, 0,
                         nullptr, 0, 0);
    }
  }

  // Where the outputs of a line of a box begin.
  char* to(const Box& box, int64_t line, int64_t group) const {
    return output_ + (patches_.output(box, line) * s_.out_channels + group * outputs_) * kElemSize[e_];
  }

  const ConvTables& t_;
  const ConvShape& s_;
  const Phase& p_;
  const Elem e_;
  const int64_t outputs_, k_;
  const bool pairs_;
  const Family& family_;
  const int64_t nr_;
  const double flops_;
  const int64_t split_, unit_;  // elements of k in a vector beside the columns, and in a step of B
  const DirectFn multiply_;
  const int64_t ldb_;  // from one step of k to the next
  const Boxes boxes_;
  const PatchSpace patches_;
  char* output_;
  int wide_;
  std::vector<DirectRun> runs_;
  std::vector<Block> blocks_;
  int64_t panels_ = 0, panel_ = 0;
  float* packed_ = nullptr;
};

}  // namespace

bool direct_fits(const ConvShape& s, const Phase& phase) {
  return conv_elem(s.dtype) != kF64 && !phase.taps.empty() && phase.size[2] >= 4;
}

bool direct_in_pairs(const ConvTables& t, const ConvShape& s) {
  const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  // Of an odd number of channels, pairs reach into the next tap: its weights have to follow.
  const bool paired = channels % 2 == 0 || (s.groups == 1 && !s.flip && s.input_dilation[2] == 1);
  // Few outputs: vectors hold elements of k as well, as floats.
  return t.pairs.patches && conv_elem(s.dtype) == kBf16 && paired && 2 * outputs > t.direct.lanes;
}

void conv_direct(const ConvTables& t, const ConvShape& s, const Phase& phase, const void* input,
                 const void* weight, void* output) {
  Forward(t, s, phase, input, output)(weight);
}

}  // namespace mlx::core::cpu::gemm_detail
