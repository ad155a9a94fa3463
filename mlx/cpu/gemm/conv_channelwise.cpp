// Depthwise convolution, where each channel is its own group, and that of groups of few channels. Lines of
// the output are the items; the kernels (channelwise.h, grouped.h) read the input where it lies.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "mlx/cpu/gemm/channelwise.h"
#include "mlx/cpu/gemm/conv_direct.h"
#include "mlx/cpu/gemm/grouped.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kSerialWork = 200000;
constexpr int64_t kItems = 16;

// Taps side by side: `line` of those that a position meets, `pixel` of the line's pointers.
struct TapRow {
  int64_t line, pixel, weight;
};

// The taps of a phase as rows of one length, whose taps lie in the input as positions do and in the weights
// `turn` taps apart; or as single ones, where no kernel takes such rows.
struct TapRows {
  template <class Kernels>
  TapRows(const Phase& phase, const Kernels& kernels) {
    for (const Tap& tap : phase.taps)
      low = std::min(low, tap.offset[2]), high = std::max(high, tap.offset[2]);
    if (!side_by_side(phase) || length > kLongestRow || !kernels[length]) length = 1, turn = 0;
    for (size_t i = 0; i < phase.taps.size(); i += static_cast<size_t>(length)) {
      const Tap& tap = phase.taps[i];
      if (i == 0 || lines.back()[0] != tap.offset[0] || lines.back()[1] != tap.offset[1])
        lines.push_back(tap.offset);
      rows.push_back({static_cast<int64_t>(lines.size()) - 1, tap.offset[2] - low, tap.weight});
    }
  }

  int64_t low = 0, high = 0;  // offsets along the line, and 0
  int64_t length = 0, turn = 0;
  std::vector<Dims> lines;  // offsets of the lines that taps lie in
  std::vector<TapRow> rows;

 private:
  bool side_by_side(const Phase& phase) {
    const std::vector<Tap>& taps = phase.taps;
    const auto follows = [&](size_t i) {
      const Dims &a = taps[i - 1].offset, &b = taps[i].offset;
      return a[0] == b[0] && a[1] == b[1] && a[2] + phase.step[2] == b[2];
    };
    size_t n = 1;
    while (n < taps.size() && follows(n)) ++n;
    if (n == 1 || taps.size() % n != 0) return false;
    length = static_cast<int64_t>(n), turn = taps[1].weight - taps[0].weight;
    for (size_t i = 1; i < taps.size(); ++i)
      if (follows(i) != (i % n != 0) || (i % n != 0 && taps[i].weight - taps[i - 1].weight != turn))
        return false;
    return true;
  }
};

// Pointers to the pixels of the input's lines, and to zeros for those of the border: the lines that the
// taps of a position meet are kept for the next lines of positions.
class PixelLines {
 public:
  PixelLines(const ConvShape& s, const TapRows& taps, const Phase& phase, const char* input,
             const char* zeros)
      : s_(s),
        low_(taps.low),
        width_((phase.size[2] - 1) * phase.step[2] + taps.high - taps.low + 1),
        pixel_(s.in_channels * kElemSize[conv_elem(s.dtype)]),
        input_(input),
        zeros_(zeros),
        held_(taps.lines.size()),
        pointers_(taps.lines.size() * static_cast<size_t>(width_)) {}

  // `wanted`: numbers of lines of the input, none twice; negative ones have no pixels, and null pointers.
  void get(const std::vector<int64_t>& wanted, std::vector<const void* const*>& out) {
    out.assign(wanted.size(), nullptr);
    for (Held& h : held_) {
      const auto at = std::find(wanted.begin(), wanted.end(), h.line);
      h.in_use = h.line >= 0 && at != wanted.end();
      if (h.in_use) out[static_cast<size_t>(at - wanted.begin())] = pointers(h);
    }
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i] < 0 || out[i]) continue;
      Held& h = *std::find_if(held_.begin(), held_.end(), [](const Held& held) { return !held.in_use; });
      h = {wanted[i], true};
      fill(h);
      out[i] = pointers(h);
    }
  }

 private:
  struct Held {
    int64_t line = -1;
    bool in_use = false;
  };
  const void** pointers(const Held& h) { return pointers_.data() + (&h - held_.data()) * width_; }
  void fill(const Held& h) {
    const char* line = input_ + h.line * s_.in[2] * pixel_;
    const void** to = pointers(h);
    const int64_t begin = std::clamp<int64_t>(-low_, 0, width_);
    const int64_t end = std::clamp<int64_t>(s_.in[2] - low_, begin, width_);
    std::fill(to, to + begin, zeros_);
    for (int64_t i = begin; i < end; ++i) to[i] = line + (i + low_) * pixel_;
    std::fill(to + end, to + width_, zeros_);
  }

  const ConvShape& s_;
  const int64_t low_, width_, pixel_;
  const char *input_, *zeros_;
  std::vector<Held> held_;
  std::vector<const void*> pointers_;
};

// Calls multiply(line) for each line of the output; weights of a tap are `tap_bytes` apart, `zeros` is a
// pixel.
template <class F>
void for_lines(const ConvShape& s, const Phase& phase, const TapRows& rows, const char* input,
               const char* zeros, const char* weights, int64_t tap_bytes, int64_t turn, char* output,
               F&& multiply) {
  const int64_t size = kElemSize[conv_elem(s.dtype)], outputs = s.out_channels;
  const int64_t lines_in = s.batch * s.in[0] * s.in[1], line_bytes = s.in[2] * s.in_channels * size;
  const auto some = [&](int64_t begin, int64_t end) {
    PixelLines pixels(s, rows, phase, input, zeros);
    std::vector<int64_t> wanted(rows.lines.size());
    std::vector<const void* const*> lines;
    std::vector<ChannelwiseRow> live;  // those that meet the input
    ChannelwiseLine line{};
    line.step = phase.step[2];
    line.turn = turn;
    line.out_step = phase.stride[2] * outputs;
    line.positions = phase.size[2];
    line.channels = outputs;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t y = i % phase.size[1], z = i / phase.size[1] % phase.size[0];
      const int64_t n = i / phase.size[1] / phase.size[0];
      int64_t last = 0;
      for (size_t k = 0; k < wanted.size(); ++k) {
        const int64_t iz = z * phase.step[0] + rows.lines[k][0], iy = y * phase.step[1] + rows.lines[k][1];
        const bool inside = iz >= 0 && iz < s.in[0] && iy >= 0 && iy < s.in[1];
        wanted[k] = inside ? (n * s.in[0] + iz) * s.in[1] + iy : -1;
        last = std::max(last, wanted[k] + 1);
      }
      pixels.get(wanted, lines);
      live.clear();
      for (const TapRow& row : rows.rows)
        if (const void* const* at = lines[static_cast<size_t>(row.line)])
          live.push_back({at + row.pixel, weights + row.weight * tap_bytes});
      line.rows = live.data();
      line.count = static_cast<int64_t>(live.size());
      line.ahead = input + last * line_bytes;
      line.ahead_bytes = last < lines_in ? std::min(phase.step[1], lines_in - last) * line_bytes : 0;
      const int64_t oz = phase.first[0] + z * phase.stride[0], oy = phase.first[1] + y * phase.stride[1];
      line.out =
          output + (((n * s.out[0] + oz) * s.out[1] + oy) * s.out[2] + phase.first[2]) * outputs * size;
      multiply(line);
    }
  };
  const int64_t count = s.batch * phase.size[0] * phase.size[1], channels = s.in_channels / s.groups;
  const int64_t work = phase.size[2] * outputs * (static_cast<int64_t>(phase.taps.size()) * channels + 1);
  const int64_t grain = std::max((count + kItems - 1) / kItems, kSerialWork / std::max<int64_t>(1, work));
  parallel_ranges(count, count * work < kSerialWork ? count : grain, some);
}

const GroupedKernels& grouped(Isa set, const ConvShape& s, bool pairs) {
  const GroupedTable& t = grouped_kernels_for(set);
  return pairs ? t.pairs : t.floats[conv_elem(s.dtype)];
}
// Whether products are of pairs of bfloat16.
bool in_pairs(Isa set, const ConvShape& s) {
  return s.dtype == bfloat16 && s.in_channels / s.groups % 2 == 0 && grouped_kernels_for(set).pairs.lanes > 0;
}

}  // namespace

void conv_channelwise(Isa set, const ConvShape& s, const Phase& phase, const void* input, const void* weight,
                      void* output) {
  const Elem e = conv_elem(s.dtype);
  const int64_t c = s.in_channels, size = kElemSize[e], taps = product(s.kernel);
  const ChannelwiseTable& table = channelwise_kernels_for(set);
  const ChannelwiseFn single[kLongestRow + 1] = {nullptr, table.row[e][1]};
  const ChannelwiseFn* kernels = c < table.channels[e] ? single : table.row[e];
  const TapRows rows(phase, kernels);
  Workspace turned((taps + 1) * c * size);  // weights as (tap, channel), and a pixel of zeros
  copy_kernels_for(set).transpose[std::countr_zero(static_cast<uint64_t>(size))](weight, taps, turned.data(),
                                                                                 c, taps, c, false);
  char* zeros = turned.as<char>() + taps * c * size;
  std::memset(zeros, 0, static_cast<size_t>(c * size));
  for_lines(s, phase, rows, static_cast<const char*>(input), zeros, turned.as<char>(), c * size,
            rows.turn * c, static_cast<char*>(output), kernels[rows.length]);
}

bool grouped_fits(Isa set, const ConvShape& s) {
  if (s.groups == 1 || conv_elem(s.dtype) == kF64) return false;
  const bool pairs = in_pairs(set, s);
  const int64_t ins = s.in_channels / s.groups, outs = s.out_channels / s.groups;
  const int lanes = grouped(set, s, pairs).lanes;
  return lanes > 0 && lanes % outs == 0 && s.out_channels >= lanes && ins <= outs * (pairs ? 2 : 1);
}

void conv_grouped(Isa set, const ConvShape& s, const Phase& phase, const void* input, const void* weight,
                  void* output) {
  const bool pairs = in_pairs(set, s);
  const GroupedKernels& kernels = grouped(set, s, pairs);
  const int64_t taps = product(s.kernel), zeros = s.in_channels * kElemSize[conv_elem(s.dtype)];
  GroupedLine shape{};
  shape.ins = s.in_channels / s.groups, shape.outs = s.out_channels / s.groups;
  shape.steps = pairs ? shape.ins / 2 : shape.ins;
  const TapRows rows(phase, kernels.row);
  const int64_t tap_bytes = shape.steps * s.out_channels * static_cast<int64_t>(sizeof(float));
  Workspace packed(taps * tap_bytes + zeros);
  kernels.pack(weight, s.out_channels, taps, shape.ins, packed.data());
  std::memset(packed.as<char>() + taps * tap_bytes, 0, static_cast<size_t>(zeros));
  for_lines(s, phase, rows, static_cast<const char*>(input), packed.as<char>() + taps * tap_bytes,
            packed.as<char>(), tap_bytes, rows.turn, static_cast<char*>(output),
            [&](const ChannelwiseLine& line) {
              GroupedLine g = shape;
              g.line = line;
              kernels.row[rows.length](g);
            });
}

}  // namespace mlx::core::cpu::gemm_detail
