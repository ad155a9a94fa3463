// The gradient of the weights with the direct kernels: sums over positions of dout times patches, without
// packed patches. Pieces of the positions have sums of their own, which are added in order.
#include <algorithm>
#include <cstring>
#include <vector>

#include "mlx/cpu/gemm/conv_direct.h"
#include "mlx/cpu/gemm/conv_patches.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kPositions = 224;  // of a box: a panel of dout for them stays in L1
constexpr int64_t kItems = 16;
constexpr double kItemFlops = 2e6;
constexpr double kSerialFlops = 1.5e6;
constexpr int64_t kSumsAtMost = int64_t{16} << 20;  // bytes of all pieces' sums
constexpr int64_t kFloat = sizeof(float);

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where (tap, channel) of a phase is contiguous in the weights as well, in pieces of limited length.
struct Stretch {
  int64_t k, weight, length;  // `weight` counts from the output channel's first weight
};
std::vector<Stretch> stretches(const Phase& p, int64_t channels, int64_t at_most) {
  std::vector<Stretch> out;
  int64_t k = 0;
  for (const Tap& tap : p.taps)
    for (int64_t c = 0; c < channels;) {
      const int64_t at = tap.weight * channels + c;
      if (out.empty() || out.back().weight + out.back().length != at || out.back().length == at_most)
        out.push_back({k, at, 0});
      const int64_t length = std::min(channels - c, at_most - out.back().length);
      out.back().length += length;
      c += length, k += length;
    }
  return out;
}

// Vectors hold output channels, or (tap, channel), whichever fills them better; the other is in the rows.
bool fills_better_across(const ConvShape& s, const Phase& p, int64_t lanes) {
  const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  int64_t vectors = 0;
  for (const int64_t length : run_lengths(p, channels)) vectors += ceil_div(length, lanes);
  return outputs * vectors < static_cast<int64_t>(p.taps.size()) * channels * ceil_div(outputs, lanes);
}

class Gradient {
 public:
  Gradient(const ConvTables& t, const ConvShape& s, const Phase& p, const void* input, const void* dout)
      : t_(t),
        s_(s),
        p_(p),
        e_(conv_elem(s.dtype)),
        channels_(s.in_channels / s.groups),
        outputs_(s.out_channels / s.groups),
        k_(static_cast<int64_t>(p.taps.size()) * channels_),
        pairs_(e_ == kBf16 && t.pairs.turned),
        width_(2 * t.direct.lanes),
        flops_(2.0 * static_cast<double>(s.batch * product(p.size) * k_) *
               static_cast<double>(s.out_channels)),
        across_(fills_better_across(s, p, t.direct.lanes)),
        in_place_(across_ && e_ == kF32),
        pitch_(in_place_                ? p.stride[2] * s.out_channels
               : across_                ? std::min(width_, outputs_)
               : outputs_ <= width_ / 2 ? width_ / 2
                                        : width_),
        boxes_(s.batch, p.size, kPositions),
        patches_(s, p, boxes_, t.conv, input, across_ ? t.direct.lanes : 0, pairs_ ? &t.pairs : nullptr),
        dout_(static_cast<const char*>(dout)),
        runs_(patches_.runs()) {
    const int64_t lanes = t.direct.lanes;
    rows_ = across_ ? outputs_ : k_;
    ld_ = across_ ? k_ : ceil_div(outputs_, lanes) * lanes;
    const int64_t fit = kSumsAtMost / std::max<int64_t>(1, s.groups * rows_ * ld_ * kFloat);
    const int64_t wanted = std::min(kItems, static_cast<int64_t>(flops_ / kItemFlops)) / s.groups;
    pieces_ = std::clamp<int64_t>(std::min(wanted, fit), 1, boxes_.count());
  }

  void operator()(void* dw) {
    const Parts pieces(boxes_.count(), ceil_div(boxes_.count(), pieces_));
    pieces_ = pieces.count;
    Workspace sums(pieces_ * s_.groups * rows_ * ld_ * kFloat);
    // Few pieces because sums are large: items share out the panels of dout as well.
    const int64_t panels = ceil_div(outputs_, width_);
    const int64_t items = pieces_ * s_.groups;
    const Parts parts(panels, across_ ? panels : ceil_div(panels, std::max<int64_t>(1, kItems / items)));
    for_each(items * parts.count, [&](int64_t i) {
      const int64_t part = i % parts.count, piece = i / parts.count % pieces_;
      const int64_t group = i / parts.count / pieces_;
      float* to = sums.as<float>() + (group * pieces_ + piece) * rows_ * ld_;
      for (int64_t b = 0; b < pieces.length(piece); ++b)
        add_box(boxes_[pieces.begin(piece) + b], group, parts.begin(part), parts.length(part), b > 0, to);
    });
    const std::vector<Stretch> all = stretches(p_, channels_, 2 * t_.gemm.f32.nr);
    const auto count = static_cast<int64_t>(all.size());
    for_each(s_.groups * count, [&](int64_t i) {
      float* from = sums.as<float>() + i / count * pieces_ * rows_ * ld_;
      finish(all[static_cast<size_t>(i % count)], from, i / count, static_cast<char*>(dw));
    });
  }

 private:
  template <class F>
  void for_each(int64_t items, F&& f) {
    if (flops_ >= kSerialFlops) return parallel_for(items, f, Order::shares);
    for (int64_t i = 0; i < items; ++i) f(i);
  }

  int64_t steps(const Box& box) const { return pairs_ ? ceil_div(box.width, 2) : box.width; }

  // dout of a box, as float32 or pairs: for each panel of output channels, positions by channels.
  void pack_dout(const Box& box, int64_t group, int64_t first, int64_t panels, float* to) const {
    const int64_t lines = box.all_lines();
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t j = (first + p) * width_, len = std::min(width_, outputs_ - j);
      if (!across_ && len < pitch_)
        std::memset(to, 0, static_cast<size_t>(lines * steps(box) * pitch_ * kFloat));
      for (int64_t i = 0; i < lines; ++i, to += steps(box) * pitch_) {
        const int64_t stride = p_.stride[2] * s_.out_channels;
        const char* from = at(box, i, group, j);
        if (!pairs_) {
          t_.conv.copy_run[e_](from, stride, box.width, len, to, pitch_);
          continue;
        }
        const int64_t whole = box.width / 2;
        t_.pairs.join(from, from + stride * kElemSize[e_], 2 * stride, whole, len, to, pitch_);
        if (whole < steps(box))
          t_.pairs.join(from + 2 * whole * stride * kElemSize[e_], nullptr, 0, 1, len, to + whole * pitch_,
                        0);
      }
    }
  }
  const char* at(const Box& box, int64_t line, int64_t group, int64_t j) const {
    return dout_ + (patches_.output(box, line) * s_.out_channels + group * outputs_ + j) * kElemSize[e_];
  }

  void add_box(const Box& box, int64_t group, int64_t first, int64_t panels, bool accumulate, float* sums) {
    const int64_t lines = box.all_lines(), panel = in_place_ ? width_ : lines * steps(box) * pitch_;
    Workspace space(patches_.bytes()), packed(in_place_ ? 0 : panels * panel * kFloat);
    const auto* from = static_cast<const float*>(patches_.fill(box, group, space.data()));
    const float* gradient = reinterpret_cast<const float*>(dout_);
    if (!in_place_) {
      pack_dout(box, group, first, panels, packed.as<float>());
      gradient = packed.as<float>();
    }
    std::vector<DirectRun> all(static_cast<size_t>(lines)), k;
    for (int64_t i = 0; i < lines; ++i) {
      const int64_t patch = patches_.line(box, i);
      const int64_t dout = in_place_
                               ? patches_.output(box, i) * s_.out_channels + group * outputs_ + first * width_
                               : i * steps(box) * pitch_;
      all[static_cast<size_t>(i)] =
          across_ ? DirectRun{dout, patch, steps(box)} : DirectRun{patch, dout, steps(box)};
    }
    DirectTile tile;
    tile.ldc = ld_;
    tile.accumulate = accumulate;
    tile.b_panel = 0;
    tile.half_end = pairs_ && box.width % 2 != 0;
    const int64_t step = pairs_ ? 2 * patches_.step() : patches_.step();
    for (int64_t p = 0; p < panels; ++p) {
      const float* dout = gradient + p * panel;
      const int64_t j = (first + p) * width_, outputs = std::min(width_, outputs_ - j);
      for (const DirectRun& run : runs_) {
        k.clear();
        for (int64_t i = 0; i < lines; ++i)
          if (patches_.reads_input(box, i, run.a)) k.push_back(all[static_cast<size_t>(i)]);
        tile.runs = k.data();
        tile.count = static_cast<int64_t>(k.size());
        if (across_) {
          tile.a_stride = pitch_, tile.b_step = step;
          for (int64_t c = 0; c < run.steps; c += width_) {
            tile.b = from + run.a + c;
            tile.cols = static_cast<int>(std::min(width_, run.steps - c));
            for_rows(tile, outputs, dout, sums + j * ld_ + run.b + c);
          }
        } else {
          tile.a_stride = step, tile.b_step = pitch_;
          tile.b = dout;
          tile.cols = static_cast<int>(outputs);
          for_rows(tile, run.steps, from + run.a, sums + run.b * ld_ + j);
        }
      }
    }
  }
  void for_rows(DirectTile& tile, int64_t rows, const float* a, float* c) const {
    const Parts parts(rows, t_.direct.rows[tile.cols <= t_.direct.lanes ? 1 : 2]);
    for (int64_t i = 0; i < parts.count; ++i) {
      tile.a = a + parts.begin(i);
      tile.c = c + parts.begin(i) * ld_;
      tile.rows = static_cast<int>(parts.length(i));
      pairs_ ? t_.pairs.turned(tile) : t_.direct.turned(tile);
    }
  }

  // Adds up the pieces' sums for a stretch and puts them where they belong.
  void finish(const Stretch& s, float* sums, int64_t group, char* dw) const {
    const auto add = [&](float* to, int64_t n) {
      for (int64_t piece = 1; piece < pieces_; ++piece)
        for (int64_t i = 0; i < n; ++i) to[i] += to[piece * rows_ * ld_ + i];
    };
    const int64_t row = product(s_.kernel) * channels_, size = kElemSize[e_];
    dw += (group * outputs_ * row + s.weight) * size;
    if (across_) {
      for (int64_t o = 0; o < outputs_; ++o) add(sums + o * ld_ + s.k, s.length);
      t_.gemm.finish[e_](outputs_, s.length, sums + s.k, ld_, dw, row, 1, 0, nullptr, 0, 0);
      return;
    }
    add(sums + s.k * ld_, s.length * ld_);
    const int64_t nr = t_.gemm.f32.nr;
    Workspace turned(outputs_ * nr * kFloat);
    for (int64_t k = 0; k < s.length; k += nr) {
      const int64_t len = std::min(nr, s.length - k);
      t_.gemm.f32.pack_b[kF32](sums + (s.k + k) * ld_, ld_, 1, static_cast<int>(len), outputs_,
                               turned.data());
      t_.gemm.finish[e_](outputs_, len, turned.as<float>(), nr, dw + k * size, row, 1, 0, nullptr, 0, 0);
    }
  }

  const ConvTables& t_;
  const ConvShape& s_;
  const Phase& p_;
  const Elem e_;
  const int64_t channels_, outputs_, k_;
  const bool pairs_;  // of positions, in the place of floats
  const int64_t width_;
  const double flops_;
  const bool across_, in_place_;
  const int64_t pitch_;  // of dout's positions
  const Boxes boxes_;
  const PatchSpace patches_;
  const char* dout_;
  const std::vector<DirectRun> runs_;
  int64_t rows_, ld_, pieces_;
};

}  // namespace

void conv_direct_gradient(const ConvTables& t, const ConvShape& s, const Phase& phase, const void* input,
                          const void* dout, void* dweight) {
  Gradient(t, s, phase, input, dout)(dweight);
}

}  // namespace mlx::core::cpu::gemm_detail
