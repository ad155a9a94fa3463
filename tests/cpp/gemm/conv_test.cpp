// Convolution and its weight gradient against direct sums in double: 1 to 3 dimensions, strides, padding
// (also negative), kernel and input dilation, groups, depthwise, pointwise, flips, all types and instruction
// sets. Prints a digest of all results' bits, which must not depend on MLX_NUM_THREADS.
#include "mlx/cpu/gemm/conv.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

using namespace mlx::core;
using namespace mlx::core::cpu;

int failures = 0, checks = 0;
uint64_t digest = 1469598103934665603ull;
std::mt19937 rng(5);

template <class T>
std::vector<T> samples(int64_t n) {
  std::vector<T> x(static_cast<size_t>(n));
  std::uniform_real_distribution<float> u(-1, 1);
  for (auto& v : x) v = static_cast<T>(u(rng));
  return x;
}

template <class T>
void hash(const std::vector<T>& v) {
  for (const T& x : v) {
    uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof(T));
    digest = (digest ^ bits) * 1099511628211ull;
  }
}

template <class T>
double worst_error(const std::vector<T>& got, const std::vector<double>& want,
                   const std::vector<double>& size) {
  const double unit = std::is_same_v<T, double>       ? 0x1p-53
                      : std::is_same_v<T, float16_t>  ? 0x1p-11
                      : std::is_same_v<T, bfloat16_t> ? 0x1p-8
                                                      : 0x1p-24;
  const double sum_unit = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i]) && std::isnan(static_cast<double>(got[i]))) continue;
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    const double bound = 2 * unit * std::abs(want[i]) + 60 * sum_unit * size[i] + 1e-7;
    worst = std::max(
        worst, std::isnan(error) ? 1e30 : error / (std::is_same_v<T, double> ? bound - 1e-7 + 1e-14 : bound));
  }
  return worst;
}

// `poison`: every so many elements of the input are nan, which must reach what they contribute to and nothing
// else.
template <class T>
void check(Isa isa, ConvShape s, size_t poison = 0) {
  s.dtype = std::is_same_v<T, double> ? float64 : Dtype(TypeToDtype<T>());
  const int64_t pixels = s.in[0] * s.in[1] * s.in[2], positions = s.out[0] * s.out[1] * s.out[2];
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2], channels = s.in_channels / s.groups;
  auto x = samples<T>(s.batch * pixels * s.in_channels);
  for (size_t i = poison; poison > 0 && i < x.size(); i += poison) x[i] = static_cast<T>(NAN);
  const auto w = samples<T>(s.out_channels * taps * channels);
  const auto dout = samples<T>(s.batch * positions * s.out_channels);
  std::vector<T> y(dout.size(), T(77.0f)), dw(w.size(), T(77.0f));
  conv_for(isa, s, x.data(), w.data(), y.data());
  conv_weight_gradient_for(isa, s, x.data(), dout.data(), dw.data());
  hash(y), hash(dw);
  std::vector<double> want_y(y.size()), size_y(y.size()), want_w(w.size()), size_w(w.size());
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t p = 0; p < positions; ++p)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t at[3] = {p / (s.out[1] * s.out[2]), p / s.out[2] % s.out[1], p % s.out[2]};
        const int64_t tap[3] = {t / (s.kernel[1] * s.kernel[2]), t / s.kernel[2] % s.kernel[1],
                                t % s.kernel[2]};
        int64_t pixel = 0;
        bool inside = true;
        for (size_t i = 0; i < 3; ++i) {
          const int64_t j = at[i] * s.stride[i] - s.pad[i] + tap[i] * s.dilation[i];
          inside &= j >= 0 && j % s.input_dilation[i] == 0 && j / s.input_dilation[i] < s.in[i];
          pixel = pixel * s.in[i] + j / s.input_dilation[i];
        }
        if (!inside) continue;
        const int64_t tw = s.flip ? taps - 1 - t : t;
        for (int64_t o = 0; o < s.out_channels; ++o)
          for (int64_t c = 0; c < channels; ++c) {
            const int64_t g = o / (s.out_channels / s.groups);
            const double in = static_cast<double>(
                x[static_cast<size_t>((n * pixels + pixel) * s.in_channels + g * channels + c)]);
            const size_t iw = static_cast<size_t>((o * taps + tw) * channels + c);
            const size_t iy = static_cast<size_t>((n * positions + p) * s.out_channels + o);
            const double a = in * static_cast<double>(w[iw]), b = in * static_cast<double>(dout[iy]);
            want_y[iy] += a, size_y[iy] += std::abs(a);
            want_w[iw] += b, size_w[iw] += std::abs(b);
          }
      }
  const double e[2] = {worst_error(y, want_y, size_y), worst_error(dw, want_w, size_w)};
  checks += 2;
  for (int i = 0; i < 2; ++i)
    if (!(e[i] <= 1) && ++failures <= 30)
      std::printf(
          "FAILED %s %s %s: batch %ld channels %ld -> %ld groups %ld in %ld %ld %ld kernel %ld %ld %ld out "
          "%ld %ld %ld "
          "stride %ld %ld %ld pad %ld %ld %ld dilation %ld %ld %ld input %ld %ld %ld flip %d: %g of the "
          "bound\n",
          i ? "dw" : "forward", isa_name(isa), dtype_name(s.dtype), static_cast<long>(s.batch),
          static_cast<long>(s.in_channels), static_cast<long>(s.out_channels), static_cast<long>(s.groups),
          static_cast<long>(s.in[0]), static_cast<long>(s.in[1]), static_cast<long>(s.in[2]),
          static_cast<long>(s.kernel[0]), static_cast<long>(s.kernel[1]), static_cast<long>(s.kernel[2]),
          static_cast<long>(s.out[0]), static_cast<long>(s.out[1]), static_cast<long>(s.out[2]),
          static_cast<long>(s.stride[0]), static_cast<long>(s.stride[1]), static_cast<long>(s.stride[2]),
          static_cast<long>(s.pad[0]), static_cast<long>(s.pad[1]), static_cast<long>(s.pad[2]),
          static_cast<long>(s.dilation[0]), static_cast<long>(s.dilation[1]),
          static_cast<long>(s.dilation[2]), static_cast<long>(s.input_dilation[0]),
          static_cast<long>(s.input_dilation[1]), static_cast<long>(s.input_dilation[2]), s.flip, e[i]);
}

// Output positions for padding `high` behind; at least one.
void fit(ConvShape& s, const ConvShape::Dims& high) {
  for (size_t i = 0; i < 3; ++i) {
    const int64_t in = (s.in[i] - 1) * s.input_dilation[i] + 1 + s.pad[i] + high[i];
    s.out[i] = std::max<int64_t>(1, (in - (s.kernel[i] - 1) * s.dilation[i] - 1) / s.stride[i] + 1);
  }
}

template <class T>
void all(Isa isa) {
  ConvShape s;
  s.batch = 2, s.in_channels = 20, s.out_channels = 35;
  s.in = {1, 9, 11}, s.kernel = {1, 3, 3}, s.pad = {0, 1, 1};
  fit(s, {0, 1, 1});
  check<T>(isa, s);
  ConvShape p = s;  // pointwise
  p.kernel = {1, 1, 1}, p.pad = {0, 0, 0};
  fit(p, {0, 0, 0});
  check<T>(isa, p);
  ConvShape rgb = s;  // few channels
  rgb.in_channels = 3, rgb.in = {1, 20, 21}, rgb.kernel = {1, 7, 7}, rgb.pad = {0, 3, 3},
  rgb.stride = {1, 2, 2};
  fit(rgb, {0, 3, 3});
  check<T>(isa, rgb);
  ConvShape longer = s;  // a k of many blocks for the weights
  longer.in = {1, 70, 66}, longer.in_channels = 6, longer.out_channels = 5;
  fit(longer, {0, 1, 1});
  check<T>(isa, longer);
  for (int i = 0; i < 120; ++i) {
    ConvShape r;
    const auto pick = [](int64_t low, int64_t high) {
      return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1));
    };
    r.batch = pick(1, 3);
    r.groups = i % 3 ? 1 : pick(2, 6);
    const bool channelwise = i % 9 == 3;
    r.in_channels = r.groups * (channelwise ? 1 : pick(1, 9));
    if (channelwise) r.groups = r.in_channels = pick(2, 70);
    r.out_channels = channelwise ? r.groups : r.groups * pick(1, 20);
    r.flip = pick(0, 1);
    ConvShape::Dims high = {0, 0, 0};
    for (size_t d = static_cast<size_t>(pick(0, 2)); d < 3; ++d) {
      r.in[d] = pick(1, 9), r.kernel[d] = pick(1, 4), r.stride[d] = pick(1, 3), r.pad[d] = pick(-1, 3),
      high[d] = pick(0, 3);
      r.dilation[d] = pick(1, 3), r.input_dilation[d] = i % 2 ? 1 : pick(1, 3);
    }
    fit(r, high);
    check<T>(isa, r);
  }
}

ConvShape shaped(int64_t batch, int64_t channels, int64_t outputs, ConvShape::Dims in, ConvShape::Dims kernel,
                 ConvShape::Dims pad, int64_t groups = 1) {
  ConvShape s;
  s.batch = batch, s.in_channels = channels, s.out_channels = outputs, s.groups = groups;
  s.in = in, s.kernel = kernel, s.pad = pad;
  fit(s, pad);
  return s;
}

// Large enough for several boxes of positions, blocks of k, panels of outputs, and pieces of a gradient.
template <class T>
void large(Isa isa) {
  check<T>(isa, shaped(2, 50, 70, {1, 24, 31}, {1, 3, 3}, {0, 1, 1}));
  check<T>(isa, shaped(3, 40, 100, {1, 7, 7}, {1, 3, 3}, {0, 1, 1}));  // short lines, several images
  check<T>(isa, shaped(17, 9, 20, {1, 5, 4}, {1, 2, 3}, {0, 0, 1}));
  check<T>(isa, shaped(2, 3, 18, {1, 1, 2500}, {1, 1, 9}, {0, 0, 4}));  // long lines
  check<T>(isa, shaped(1, 17, 5, {1, 1, 1500}, {1, 1, 4}, {0, 0, 2}));
  check<T>(isa, shaped(1, 8, 12, {9, 14, 15}, {3, 3, 3}, {1, 1, 1}));  // planes
  check<T>(isa, shaped(1, 60, 3, {1, 20, 21}, {1, 5, 5}, {0, 2, 2}));  // few outputs
  check<T>(isa, shaped(1, 5, 1, {1, 30, 30}, {1, 3, 5}, {0, 1, 2}));
  check<T>(isa, shaped(2, 64, 64, {1, 15, 14}, {1, 3, 3}, {0, 1, 1}, 16));
  for (const int64_t taps : {3, 5, 7})  // a channel per group, rows of taps
    for (const bool flip : {false, true}) {
      ConvShape s = shaped(2, 70, 70, {1, 9, 20 + taps}, {1, 2, taps}, {0, 1, taps / 2}, 70);
      s.flip = flip;
      check<T>(isa, s);
      s.dilation = {1, 1, 2}, s.stride = {1, 1, 2};
      fit(s, {0, 1, taps / 2});
      check<T>(isa, s);
    }
  // A register of channels and what overlaps it, blocks of them, borders wider than the line, and planes.
  for (const int64_t channels : {15, 16, 17, 31, 32, 33, 48, 65, 129, 300}) {
    ConvShape s = shaped(2, channels, channels, {1, 5, 9}, {1, 3, 3}, {0, 1, 1}, channels);
    check<T>(isa, s);
    s.stride = {1, 2, 2};
    fit(s, {0, 1, 1});
    check<T>(isa, s);
  }
  for (const int64_t ins : {1, 2, 3, 4, 6, 8, 16, 20})  // small groups that share a vector of outputs
    for (const int64_t outs : {1, 2, 4, 8, 16}) {
      ConvShape s = shaped(1, 9 * ins, 9 * outs, {1, 5, 9}, {1, 3, 3}, {0, 1, 1}, 9);
      check<T>(isa, s);
      s.stride = {1, 2, 2}, s.flip = true;
      fit(s, {0, 1, 1});
      check<T>(isa, s);
    }
  check<T>(isa, shaped(1, 40, 40, {1, 3, 2}, {1, 7, 7}, {0, 3, 3}, 40));
  check<T>(isa, shaped(2, 40, 40, {4, 5, 6}, {3, 3, 3}, {1, 1, 1}, 40));
  ConvShape strided = shaped(1, 24, 40, {1, 40, 41}, {1, 3, 3}, {0, 1, 1});
  strided.stride = {1, 2, 2};
  fit(strided, {0, 1, 1});
  check<T>(isa, strided);
  ConvShape transposed = shaped(1, 20, 3, {1, 20, 22}, {1, 4, 4}, {0, 1, 1});
  transposed.input_dilation = {1, 2, 2}, transposed.flip = true;
  fit(transposed, {0, 1, 1});
  check<T>(isa, transposed);
}

template <class T>
void poisoned(Isa isa) {
  check<T>(isa, shaped(1, 5, 3, {1, 9, 12}, {1, 3, 3}, {0, 1, 1}), 97);
  check<T>(isa, shaped(1, 1, 1, {1, 9, 12}, {1, 3, 5}, {0, 0, 0}), 31);
  check<T>(isa, shaped(1, 7, 6, {1, 9, 12}, {1, 1, 3}, {0, 0, 0}), 200);
  check<T>(isa, shaped(2, 12, 12, {1, 6, 8}, {1, 3, 3}, {0, 1, 1}, 4), 301);
  check<T>(isa, shaped(2, 20, 36, {1, 6, 8}, {1, 3, 3}, {0, 1, 1}), 501);
  check<T>(isa, shaped(2, 36, 36, {1, 6, 9}, {1, 3, 3}, {0, 1, 1}, 36), 301);
  check<T>(isa, shaped(2, 9, 9, {1, 6, 9}, {1, 3, 2}, {0, 1, 1}, 9), 97);
  check<T>(isa, shaped(2, 36, 36, {1, 6, 9}, {1, 3, 3}, {0, 1, 1}, 9), 301);
  check<T>(isa, shaped(2, 18, 36, {1, 6, 9}, {1, 3, 3}, {0, 1, 1}, 9), 101);
  // The last pixel of an odd line: the first tap never meets it, nor does a pair that reaches behind the
  // line.
  check<T>(isa, shaped(1, 2, 20, {1, 1, 7}, {1, 1, 3}, {0, 0, 1}), 12);
  check<T>(isa, shaped(1, 20, 3, {1, 1, 7}, {1, 1, 3}, {0, 0, 1}), 125);
}

}  // namespace

int main() {
  for (const Isa isa : {Isa::generic, Isa::v2, Isa::v3, Isa::v4, Isa::v4bf16, Isa::v4amx}) {
    if (!isa_supported(isa)) continue;
    const int before = checks;
    all<float>(isa);
    all<double>(isa);
    all<float16_t>(isa);
    all<bfloat16_t>(isa);
    large<float>(isa);
    large<float16_t>(isa);
    large<bfloat16_t>(isa);
    poisoned<float>(isa);
    poisoned<float16_t>(isa);
    poisoned<bfloat16_t>(isa);
    std::printf("%s: %d checks\n", isa_name(isa), checks - before);
  }
  std::printf("digest %016llx\n%s\n", static_cast<unsigned long long>(digest), failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}
