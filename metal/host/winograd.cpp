// Convolutions with 3 x 3 taps as 36 products of transformed tiles (metal/kernels/winograd.metal).
#include <algorithm>

#include "metal/host/conv.h"
#include "metal/host/matmul.h"

namespace mlx::core::metal {
namespace {

// Operations that an Apple GPU does while it moves a byte (M1: 2.6 TFLOPS and 68 GB/s; M2 Max: 13.6 and 400).
constexpr double kBalance = 35;
constexpr double kMostBytes = 1e9;  // of what is held between the dispatches

int64_t tiles_of(const ConvParams& p) {
  return int64_t{p.batch} * ceil_div(static_cast<size_t>(p.out[1]), 4) *
         ceil_div(static_cast<size_t>(p.out[2]), 4);
}
array floats(int64_t n, int64_t m) {
  array out({36, static_cast<ShapeElem>(n), static_cast<ShapeElem>(m)}, float32, nullptr, {});
  allocate(out);
  return out;
}

}  // namespace

bool winograd_pays(const ConvParams& p, const ConvParameters& given) {
  const bool possible = given.stride.size() == 2 && p.groups == 1 && p.unit_strides() && !p.dilated_input() &&
                        p.taps[1] == 3 && p.taps[2] == 3 && std::abs(p.dilation[1]) == 1 &&
                        std::abs(p.dilation[2]) == 1;
  if (!possible) return false;
  const double c = p.channels, o = p.outputs, tiles = static_cast<double>(tiles_of(p));
  const double direct = 18 * c * o * static_cast<double>(p.positions()) / kBalance;
  const double products = 72 * c * o * tiles / kBalance;
  const double moved = tiles * 4 * (36 * (2 * c + 2 * o) + 16 * (c + o)) + 324 * c * o;
  return products + moved < direct && tiles * 144 * (c + o) < kMostBytes;
}

void winograd(const array& x, const array& w, const array& out, const ConvParams& p, bool flip,
              const Stream& s) {
  ConvParams q = p;
  if (flip) q.low[1] += 2, q.low[2] += 2;  // from the mirrored taps' to the caller's: see conv_params
  const int64_t tiles = tiles_of(p);
  const array inputs = floats(tiles, p.channels), products = floats(tiles, p.outputs);
  const auto run = [&](const char* kernel, const array& from, const array& to, int64_t columns,
                       int64_t rows) {
    Dispatch d(s, instantiated("winograd", kernel, type_name(out.dtype()), {{0, flip}}));
    d.in(from).out(to).value(q);
    const auto across = static_cast<uint32_t>(columns);
    d.threads({across, static_cast<uint32_t>(rows), 1}, {std::min<uint32_t>(across, 256), 1, 1});
  };
  run("winograd_input", x, inputs, p.channels, tiles);
  // Other convolutions of this evaluation may have the same weights.
  const std::string what = flip ? "winograd_taps, mirrored" : "winograd_taps";
  std::optional<array> known = Encoder::current().derived(w, what);
  const array taps = known ? *known : floats(p.outputs, p.channels);
  if (!known) {
    run("winograd_taps", w, taps, p.channels, p.outputs);
    Encoder::current().keep_derived(w, what, taps);
  }
  array turned({36, p.channels, p.outputs}, float32, nullptr, {});
  const Strides strides{int64_t{p.channels} * p.outputs, 1, p.channels};
  turned.copy_shared_buffer(taps, strides, flags_of(turned.shape(), strides, taps.size()), taps.size(), 0);
  multiply(inputs, turned, products, s);
  run("winograd_output", products, out, p.outputs, tiles);
}

}  // namespace mlx::core::metal
