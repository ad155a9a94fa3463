// Gradient of a convolution's weights: C = dout^T times patches, m output channels by n = (tap, channel),
// summed over all positions. Few outputs and a very long k: the nest cuts k into pieces (nest.cpp).
#include <algorithm>
#include <cstring>

#include "mlx/cpu/gemm/conv.h"
#include "mlx/cpu/gemm/conv_direct.h"
#include "mlx/cpu/gemm/conv_geometry.h"
#include "mlx/cpu/gemm/conv_kernels.h"
#include "mlx/cpu/gemm/nest.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

// Runs of positions (of a phase's grid, k0 and up) along the last dimension: run(k, length, n, z, y, x).
template <class F>
void for_each_run(const Phase& p, int64_t k0, int64_t kn, F&& run) {
  const int64_t width = p.size[2];
  for (int64_t k = 0; k < kn;) {
    const int64_t x = (k0 + k) % width, rest = (k0 + k) / width, length = std::min(kn - k, width - x);
    const int64_t y = rest % p.size[1], z = rest / p.size[1] % p.size[0], n = rest / (p.size[1] * p.size[0]);
    run(k, length, n, z, y, x);
    k += length;
  }
}

// Rows of A: output channels; along k: positions of the phase, which lie strided in dout.
class OutputSource final : public PanelSource {
 public:
  OutputSource(const Family& f, const ConvShape& s, const Phase& p, Elem e, const void* dout, int64_t group)
      : f_(f),
        s_(s),
        p_(p),
        pack_(f.pack_a[e]),
        size_(kElemSize[e]),
        dout_(static_cast<const char*>(dout) + group * (s.out_channels / s.groups) * size_) {}
  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    char* to = static_cast<char*>(panel);
    const bool dense = p_.stride == Dims{1, 1, 1};
    if (dense) return pack_(dout_ + (k0 * s_.out_channels + r0) * size_, 1, s_.out_channels, rows, kn, panel);
    for_each_run(p_, k0, kn, [&](int64_t k, int64_t length, int64_t n, int64_t z, int64_t y, int64_t x) {
      const int64_t at =
          ((n * s_.out[0] + p_.first[0] + z * p_.stride[0]) * s_.out[1] + p_.first[1] + y * p_.stride[1]) *
              s_.out[2] +
          p_.first[2] + x * p_.stride[2];
      pack_(dout_ + (at * s_.out_channels + r0) * size_, 1, p_.stride[2] * s_.out_channels, rows, length,
            to + k * f_.mr * f_.packed_size);
    });
  }

 private:
  const Family& f_;
  const ConvShape& s_;
  const Phase& p_;
  const PackFn pack_;
  const int64_t size_;
  const char* dout_;
};

// Columns of B: (tap, channel) of the phase; along k: its positions. Packed in the accumulator type.
class TurnedPatchSource final : public PanelSource {
 public:
  TurnedPatchSource(const Family& f, const ConvTable& t, const ConvShape& s, const Phase& p, Elem e,
                    const void* input, int64_t group)
      : f_(f),
        s_(s),
        p_(p),
        copy_(t.copy_run[e]),
        size_(kElemSize[e]),
        channels_(s.in_channels / s.groups),
        input_(static_cast<const char*>(input) + group * channels_ * size_) {}
  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    char* to = static_cast<char*>(panel);
    const int64_t row = f_.nr * f_.packed_size;
    if (rows < f_.nr) std::memset(to, 0, static_cast<size_t>(kn * row));
    for (int64_t j = 0; j < rows;) {
      const int64_t c = (r0 + j) % channels_, len = std::min<int64_t>(rows - j, channels_ - c);
      const Dims& o = p_.taps[static_cast<size_t>((r0 + j) / channels_)].offset;
      for_each_run(p_, k0, kn, [&](int64_t k, int64_t length, int64_t n, int64_t z, int64_t y, int64_t x) {
        const int64_t iz = z * p_.step[0] + o[0], iy = y * p_.step[1] + o[1], step = p_.step[2];
        char* at = to + k * row + j * f_.packed_size;
        int64_t begin = 0, end = 0;  // of the run, inside the input
        if (iz >= 0 && iz < s_.in[0] && iy >= 0 && iy < s_.in[1]) {
          const int64_t x0 = x * step + o[2];
          begin = x0 < 0 ? std::min(length, (-x0 + step - 1) / step) : 0;
          end = std::clamp<int64_t>((s_.in[2] - x0 + step - 1) / step, begin, length);
        }
        zero(at, begin, len);
        zero(at + end * row, length - end, len);
        if (begin == end) return;
        const int64_t pixel = ((n * s_.in[0] + iz) * s_.in[1] + iy) * s_.in[2] + (x + begin) * step + o[2];
        copy_(input_ + (pixel * s_.in_channels + c) * size_, step * s_.in_channels, end - begin, len,
              at + begin * row, f_.nr);
      });
      j += len;
    }
  }

 private:
  void zero(char* at, int64_t steps, int64_t len) const {
    for (int64_t k = 0; k < steps; ++k, at += f_.nr * f_.packed_size)
      std::memset(at, 0, static_cast<size_t>(len * f_.packed_size));
  }
  const Family& f_;
  const ConvShape& s_;
  const Phase& p_;
  void (*copy_)(const void*, int64_t, int64_t, int64_t, void*, int64_t);
  const int64_t size_, channels_;
  const char* input_;
};

// Sums (channel, tap of the phase, input channel) to their places in dw.
class WeightSink final : public TileSink {
 public:
  WeightSink(const ConvShape& s, const Phase& p, Elem e, FinishFn finish, void* dw, int64_t group)
      : p_(p),
        size_(kElemSize[e]),
        acc_(e == kF64 ? 8 : 4),
        channels_(s.in_channels / s.groups),
        row_(product(s.kernel) * channels_),
        finish_(finish),
        dw_(static_cast<char*>(dw) + group * (s.out_channels / s.groups) * row_ * size_) {}
  void take(int64_t i0, int64_t rows, int64_t j0, int64_t cols, const void* acc, int64_t ld) const override {
    for (int64_t j = 0; j < cols;) {
      const int64_t c = (j0 + j) % channels_, len = std::min(cols - j, channels_ - c);
      const int64_t tap = p_.taps[static_cast<size_t>((j0 + j) / channels_)].weight;
      finish_(rows, len, static_cast<const char*>(acc) + j * acc_, ld,
              dw_ + (i0 * row_ + tap * channels_ + c) * size_, row_, 1, 0, nullptr, 0, 0);
      j += len;
    }
  }

 private:
  const Phase& p_;
  const int64_t size_, acc_, channels_, row_;
  const FinishFn finish_;
  char* dw_;
};

void patches(const ConvTables& t, const ConvShape& s, const Phase& phase, Elem e, const void* input,
             const void* dout, void* dw) {
  const Family& f = e == kF64 ? t.gemm.f64 : t.gemm.f32;
  const auto group = [&](int64_t i) {
    const OutputSource a(f, s, phase, e, dout, i);
    const TurnedPatchSource b(f, t.conv, s, phase, e, input, i);
    const WeightSink sink(s, phase, e, t.gemm.finish[e], dw, i);
    Nest nest;
    nest.family = &f;
    nest.m = s.out_channels / s.groups;
    nest.n = static_cast<int64_t>(phase.taps.size()) * (s.in_channels / s.groups);
    nest.k = s.batch * product(phase.size);
    nest.a = &a, nest.b = &b;
    nest.sink = &sink;
    run_nest(nest);
  };
  if (s.groups > 4) {
    parallel_for(s.groups, group);
  } else {
    for (int64_t i = 0; i < s.groups; ++i) group(i);
  }
}

// A channel per group: sums of products of shifted lines, in pieces of lines that are added in order.
void depthwise(const ConvTables& t, const ConvShape& s, const Phase& phase, Elem e, const void* input,
               const void* dout, void* dw) {
  const int64_t c = s.in_channels, size = kElemSize[e], acc = e == kF64 ? 8 : 4;
  const int64_t taps = static_cast<int64_t>(phase.taps.size()), all_taps = product(s.kernel);
  if (taps == 0) return;
  const int64_t lines = s.batch * phase.size[0] * phase.size[1];
  const int64_t pieces =
      std::clamp<int64_t>(lines * phase.size[2] * c * taps / 400000, 1, std::min<int64_t>(32, lines));
  const int64_t per_piece = (lines + pieces - 1) / pieces;
  Workspace sums(pieces * taps * c * acc);
  parallel_for(pieces, [&](int64_t piece) {
    char* total = sums.as<char>() + piece * taps * c * acc;
    std::memset(total, 0, static_cast<size_t>(taps * c * acc));
    for (int64_t line = piece * per_piece; line < std::min(lines, (piece + 1) * per_piece); ++line) {
      const int64_t y = line % phase.size[1], z = line / phase.size[1] % phase.size[0];
      const int64_t n = line / (phase.size[1] * phase.size[0]);
      const int64_t oz = phase.first[0] + z * phase.stride[0], oy = phase.first[1] + y * phase.stride[1];
      for (int64_t i = 0; i < taps; ++i) {
        const Dims& o = phase.taps[static_cast<size_t>(i)].offset;
        const int64_t iz = z * phase.step[0] + o[0], iy = y * phase.step[1] + o[1], step = phase.step[2];
        if (iz < 0 || iz >= s.in[0] || iy < 0 || iy >= s.in[1]) continue;
        const int64_t begin = o[2] < 0 ? (-o[2] + step - 1) / step : 0;
        const int64_t end = std::min(phase.size[2], (s.in[2] - o[2] + step - 1) / step);
        if (end <= begin) continue;
        const int64_t from = ((n * s.in[0] + iz) * s.in[1] + iy) * s.in[2] + begin * step + o[2];
        const int64_t at =
            ((n * s.out[0] + oz) * s.out[1] + oy) * s.out[2] + phase.first[2] + begin * phase.stride[2];
        t.conv.multiply_sum[e](end - begin, c, static_cast<const char*>(input) + from * c * size, step * c,
                               static_cast<const char*>(dout) + at * c * size, phase.stride[2] * c,
                               total + i * c * acc);
      }
    }
  });
  const auto finish = [&]<class T>(T* total) {
    for (int64_t p = 1; p < pieces; ++p)
      for (int64_t i = 0; i < taps * c; ++i) total[i] += total[p * taps * c + i];
    for (int64_t i = 0; i < taps; ++i)  // to (channel, tap)
      t.gemm.finish[e](c, 1, total + i * c, 1,
                       static_cast<char*>(dw) + phase.taps[static_cast<size_t>(i)].weight * size, all_taps, 1,
                       0, nullptr, 0, 0);
  };
  if (acc == 8) {
    finish(sums.as<double>());
  } else {
    finish(sums.as<float>());
  }
}

void run(const ConvTables& t, const ConvShape& s, const void* input, const void* dout, void* dw) {
  const Elem e = conv_elem(s.dtype);
  const int64_t channels = s.in_channels / s.groups, taps = product(s.kernel);
  const int64_t bytes = s.out_channels * taps * channels * kElemSize[e];
  if (bytes <= 0) return;
  if (s.batch <= 0) {
    std::memset(dw, 0, static_cast<size_t>(bytes));
    return;
  }
  const std::vector<Phase> all = phases(s);
  // A tap belongs to one phase, or to none where it only ever meets dilation zeros.
  int64_t used = 0;
  for (const Phase& p : all) used += static_cast<int64_t>(p.taps.size());
  if (used < taps) std::memset(dw, 0, static_cast<size_t>(bytes));
  const bool channelwise = s.groups == s.in_channels && s.out_channels == s.in_channels && s.groups > 1;
  for (const Phase& p : all) {
    if (channelwise) {
      depthwise(t, s, p, e, input, dout, dw);
    } else if (direct_fits(s, p)) {
      conv_direct_gradient(t, s, p, input, dout, dw);
    } else {
      patches(t, s, p, e, input, dout, dw);
    }
  }
}

}  // namespace

void conv_weight_gradient_for(Isa set, const ConvShape& shape, const void* input, const void* dout,
                              void* dweight) {
  run({gemm_kernels_for(set), conv_kernels_for(set), direct_kernels_for(set), direct_pair_kernels_for(set)},
      shape, input, dout, dweight);
}
void conv_weight_gradient(const ConvShape& shape, const void* input, const void* dout, void* dweight) {
  conv_weight_gradient_for(isa(), shape, input, dout, dweight);
}

}  // namespace mlx::core::cpu
