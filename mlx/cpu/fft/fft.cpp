// Discrete Fourier transforms along one axis. Long lines that are contiguous are transformed one by one,
// others side by side, so that the vectors run across them; either way they are first split into real and
// imaginary parts. 2 h reals are transformed as h complex numbers.
#include <algorithm>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/fft/plan.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/fft.h"

namespace mlx::core::cpu {
namespace {

using fft::Kind;

// Where complex numbers are in memory: (row j, line) has its real part `start of line` + j * row floats from
// the beginning, its imaginary part `imag` further; 0: it has none.
struct Layout {
  int64_t row, imag, line;  // line: between neighbours
};

// Short pieces of rows that lie far apart, which no prefetcher foresees: asked for while others are moved.
constexpr int64_t kRowsAhead = 8;
template <int kWrite>
void fetch(const float* p, int64_t floats) {
  for (int64_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i, kWrite);
}

class Transform {
 public:
  Transform(const fft::FFT& p, const Shape& in, const Shape& out) : kind_(p.kind), scale_(float(p.scale)) {
    in_rows_ = in[p.axis];
    out_rows_ = out[p.axis];
    for (size_t i = p.axis + 1; i < in.size(); ++i) inner_ *= in[i];
    for (int i = 0; i < p.axis; ++i) lines_ *= in[i];
    lines_ *= inner_;
    packed_ = kind_ != Kind::complex_to_complex && p.n % 2 == 0;
    inverse_ = p.inverse;
    n_ = packed_ ? p.n / 2 : p.n;
    plan_ = FftPlan::get(n_);
    const Layout complex{2 * inner_, 1, 2}, pairs{2 * inner_, inner_, 1}, reals{inner_, 0, 1};
    from_ = kind_ != Kind::real_to_half ? complex : packed_ ? pairs : reals;
    to_ = kind_ != Kind::half_to_real ? complex : packed_ ? pairs : reals;
  }

  void run(const float* in, float* out) const {
    const int64_t rows = plan_->rows();
    if (inner_ == 1 && n_ > kFftSmall) {
      const int64_t grain = std::max<int64_t>(1, 4096 / rows);
      return parallel_ranges(lines_, grain, [&](int64_t begin, int64_t end) {
        const Buffers buffers(rows);
        for (int64_t i = begin; i < end; ++i) lines(buffers, in, out, i, 1, 1);
      });
    }
    // As many as the second cache has room for; whole vectors.
    int64_t width = std::clamp<int64_t>(16384 / rows, kFftWide, 128) / kFftWide * kFftWide;
    const bool within = inner_ >= kFftWide;  // blocks do not go from one group of neighbours to the next
    const int64_t span = within ? inner_ : lines_, blocks = (span + width - 1) / width;
    width = (((span + blocks - 1) / blocks) + kFftWide - 1) / kFftWide * kFftWide;
    const int64_t groups = lines_ / span, items = groups * blocks;
    parallel_ranges(items, std::max<int64_t>(1, 8192 / (rows * width)), [&](int64_t begin, int64_t end) {
      const Buffers buffers(rows * width);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % blocks * width;
        if (first < span)
          lines(buffers, in, out, i / blocks * span + first, std::min(width, span - first), width);
      }
    });
  }

 private:
  struct Buffers {
    // The four parts begin at different places of the cache's sets.
    explicit Buffers(int64_t floats) : part(floats / 16 * 16 + 16 + 80), memory(4 * part * sizeof(float)) {}
    SplitComplex first() const { return {memory.as<float>(), memory.as<float>() + part}; }
    SplitComplex second() const { return {memory.as<float>() + 2 * part, memory.as<float>() + 3 * part}; }
    int64_t part;
    Workspace memory;
  };

  int64_t start(int64_t line, int64_t rows, const Layout& l) const {
    const int64_t step = l.line == 2 ? 2 : 1;
    return (line / inner_ * rows * inner_ + line % inner_) * step;
  }

  // Lines first ... first + count - 1, in columns of `width`.
  void lines(const Buffers& buffers, const float* in, float* out, int64_t first, int64_t count,
             int64_t width) const {
    const FftTable& kernels = fft_kernels();
    const float *wr = plan_->half_turns_re(), *wi = plan_->half_turns_im();
    SplitComplex x = buffers.first(), other = buffers.second();
    const bool half_in = kind_ == Kind::half_to_real;
    load(in, first, count, width, half_in ? in_rows_ : n_, x, other.re);
    if (half_in && packed_) {
      kernels.tangle(x.re, x.im, wr, wi, n_, width, other.re, other.im);
      std::swap(x, other);
    } else if (half_in) {
      for (int64_t c = 0; c < width; ++c) x.im[c] = 0;
      for (int64_t j = in_rows_; j < n_; ++j)
        for (int64_t c = 0; c < width; ++c) {
          x.re[j * width + c] = x.re[(n_ - j) * width + c];
          x.im[j * width + c] = -x.im[(n_ - j) * width + c];
        }
    }
    SplitComplex y = inverse_ ? plan_->forward(x.swapped(), other.swapped(), width).swapped()
                              : plan_->forward(x, other, width);
    if (kind_ == Kind::real_to_half && packed_) {
      const SplitComplex z = y.re == x.re ? other : x;
      kernels.untangle(y.re, y.im, wr, wi, n_, width, z.re, z.im);
      y = z;
    }
    const SplitComplex a = buffers.first(), b = buffers.second();
    const bool in_first = y.re == a.re || y.re == a.im;
    store(out, first, count, width, kind_ == Kind::real_to_half ? out_rows_ : n_, y, in_first ? b.re : a.re);
  }

  // Are elements of lines next to each other, and their neighbours' a multiple of them away? Then squares of
  // them are turned. 8 bytes: pairs.
  static bool turns(const Layout& l, int64_t inner, const float* p, int64_t step) {
    if (inner != 1) return false;
    if (!l.imag) return true;
    return l.row == 2 && step % 2 == 0 && reinterpret_cast<uintptr_t>(p) % 8 == 0;
  }

  // `space`: two parts of the buffers that nobody uses.
  void load(const float* in, int64_t first, int64_t count, int64_t width, int64_t rows, SplitComplex x,
            float* space) const {
    const Layout& l = from_;
    const float* p = in + start(first, in_rows_, l);
    if (width == 1) {
      if (l.imag == 1) return fft_kernels().split(p, rows, x.re, x.im);
      std::copy(p, p + rows, x.re);
      return std::fill(x.im, x.im + rows, 0.0f);
    }
    if (inner_ >= kFftWide) {
      for (int64_t j = 0; j < rows; ++j, p += l.row) {
        if (j + kRowsAhead < rows) fetch<0>(p + kRowsAhead * l.row, count * l.line);
        float *re = x.re + j * width, *im = x.im + j * width;
        if (l.line == 2) {
          fft_kernels().split(p, count, re, im);
        } else {
          std::copy(p, p + count, re);
          if (l.imag) std::copy(p + l.imag, p + l.imag + count, im);
        }
        if (!l.imag) std::fill(im, im + count, 0.0f);
        std::fill(re + count, re + width, 0.0f);
        std::fill(im + count, im + width, 0.0f);
      }
      return;
    }
    const int64_t step = start(1, in_rows_, l);
    if (turns(l, inner_, p, step)) {
      float* turned = l.imag ? space : x.re;
      copy_kernels().transpose[l.imag ? 3 : 2](p, l.imag ? step / 2 : step, turned, width, rows, count,
                                               false);
      for (int64_t j = 0; j < rows; ++j) {
        float *re = x.re + j * width, *im = x.im + j * width;
        if (l.imag) fft_kernels().split(turned + 2 * j * width, count, re, im);
        std::fill(re + count, re + width, 0.0f);
        std::fill(im + (l.imag ? count : 0), im + width, 0.0f);
      }
      return;
    }
    for (int64_t c = 0; c < width; ++c) {
      p = in + start(first + std::min(c, count - 1), in_rows_, l);
      for (int64_t j = 0; j < rows; ++j) {
        x.re[j * width + c] = p[j * l.row];
        x.im[j * width + c] = l.imag ? p[j * l.row + l.imag] : 0.0f;
      }
    }
  }

  void store(float* out, int64_t first, int64_t count, int64_t width, int64_t rows, SplitComplex x,
             float* space) const {
    const Layout& l = to_;
    rows = std::min(rows, l.imag ? rows : out_rows_);
    float* p = out + start(first, out_rows_, l);
    if (width == 1) {
      if (l.imag == 1) return fft_kernels().join(x.re, x.im, rows, scale_, p);
      for (int64_t j = 0; j < rows; ++j) p[j] = x.re[j] * scale_;
      return;
    }
    if (inner_ >= kFftWide) {
      for (int64_t j = 0; j < rows; ++j, p += l.row) {
        if (j + kRowsAhead < rows) fetch<1>(p + kRowsAhead * l.row, count * l.line);
        const float *re = x.re + j * width, *im = x.im + j * width;
        if (l.line == 2) {
          fft_kernels().join(re, im, count, scale_, p);
          continue;
        }
        for (int64_t c = 0; c < count; ++c) p[c] = re[c] * scale_;
        if (l.imag)
          for (int64_t c = 0; c < count; ++c) p[l.imag + c] = im[c] * scale_;
      }
      return;
    }
    const int64_t step = start(1, out_rows_, l);
    if (turns(l, inner_, p, step)) {
      for (int64_t j = 0; j < rows; ++j) {
        const float *re = x.re + j * width, *im = x.im + j * width;
        if (l.imag) {
          fft_kernels().join(re, im, count, scale_, space + 2 * j * width);
        } else {
          for (int64_t c = 0; c < count; ++c) space[j * width + c] = re[c] * scale_;
        }
      }
      copy_kernels().transpose[l.imag ? 3 : 2](space, width, p, l.imag ? step / 2 : step, count, rows, false);
      return;
    }
    for (int64_t c = 0; c < count; ++c) {
      p = out + start(first + c, out_rows_, l);
      for (int64_t j = 0; j < rows; ++j) {
        p[j * l.row] = x.re[j * width + c] * scale_;
        if (l.imag) p[j * l.row + l.imag] = x.im[j * width + c] * scale_;
      }
    }
  }

  Kind kind_;
  float scale_;
  bool packed_ = false, inverse_ = false;
  int64_t n_ = 1, in_rows_ = 1, out_rows_ = 1, inner_ = 1, lines_ = 1;
  Layout from_{}, to_{};
  std::shared_ptr<const FftPlan> plan_;
};

void run_fft(const fft::FFT& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array in = row_contiguous(inputs[0]);
  Transform(p, in.shape(), out.shape())
      .run(static_cast<const float*>(in.data<void>()), static_cast<float*>(out.data<void>()));
}

const bool registered = kernels(Device::cpu).add<fft::FFT>(run_fft);

}  // namespace
}  // namespace mlx::core::cpu
