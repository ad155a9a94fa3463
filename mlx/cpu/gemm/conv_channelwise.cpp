// Depthwise convolution: each channel is its own group, so vectors hold channels, and a tile is a few
// positions of a line whose taps are read where they lie (direct.h). Rows of taps as long as many networks
// have them are kernels of their own, which load once what neighbours share.
#include <algorithm>
#include <vector>

#include "mlx/cpu/gemm/conv_direct.h"
#include "mlx/cpu/gemm/conv_patches.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kBoxFloats = 64 << 10;  // of the output; with its border, the input of a box stays in L2
constexpr int64_t kSerialWork = 200000;
constexpr int64_t kFloat = sizeof(float);

ConvShape without_groups(ConvShape s) {
  s.groups = 1;
  return s;
}

// The taps as rows, where they are rows of one length along the lines and lie in A as positions do; the
// length is the steps of the runs. None otherwise.
std::vector<DirectRun> rows_of(const Phase& phase, const PatchSpace& patches, int64_t channels,
                               int64_t& b_step) {
  std::vector<DirectRun> rows;
  int64_t before = 0, weight = 0;
  b_step = 0;
  for (const Tap& tap : phase.taps) {
    const int64_t at = patches.offset(tap), turn = (tap.weight - weight) * channels;
    if (!rows.empty() && at == before + patches.step() && (b_step == 0 || turn == b_step)) {
      b_step = turn;
      ++rows.back().steps;
    } else {
      rows.push_back({at, tap.weight * channels, 1});
    }
    before = at, weight = tap.weight;
  }
  const auto differs = [&](const DirectRun& row) { return row.steps != rows[0].steps; };
  if (std::any_of(rows.begin(), rows.end(), differs)) rows.clear();
  return rows;
}

}  // namespace

void conv_channelwise(const ConvTables& t, const ConvShape& grouped, const Phase& phase, const void* input,
                      const void* weight, void* output) {
  const ConvShape s = without_groups(grouped);
  const Elem e = conv_elem(s.dtype);
  const int64_t c = s.in_channels, size = kElemSize[e], taps = product(s.kernel);
  Workspace turned(taps * c * kFloat);  // weights as (tap, channel)
  for (int64_t i = 0; i < taps; ++i)
    t.gemm.axpy[e].copy_x(static_cast<const char*>(weight) + i * size, taps, c, turned.as<float>() + i * c);
  const Boxes boxes(s.batch, phase.size, std::max<int64_t>(1, kBoxFloats / c));
  const PatchSpace patches(s, phase, boxes, t.conv, input);
  int64_t b_step = 0;
  std::vector<DirectRun> runs = rows_of(phase, patches, c, b_step);
  DirectFn multiply = t.direct.channelwise;
  if (!runs.empty() && runs[0].steps <= kLongestRow && t.direct.channelwise_row[runs[0].steps]) {
    multiply = t.direct.channelwise_row[runs[0].steps];
  } else {
    runs.clear();
    for (const Tap& tap : phase.taps) runs.push_back({patches.offset(tap), tap.weight * c, 1});
  }
  const auto one = [&](int64_t i) {
    const Box box = boxes[i];
    const bool direct = e == kF32;
    Workspace space(patches.floats() * kFloat), sums(direct ? 0 : box.width * c * kFloat);
    const float* from = patches.fill(box, 0, space.as<float>());
    const Parts tiles(box.width, kChannelwiseRows);
    DirectTile tile{};
    tile.runs = runs.data();
    tile.count = static_cast<int64_t>(runs.size());
    tile.a_stride = patches.step();
    tile.b = turned.as<float>();
    tile.b_step = b_step;
    tile.ldc = direct ? phase.stride[2] * c : c;
    tile.cols = static_cast<int>(c);
    for (int64_t line = 0; line < box.all_lines(); ++line) {
      char* to = static_cast<char*>(output) + patches.output(box, line) * c * size;
      float* out = direct ? reinterpret_cast<float*>(to) : sums.as<float>();
      for (int64_t p = 0; p < tiles.count; ++p) {
        tile.a = from + patches.line(box, line) + tiles.begin(p) * tile.a_stride;
        tile.c = out + tiles.begin(p) * tile.ldc;
        tile.rows = static_cast<int>(tiles.length(p));
        multiply(tile);
      }
      if (!direct) t.gemm.finish[e](box.width, c, out, c, to, phase.stride[2] * c, 1, 0, nullptr, 0, 0);
    }
  };
  if (s.batch * product(phase.size) * c * taps < kSerialWork) {
    for (int64_t i = 0; i < boxes.count(); ++i) one(i);
  } else {
    parallel_for(boxes.count(), one, Order::shares);
  }
}

}  // namespace mlx::core::cpu::gemm_detail
