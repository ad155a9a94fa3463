// Sums for each channel of a sample, those of a group joined, then one factor and one summand for each
// channel. The variance of parts is put together as by T. Chan, G. Golub and R. LeVeque, "Updating Formulae
// and a Pairwise Algorithm for Computing Sample Variances" (1979).
#include "mlx/cpu/isa/group_norm.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kPiece = 1 << 17;   // bytes of a sample that are taken together
constexpr int64_t kSample = 1 << 19;  // up to which a sample stays in a core's cache, and is one item
constexpr int64_t kItem = 1 << 14;    // bytes of several small samples

// f(first) + f(first + step) + ..., four sums side by side.
template <class F>
double sum_over(int64_t first, int64_t step, int64_t size, F f) {
  double sums[4] = {};
  int64_t j = 0;
  for (; j + 4 <= size; j += 4)
    for (int64_t k = 0; k < 4; ++k) sums[k] += f(first + (j + k) * step);
  for (; j < size; ++j) sums[0] += f(first + j * step);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class C>
class GroupNorm {
 public:
  // g, of the shape of x, for the gradient.
  GroupNorm(const GroupNormCall& call, int64_t item_size, const void* g)
      : call_(call),
        kernel_(group_norm_kernels().at[call.dtype]),
        x_(static_cast<const char*>(call.x)),
        g_(static_cast<const char*>(g)),
        row_(call.channels * item_size),
        piece_(std::max<int64_t>(1, kPiece / row_)),
        pieces_((call.rows + piece_ - 1) / piece_),
        sums_((g ? kGroupNormSums : kSumG) * call.channels),
        factors_((g ? kGroupNormFactors : kFactorG) * call.channels) {}

  // `finish` makes a sample's factors of what join() says of its channels.
  template <class Finish>
  void run(void* to, Finish finish) {
    char* const out = static_cast<char*>(to);
    stream_ = is_streamed(call_.samples * call_.rows * row_) && row_ % 64 == 0 && out != x_ && out != g_ &&
              reinterpret_cast<uintptr_t>(out) % 64 == 0;
    const int64_t sample = call_.rows * row_;
    if (sample <= kSample && (call_.samples >= 4 || sample <= kItem)) {
      parallel_ranges(call_.samples, std::max<int64_t>(1, kItem / sample), [&](int64_t begin, int64_t end) {
        const Workspace memory(bytes(1));
        for (int64_t n = begin; n < end; ++n) {
          double* sums = memory.as<double>();
          C* factors = reinterpret_cast<C*>(sums + pieces_ * sums_);
          for (int64_t p = 0; p < pieces_; ++p) take(n, p, sums + p * sums_);
          finish(n, sums, factors);
          for (int64_t p = 0; p < pieces_; ++p) give(n, p, factors, out);
        }
      });
      return;
    }
    const Workspace memory(bytes(call_.samples));
    double* sums = memory.as<double>();
    C* factors = reinterpret_cast<C*>(sums + call_.samples * pieces_ * sums_);
    const int64_t items = call_.samples * pieces_;
    parallel_for(items, [&](int64_t i) { take(i / pieces_, i % pieces_, sums + i * sums_); }, Order::shares);
    for (int64_t n = 0; n < call_.samples; ++n) finish(n, sums + n * pieces_ * sums_, factors + n * factors_);
    parallel_for(
        items, [&](int64_t i) { give(i / pieces_, i % pieces_, factors + i / pieces_ * factors_, out); },
        Order::shares);
  }

  // The pieces' sums become, in the place of the first: kCentre the mean, kSumXX and kSumGX the sums of
  // squares and products around it.
  void join(double* sums) const {
    if (call_.rows == 1) return;  // they are that
    const int64_t n = call_.channels;
    const auto rows = [&](int64_t p) {
      return static_cast<double>(std::min(piece_, call_.rows - p * piece_));
    };
    const double all = 1 / static_cast<double>(call_.rows);
    double *xx = sums + kSumXX * n, *gx = sums + kSumGX * n, *g = sums + kSumG * n;
    const Workspace memory(n * static_cast<int64_t>(sizeof(double)));
    double* total = memory.as<double>();
    std::fill_n(total, n, 0.0);
    for (int64_t p = 0; p < pieces_; ++p) {
      const double* s = sums + p * sums_;
      for (int64_t c = 0; c < n; ++c) total[c] += rows(p) * s[kCentre * n + c] + s[kSumX * n + c];
    }
    for (int64_t c = 0; c < n; ++c) total[c] *= all;
    for (int64_t p = 0; p < pieces_; ++p) {
      const double* s = sums + p * sums_;
      for (int64_t c = 0; c < n; ++c) {
        const double off = s[kCentre * n + c] - total[c], old = p > 0 ? xx[c] : 0;
        xx[c] = old + s[kSumXX * n + c] + off * (2 * s[kSumX * n + c] + rows(p) * off);
      }
      if (!g_) continue;
      for (int64_t c = 0; c < n; ++c) {
        const double off = s[kCentre * n + c] - total[c], by = s[kSumG * n + c];
        gx[c] = (p > 0 ? gx[c] : 0) + s[kSumGX * n + c] + off * by;
        g[c] = (p > 0 ? g[c] : 0) + by;
      }
    }
    std::copy_n(total, n, sums + kCentre * n);
  }

  // f(first channel, step to the next one, how many) for each group.
  template <class F>
  void each_group(F f) const {
    const int64_t size = call_.channels / call_.groups;
    for (int64_t i = 0; i < call_.groups; ++i)
      call_.interleaved ? f(i, call_.groups, size) : f(i * size, int64_t{1}, size);
  }
  // Mean and 1 / sqrt(var + eps) of a group whose channels are joined.
  std::pair<double, double> moments(const double* sums, int64_t first, int64_t step, int64_t size) const {
    const double *mean_of = sums + kCentre * call_.channels, *xx = sums + kSumXX * call_.channels;
    const double rows = static_cast<double>(call_.rows), count = static_cast<double>(size);
    const double mean = sum_over(first, step, size, [&](int64_t c) { return mean_of[c]; }) / count;
    const double squares = sum_over(first, step, size, [&](int64_t c) {
      const double off = mean_of[c] - mean;
      return xx[c] + rows * off * off;
    });
    const double var = squares / (rows * count);
    return {mean, 1 / std::sqrt(std::max(var, 0.0) + call_.eps)};
  }
  double weight(int64_t c) const {
    return call_.w ? static_cast<double>(static_cast<const C*>(call_.w)[c]) : 1;
  }

 private:
  int64_t bytes(int64_t samples) const {
    return samples * (pieces_ * sums_ * static_cast<int64_t>(sizeof(double)) +
                      factors_ * static_cast<int64_t>(sizeof(C)));
  }
  int64_t rows_of(int64_t piece) const { return std::min(piece_, call_.rows - piece * piece_); }
  int64_t place(int64_t sample, int64_t piece) const { return (sample * call_.rows + piece * piece_) * row_; }
  void take(int64_t sample, int64_t piece, double* sums) const {
    const int64_t at = place(sample, piece);
    if (g_)
      kernel_.sums_with(x_ + at, g_ + at, rows_of(piece), call_.channels, sums);
    else
      kernel_.sums(x_ + at, rows_of(piece), call_.channels, sums);
  }
  void give(int64_t sample, int64_t piece, const C* factors, char* out) const {
    const int64_t at = place(sample, piece);
    if (g_)
      kernel_.apply_with(x_ + at, g_ + at, rows_of(piece), call_.channels, factors, stream_, out + at);
    else
      kernel_.apply(x_ + at, rows_of(piece), call_.channels, factors, stream_, out + at);
  }

  const GroupNormCall& call_;
  const GroupNormKernel& kernel_;
  const char *x_, *g_;
  const int64_t row_, piece_, pieces_;  // bytes of a row; rows of a piece; pieces of a sample
  bool stream_ = false;
  const int64_t sums_, factors_;  // numbers for a piece, for a sample
};

template <class C>
void forward(const GroupNormCall& call, int64_t item_size, const void* b, void* y) {
  GroupNorm<C> norm(call, item_size, nullptr);
  const int64_t n = call.channels;
  norm.run(y, [&](int64_t, double* sums, C* factors) {
    norm.join(sums);
    norm.each_group([&](int64_t first, int64_t step, int64_t size) {
      const auto [mean, scale] = norm.moments(sums, first, step, size);
      const C centre = static_cast<C>(mean);
      const double off = mean - static_cast<double>(centre);
      for (int64_t j = 0, c = first; j < size; ++j, c += step) {
        const double by = scale * norm.weight(c);
        factors[kFactorCentre * n + c] = centre;
        factors[kFactorX * n + c] = static_cast<C>(by);
        factors[kFactorRest * n + c] =
            static_cast<C>((b ? static_cast<double>(static_cast<const C*>(b)[c]) : 0) - off * by);
      }
    });
  });
}

template <class C>
void backward(const GroupNormCall& call, int64_t item_size, const void* g, void* dx, void* dw, void* db) {
  GroupNorm<C> norm(call, item_size, g);
  const int64_t n = call.channels;
  // By each sample, added up in their order.
  const Workspace parts(2 * call.samples * n * static_cast<int64_t>(sizeof(double)));
  double* const by_sample = parts.as<double>();
  norm.run(dx, [&](int64_t sample, double* sums, C* factors) {
    norm.join(sums);
    double *by_w = by_sample + 2 * sample * n, *by_b = by_w + n;
    const double *mean_of = sums + kCentre * n, *of_g = sums + kSumG * n, *of_gx = sums + kSumGX * n;
    norm.each_group([&](int64_t first, int64_t step, int64_t size) {
      const auto [mean, scale] = norm.moments(sums, first, step, size);
      for (int64_t j = 0, c = first; j < size; ++j, c += step) {
        by_b[c] = of_g[c];
        by_w[c] = (of_gx[c] + (mean_of[c] - mean) * of_g[c]) * scale;
      }
      const double sum_g = sum_over(first, step, size, [&](int64_t c) { return norm.weight(c) * by_b[c]; });
      const double sum_gx = sum_over(first, step, size, [&](int64_t c) { return norm.weight(c) * by_w[c]; });
      const double count = static_cast<double>(size) * static_cast<double>(call.rows);
      const C centre = static_cast<C>(mean);
      const double by_x = -scale * scale * sum_gx / count;
      const double rest = -scale * sum_g / count - by_x * (mean - static_cast<double>(centre));
      for (int64_t j = 0, c = first; j < size; ++j, c += step) {
        factors[kFactorCentre * n + c] = centre;
        factors[kFactorX * n + c] = static_cast<C>(by_x);
        factors[kFactorRest * n + c] = static_cast<C>(rest);
        factors[kFactorG * n + c] = static_cast<C>(scale * norm.weight(c));
      }
    });
  });
  for (int64_t c = 0; c < n; ++c) {
    double by_w = 0, by_b = 0;
    for (int64_t sample = 0; sample < call.samples; ++sample)
      by_w += by_sample[2 * sample * n + c], by_b += by_sample[(2 * sample + 1) * n + c];
    static_cast<C*>(dw)[c] = static_cast<C>(by_w);
    static_cast<C*>(db)[c] = static_cast<C>(by_b);
  }
}

bool empty(const GroupNormCall& call) { return call.samples * call.rows * call.channels == 0; }
bool is_double(const GroupNormCall& call) { return call.dtype == static_cast<int>(Dtype::Val::float64); }
int64_t item_size(const GroupNormCall& call) {
  return is_double(call) ? 8 : call.dtype == static_cast<int>(Dtype::Val::float32) ? 4 : 2;
}

}  // namespace

void group_norm(const GroupNormCall& call, const void* b, void* y) {
  if (empty(call)) return;
  is_double(call) ? forward<double>(call, item_size(call), b, y)
                  : forward<float>(call, item_size(call), b, y);
}
void group_norm_vjp(const GroupNormCall& call, const void* g, void* dx, void* dw, void* db) {
  if (empty(call)) {
    for (void* sum : {dw, db})
      std::fill_n(static_cast<char*>(sum), call.channels * (is_double(call) ? 8 : 4), 0);
    return;
  }
  is_double(call) ? backward<double>(call, item_size(call), g, dx, dw, db)
                  : backward<float>(call, item_size(call), g, dx, dw, db);
}

}  // namespace mlx::core::cpu
