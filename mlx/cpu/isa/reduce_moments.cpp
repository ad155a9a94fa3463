// Count, mean and sum of squared deviations in one pass over memory. Blocks small enough for the first-level
// cache are passed over twice (mean, then deviations from it); blocks are joined with the update of Chan,
// Golub and LeVeque (Updating formulae and a pairwise algorithm for computing sample variances, 1979).
#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA::rows {
namespace {

void join(Moments& a, Moments b) {
  if (b.n == 0) return;
  if (a.n == 0) {
    a = b;
    return;
  }
  const double n = a.n + b.n, delta = b.mean - a.mean;
  const double share = a.n == b.n ? 0.5 : b.n / n;  // parts are often of one size, and divisions slow
  a.mean += delta * share;
  a.m2 += b.m2 + delta * delta * (a.n * share);
  a.n = n;
}

template <class T>
struct MomentsFold {
  using In = T;
  using C = Compute<T>;
  using V = Vec<C>;
  using Acc = Moments;
  using Out = T;
  static Moments identity() { return {0, 0, 0}; }
  static void merge(Moments& a, Moments b) { join(a, b); }
  static Moments row(const T* p, int64_t n) {
    constexpr int64_t block = 4096;
    Moments all{0, 0, 0};
    for (int64_t i = 0; i < n; i += block) {
      const int64_t count = n - i < block ? n - i : block;
      const double mean = wide_sum(p + i, count) / static_cast<double>(count);
      const C centre = static_cast<C>(mean);  // rounded; the correction below takes the difference out again
      const V c = splat<V>(centre);
      const double m2 = wide_sum(p + i, count, [&](V x) { return (x - c) * (x - c); });
      const double off = mean - static_cast<double>(centre);
      join(all, {static_cast<double>(count), mean, m2 - static_cast<double>(count) * off * off});
    }
    if (all.m2 < 0) all.m2 = 0;
    return all;
  }
  // Eight rows at a time, held in registers for both passes; means and squares of a tile of columns in cache.
  static void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, Moments* acc) {
    constexpr int64_t tile = 512;
    for (int64_t c = 0; c < cols; c += tile)
      tile_cols(in + c, rows, stride, cols - c < tile ? cols - c : tile, acc + c);
  }
  static void tile_cols(const T* in, int64_t rows, int64_t stride, int64_t cols, Moments* acc) {
    constexpr int kN = kLanes<C>;
    alignas(64) double mean[512 + kN]{}, m2[512 + kN]{};
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
      int64_t c = 0;
      for (; c + kN <= cols; c += kN) {
        const T* p = in + r * stride + c;
        const auto at = [&](int k) { return load(p + k * stride); };
        group<8>(at, r, mean + c, m2 + c);
      }
      if (c < cols) {
        const T* p = in + r * stride + c;
        const auto at = [&](int k) { return load_part(p + k * stride, cols - c, C{0}); };
        group<8>(at, r, mean + c, m2 + c);
      }
    }
    for (; r < rows; ++r)
      for (int64_t c = 0; c < cols; c += kN) {
        const T* p = in + r * stride + c;
        const auto at = [&](int) { return cols - c < kN ? load_part(p, cols - c, C{0}) : load(p); };
        group<1>(at, r, mean + c, m2 + c);
      }
    for (int64_t c = 0; c < cols; ++c)
      join(acc[c], {static_cast<double>(rows), mean[c], m2[c] < 0 ? 0 : m2[c]});
  }
  template <int h, class At>
  static void group(At at, int64_t n, double* mean, double* m2) {
    V x[h];
    for (int k = 0; k < h; ++k) x[k] = at(k);
    V centre = x[0];
    if constexpr (h == 8)
      centre = (((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]))) * static_cast<C>(0.125);
    V even{}, odd{}, off{};
    for (int k = 0; k < h; ++k) {
      const V d = x[k] - centre;
      off += d;  // the centre is rounded: h * (mean - centre)
      if (k & 1)
        odd += d * d;
      else
        even += d * d;
    }
    const V squares = even + odd;
    const double inv = 1.0 / h, joined = h / static_cast<double>(n + h),
                 cross = static_cast<double>(n) * joined;
    const auto update = [&](D centre_d, D off_d, D squares_d, double* m, double* s) {
      const D old = loadu<D>(m), delta = centre_d + off_d * inv - old;
      storeu(m, old + delta * joined);
      storeu(s, loadu<D>(s) + (squares_d - off_d * off_d * inv) + delta * delta * cross);
    };
    if constexpr (std::is_same_v<T, double>) {
      update(centre, off, squares, mean, m2);
    } else {
      update(low_half(centre), low_half(off), low_half(squares), mean, m2);
      update(high_half(centre), high_half(off), high_half(squares), mean + kD, m2 + kD);
    }
  }
  static T out(Moments m, double divisor) {  // the variance, for divisor = n - ddof
    if constexpr (is_half<T>)
      return from_float<T>(static_cast<float>(m.m2 / divisor));
    else
      return static_cast<T>(m.m2 / divisor);
  }
};

}  // namespace

void add_moments(ReduceTable& table) {
  for_elements([&](auto v) {
    using T = Element<v>;
    if constexpr (is_real<T>)
      table.at[static_cast<int>(ReduceOp::moments)][v] = make_reduce<MomentsFold<T>>();
  });
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
