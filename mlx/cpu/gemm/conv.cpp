// Convolution, forward. Ways, most special first: pointwise (a plain product), depthwise (a channel per
// group), groups of few channels, the direct kernels, and the nest over patches, once per group and phase.
#include "mlx/cpu/gemm/conv.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "mlx/cpu/gemm/conv_direct.h"
#include "mlx/cpu/gemm/conv_geometry.h"
#include "mlx/cpu/gemm/conv_kernels.h"
#include "mlx/cpu/gemm/conv_weights.h"
#include "mlx/cpu/gemm/gemm.h"
#include "mlx/cpu/gemm/nest.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int kMaxRows = 32;  // of a panel: at least every mr, and those of matrix tiles

// Rows of A: output positions of a phase; along k: (tap, channel). Taps that are neighbours along the last
// dimension are neighbours in memory; where no patch leaves the input (`inside`) they are packed together.
class PatchSource final : public PanelSource {
 public:
  PatchSource(const ConvShape& s, const Phase& phase, const Family& f, Elem e, const void* input,
              int64_t group, bool inside)
      : s_(s),
        p_(phase),
        f_(f),
        elem_size_(kElemSize[e]),
        rows_(f.rows_a[e]),
        channels_(s.in_channels / s.groups),
        joined_(inside && s.groups == 1),
        input_(static_cast<const char*>(input) + group * channels_ * elem_size_) {}

  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    // Where the patch of each row begins, as if all of it lay inside.
    Dims at[kMaxRows];
    int64_t image[kMaxRows];
    int64_t q = r0 % p_.size[2], rest = r0 / p_.size[2];
    int64_t y = rest % p_.size[1];
    rest /= p_.size[1];
    int64_t z = rest % p_.size[0], n = rest / p_.size[0];
    for (int r = 0; r < rows; ++r) {
      at[r] = {z * p_.step[0], y * p_.step[1], q * p_.step[2]};
      image[r] = n * product(s_.in);
      if (++q < p_.size[2]) continue;
      q = 0;
      if (++y < p_.size[1]) continue;
      y = 0;
      if (++z < p_.size[0]) continue;
      z = 0;
      ++n;
    }
    const void* from[kMaxRows] = {};
    char* to = static_cast<char*>(panel);
    while (kn > 0) {
      size_t tap = static_cast<size_t>(k0 / channels_);
      const int64_t c = k0 % channels_;
      const Dims& o = p_.taps[tap].offset;
      int64_t len = std::min(kn, channels_ - c);
      for (; joined_ && len < kn && neighbours(p_.taps[tap].offset, p_.taps[tap + 1].offset); ++tap)
        len = std::min(kn, len + channels_);
      for (int r = 0; r < rows; ++r) {
        const int64_t iz = at[r][0] + o[0], iy = at[r][1] + o[1], ix = at[r][2] + o[2];
        const bool inside = static_cast<uint64_t>(iz) < static_cast<uint64_t>(s_.in[0]) &&
                            static_cast<uint64_t>(iy) < static_cast<uint64_t>(s_.in[1]) &&
                            static_cast<uint64_t>(ix) < static_cast<uint64_t>(s_.in[2]);
        const int64_t pixel = image[r] + (iz * s_.in[1] + iy) * s_.in[2] + ix;
        from[r] = inside ? input_ + (pixel * s_.in_channels + c) * elem_size_ : nullptr;
      }
      rows_(from, len, to);
      to += len / f_.k_unit * f_.mr * f_.packed_size;
      k0 += len;
      kn -= len;
    }
  }

 private:
  static bool neighbours(const Dims& a, const Dims& b) {
    return a[0] == b[0] && a[1] == b[1] && a[2] + 1 == b[2];
  }
  const ConvShape& s_;
  const Phase& p_;
  const Family& f_;
  const int64_t elem_size_;
  const PackRowsFn rows_;
  const int64_t channels_;
  const bool joined_;
  const char* input_;
};

// Rows of sums to the output positions of a phase, converted.
class PositionSink final : public TileSink {
 public:
  PositionSink(const ConvShape& s, const Phase& phase, Elem e, FinishFn finish, void* output, int64_t group)
      : s_(s),
        p_(phase),
        elem_size_(kElemSize[e]),
        acc_size_(e == kF64 ? 8 : 4),
        finish_(finish),
        output_(static_cast<char*>(output) + group * (s.out_channels / s.groups) * elem_size_) {}

  void take(int64_t i0, int64_t rows, int64_t j0, int64_t cols, const void* acc, int64_t ld) const override {
    const int64_t width = p_.size[2];
    for (int64_t i = 0; i < rows;) {  // runs of positions along the last dimension are evenly spaced
      const int64_t q = (i0 + i) % width, rest = (i0 + i) / width, run = std::min(rows - i, width - q);
      const int64_t y = p_.first[1] + rest % p_.size[1] * p_.stride[1];
      const int64_t z = p_.first[0] + rest / p_.size[1] % p_.size[0] * p_.stride[0];
      const int64_t n = rest / (p_.size[1] * p_.size[0]);
      const int64_t x = p_.first[2] + q * p_.stride[2];
      const int64_t position = ((n * s_.out[0] + z) * s_.out[1] + y) * s_.out[2] + x;
      finish_(run, cols, static_cast<const char*>(acc) + i * ld * acc_size_, ld,
              output_ + (position * s_.out_channels + j0) * elem_size_, p_.stride[2] * s_.out_channels, 1, 0,
              nullptr, 0, 0);
      i += run;
    }
  }

 private:
  const ConvShape& s_;
  const Phase& p_;
  const int64_t elem_size_, acc_size_;
  const FinishFn finish_;
  char* output_;
};

bool all_ones(const Dims& d) { return d[0] == 1 && d[1] == 1 && d[2] == 1; }
bool all_zeros(const Dims& d) { return d[0] == 0 && d[1] == 0 && d[2] == 0; }

// One multiplication per input element: C is the product of pixels and channels.
bool pointwise(const ConvShape& s) {
  return all_ones(s.kernel) && all_ones(s.stride) && all_ones(s.input_dilation) && all_zeros(s.pad) &&
         s.in == s.out;
}

void patches(const ConvTables& t, const ConvShape& s, const Phase& phase, Elem e, const void* input,
             const void* weight, void* output, bool inside) {
  const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  // Pairs along k must not straddle taps.
  const bool pairs = e == kBf16 && t.gemm.bf16.tile && channels % 2 == 0;
  const Family& f = e == kF64 ? t.gemm.f64 : pairs ? t.gemm.bf16 : t.gemm.f32;
  const bool plain = all_ones(phase.stride) && (e == kF32 || e == kF64);
  const auto group = [&](int64_t g) {
    const PatchSource a(s, phase, f, e, input, g, inside);
    const WeightSource b(s, phase, f, e, weight, g);
    const PositionSink sink(s, phase, e, t.gemm.finish[e], output, g);
    Nest nest;
    nest.family = &f;
    nest.m = s.batch * product(phase.size), nest.n = outputs;
    nest.k = static_cast<int64_t>(phase.taps.size()) * channels;
    nest.a = &a, nest.b = &b;
    if (plain) {
      nest.direct = static_cast<char*>(output) + g * outputs * kElemSize[e];
      nest.ld = s.out_channels;
    } else {
      nest.sink = &sink;
    }
    run_nest(nest);
  };
  // Many small groups share the threads; few large ones use all of them each.
  if (s.groups > 4) {
    parallel_for(s.groups, group);
  } else {
    for (int64_t g = 0; g < s.groups; ++g) group(g);
  }
}

// A tap of an image with few channels is a short run; a row of taps is a longer one, if it need not ask for
// the border. A copy with a border of zeros is small beside the work.
constexpr int64_t kFewChannels = 16;

bool few_channels(const ConvShape& s) {
  return s.groups == 1 && s.in_channels < kFewChannels && s.kernel[2] > 1 && s.dilation[2] == 1 &&
         all_ones(s.input_dilation);
}

struct Padded {
  Padded(const ConvShape& s, const void* input, int64_t size)
      : shape(inside(s)), space(s.batch * product(shape.in) * s.in_channels * size) {
    const int64_t pixel = s.in_channels * size, lines = shape.in[0] * shape.in[1];
    parallel_ranges(s.batch * lines, 64, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        const int64_t z = line % lines / shape.in[1] - s.pad[0], y = line % shape.in[1] - s.pad[1];
        char* to = space.as<char>() + line * shape.in[2] * pixel;
        std::memset(to, 0, static_cast<size_t>(shape.in[2] * pixel));
        if (z < 0 || z >= s.in[0] || y < 0 || y >= s.in[1]) continue;
        const int64_t first = std::max<int64_t>(0, -s.pad[2]);  // of the input's line
        const int64_t last = std::min(s.in[2], shape.in[2] - s.pad[2]);
        if (first >= last) continue;
        const char* from =
            static_cast<const char*>(input) + ((line / lines * s.in[0] + z) * s.in[1] + y) * s.in[2] * pixel;
        std::memcpy(to + (first + s.pad[2]) * pixel, from + first * pixel,
                    static_cast<size_t>((last - first) * pixel));
      }
    });
  }
  // The same convolution of an input just large enough for every patch.
  static ConvShape inside(ConvShape s) {
    for (size_t i = 0; i < 3; ++i)
      s.in[i] = (s.out[i] - 1) * s.stride[i] + (s.kernel[i] - 1) * s.dilation[i] + 1;
    s.pad = {0, 0, 0};
    return s;
  }
  ConvShape shape;
  Workspace space;
};

void run(const ConvTables& t, Isa set, const ConvShape& s, const void* input, const void* weight,
         void* output) {
  const Elem e = conv_elem(s.dtype);
  if (s.batch <= 0 || product(s.out) <= 0 || s.out_channels <= 0) return;
  if (s.in_channels <= 0 || product(s.kernel) <= 0) {
    std::memset(output, 0, static_cast<size_t>(s.batch * product(s.out) * s.out_channels * kElemSize[e]));
    return;
  }
  if (pointwise(s) && s.groups == 1) {
    GemmCall g;
    g.dtype = s.dtype;
    g.m = s.batch * product(s.out), g.n = s.out_channels, g.k = s.in_channels;
    g.a = input, g.a_row = g.k, g.a_col = 1;
    g.b = weight, g.b_row = 1, g.b_col = g.k;
    g.c = output, g.ldc = g.n;
    return gemm_for(set, g);
  }
  if (s.groups == s.in_channels && s.out_channels == s.in_channels && s.groups > 1) {
    for (const Phase& phase : phases(s)) conv_channelwise(set, s, phase, input, weight, output);
  } else if (grouped_fits(set, s)) {
    for (const Phase& phase : phases(s)) conv_grouped(set, s, phase, input, weight, output);
  } else if (few_channels(s) && e == kF64) {
    const Padded padded(s, input, kElemSize[e]);
    for (const Phase& phase : phases(padded.shape))
      patches(t, padded.shape, phase, e, padded.space.data(), weight, output, true);
  } else {
    for (const Phase& phase : phases(s))
      if (direct_fits(s, phase))
        conv_direct(t, s, phase, input, weight, output);
      else
        patches(t, s, phase, e, input, weight, output, false);
  }
}

}  // namespace

void conv_for(Isa set, const ConvShape& shape, const void* input, const void* weight, void* output) {
  run({gemm_kernels_for(set), conv_kernels_for(set), direct_kernels_for(set), direct_pair_kernels_for(set)},
      set, shape, input, weight, output);
}
void conv(const ConvShape& shape, const void* input, const void* weight, void* output) {
  conv_for(isa(), shape, input, weight, output);
}

}  // namespace mlx::core::cpu
