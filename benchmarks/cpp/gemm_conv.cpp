// Time and GFLOP/s of convolutions: forward, weight gradient, input gradient.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

#include "mlx/cpu/gemm/conv.h"
#include "mlx/cpu/parallel.h"

namespace {

using namespace mlx::core;
using namespace mlx::core::cpu;

// Wall time; with one thread the thread's own processor time, which a busy machine disturbs less.
double now() {
  timespec t;
  clock_gettime(num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class F>
double best(F&& f) {
  double least = 1e9;
  for (int i = 0; i < 7; ++i) {
    const double start = now();
    f();
    least = std::min(least, now() - start);
  }
  return least;
}

struct Case {
  int64_t n, size, in, out, kernel, stride, groups;
};

void bench(Dtype t, const Case& c) {
  ConvShape s;
  s.dtype = t;
  s.batch = c.n, s.in_channels = c.in, s.out_channels = c.out, s.groups = c.groups;
  s.in = {1, c.size, c.size}, s.kernel = {1, c.kernel, c.kernel}, s.stride = {1, c.stride, c.stride};
  s.pad = {0, c.kernel / 2, c.kernel / 2};
  const int64_t out = (c.size + 2 * (c.kernel / 2) - c.kernel) / c.stride + 1;
  s.out = {1, out, out};
  ConvShape b = s;  // the gradient of the input: dout, dilated, with weights (C, kernel, O / groups)
  b.in = s.out, b.out = s.in, b.in_channels = s.out_channels, b.out_channels = s.in_channels;
  b.stride = {1, 1, 1}, b.input_dilation = s.stride, b.flip = true;
  for (size_t i = 0; i < 3; ++i) b.pad[i] = s.kernel[i] - 1 - s.pad[i];
  const auto bytes = [&](int64_t elements) {
    return std::vector<char>(static_cast<size_t>(elements * t.size()));
  };
  auto x = bytes(c.n * c.size * c.size * c.in), y = bytes(c.n * out * out * c.out);
  auto w = bytes(c.out * c.kernel * c.kernel * c.in / c.groups);
  const double forward = best([&] { conv(s, x.data(), w.data(), y.data()); });
  const double weights = best([&] { conv_weight_gradient(s, x.data(), y.data(), w.data()); });
  const double inputs = best([&] { conv(b, y.data(), w.data(), x.data()); });
  const double flops =
      2.0 * static_cast<double>(c.n * out * out * c.out * c.kernel * c.kernel * c.in / c.groups);
  std::printf(
      "%-8s (%ld,%ld,%ld,%ld) %ldx%ldx%ld stride %ld groups %ld: forward %8.2f ms %6.1f GFLOP/s  dw %8.2f ms "
      "%6.1f"
      "  dx %8.2f ms %6.1f\n",
      dtype_name(t), static_cast<long>(c.n), static_cast<long>(c.size), static_cast<long>(c.size),
      static_cast<long>(c.in), static_cast<long>(c.kernel), static_cast<long>(c.kernel),
      static_cast<long>(c.out), static_cast<long>(c.stride), static_cast<long>(c.groups), forward * 1e3,
      flops / forward / 1e9, weights * 1e3, flops / weights / 1e9, inputs * 1e3, flops / inputs / 1e9);
}

}  // namespace

int main() {
  for (const Dtype t : {float32, bfloat16})
    for (const Case& c : {Case{8, 56, 64, 64, 3, 1, 1},
                          {8, 56, 64, 128, 3, 2, 1},
                          {8, 224, 3, 64, 7, 2, 1},
                          {8, 56, 64, 256, 1, 1, 1},
                          {8, 56, 64, 64, 3, 1, 64},
                          {8, 14, 256, 256, 3, 1, 1}})
      bench(t, c);
}
