// Convolutions whose groups have one input channel (metal/kernels/depthwise.metal).
#include <algorithm>
#include <cstdlib>

#include "metal/host/conv.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

constexpr size_t kMostBytes = 24 << 10;  // of threadgroup memory
constexpr int32_t kLanes = 32, kRows = 8;

// As in metal/kernels/depthwise.metal.
struct Halo {
  int32_t rows = 0, columns = 0, tiles = 0;
};

// The function constants, in their order.
struct Flags {
  bool staged = false;
  int32_t per_thread = 1, tile_rows = 1, slide = 0;
  bool split = false, divided = false, exchanged = false;
  std::vector<FunctionConstant> constants() const {
    return {{0, staged}, {1, per_thread}, {2, tile_rows}, {3, slide},
            {4, split},  {5, divided},    {6, exchanged}};
  }
};

int32_t pieces(int32_t n, int32_t size) { return (n + size - 1) / size; }
int32_t lines(int32_t tile, int32_t stride, int32_t taps, int32_t reach) {
  return (tile - 1) * stride + (taps - 1) * std::abs(reach) + 1;
}
size_t bytes_of(const Halo& h) {
  return static_cast<size_t>(h.rows) * static_cast<size_t>(h.columns) * kLanes;
}

}  // namespace

bool depthwise_fits(const ConvParams& p, Dtype dtype) {
  return p.channels == 1 && p.groups > 1 &&
         static_cast<size_t>(p.taps[1]) * static_cast<size_t>(p.taps[2]) * kLanes * size_of(dtype) <=
             kMostBytes;
}

void depthwise(const array& x, const array& w, const array& out, ConvParams p, const Stream& s) {
  int32_t outs[3], taps[3], reach[3], phases = 1;
  for (int d = 0; d < 3; ++d) {
    outs[d] = pieces(p.out[d], p.input_dilation[d]);
    taps[d] = pieces(p.taps[d], p.tap_step[d]);
    reach[d] = p.tap_step[d] * p.dilation[d] / p.input_dilation[d];
    phases *= p.input_dilation[d];
  }
  const size_t weights = static_cast<size_t>(taps[1] * taps[2]) * kLanes * out.itemsize();
  const int32_t rows = outs[1] > 2 ? kRows : 1, across = kRows / rows;
  int32_t per_thread = 8;
  const auto halo_of = [&](int32_t each) {
    return Halo{lines(rows, p.stride[1], taps[1], reach[1]),
                lines(across * each, p.stride[2], taps[2], reach[2])};
  };
  const auto fits = [&](int32_t each) {
    return bytes_of(halo_of(each)) * out.itemsize() + weights <= kMostBytes;
  };
  while (per_thread > 1 && (across * per_thread >= 2 * outs[2] || !fits(per_thread))) per_thread /= 2;
  const bool staged = fits(per_thread);
  if (!staged) per_thread = 4;
  const bool slides = staged && p.stride[2] == 1 && reach[2] == 1 && p.input_dilation[2] == 1 && taps[2] <= 8;
  const Halo halo = halo_of(per_thread);
  Flags flags;
  flags.staged = staged, flags.per_thread = per_thread, flags.tile_rows = rows;
  if (slides) flags.slide = taps[2];
  Dispatch d(s, instantiated("depthwise", "depthwise", type_name(out.dtype()), flags.constants()));
  d.in(x).in(w).out(out).value(p).value(halo);
  d.threadgroup_memory((staged ? bytes_of(halo) * out.itemsize() : 0) + weights);
  const int32_t channels = p.outputs * p.groups;
  d.groups({static_cast<uint32_t>(pieces(channels, kLanes)),
            static_cast<uint32_t>(outs[0] * pieces(outs[1], rows) * pieces(outs[2], across * per_thread)),
            static_cast<uint32_t>(p.batch * phases)},
           {kLanes, kRows, 1});
}

void depthwise_weights(const array& x, const array& g, const array& out, ConvParams p, const Stream& s) {
  const bool exchange = p.dilated_input() && p.unit_strides();
  const int32_t multiplier = p.outputs;
  if (exchange) {
    p = exchanged(p);
    p.channels = 1, p.outputs = multiplier;
  }
  const int32_t rows = p.out[1] > 2 ? kRows : 1, columns = 64 / rows;
  Halo halo{lines(rows, p.stride[1], p.taps[1], p.dilation[1]),
            lines(columns, p.stride[2], p.taps[2], p.dilation[2])};
  const size_t plain = 64 * kLanes * out.itemsize();
  const bool divided = p.dilated_input();
  const bool staged = !divided && bytes_of(halo) * out.itemsize() + plain <= kMostBytes;
  const int32_t blocks = pieces(multiplier * p.groups, kLanes);
  const int32_t planes = p.taps[0] * pieces(p.taps[1] * p.taps[2], 64);
  const int32_t tiles = p.batch * p.out[0] * pieces(p.out[1], rows) * pieces(p.out[2], columns);
  // Parts of at least four tiles, as many as keep the device busy.
  const auto wanted = static_cast<int32_t>(std::max<int64_t>(1, 2 * kFewGroups / (int64_t{blocks} * planes)));
  halo.tiles = pieces(tiles, std::clamp(pieces(tiles, 4), 1, wanted));
  p.parts = pieces(tiles, halo.tiles);
  p.size = static_cast<int64_t>(out.size());
  const bool split = p.parts > 1;
  std::optional<array> partial;
  if (split) {
    partial = array({static_cast<ShapeElem>(p.parts), static_cast<ShapeElem>(p.size)}, float32, nullptr, {});
    allocate(*partial);
  }
  {
    Flags flags;
    flags.staged = staged, flags.tile_rows = rows, flags.split = split;
    flags.divided = divided, flags.exchanged = exchange;
    Dispatch d(s, instantiated("depthwise", "depthwise_weights", type_name(out.dtype()), flags.constants()));
    exchange ? d.in(x).in(g) : d.in(g).in(x);
    split ? d.skip() : d.out(out);
    d.value(p).value(halo);
    if (split) d.out(*partial);
    d.threadgroup_memory((staged ? bytes_of(halo) * out.itemsize() : 0) + plain);
    d.groups({static_cast<uint32_t>(blocks), static_cast<uint32_t>(p.parts), static_cast<uint32_t>(planes)},
             {kLanes, kRows, 1});
  }
  if (split) sum_parts(*partial, out, p, s);
}

}  // namespace mlx::core::metal
