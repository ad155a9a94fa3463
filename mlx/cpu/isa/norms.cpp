// Two passes over a row in cache give its statistics (see reduce_moments.cpp), a third the result.
#include "mlx/cpu/isa/norms.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T, bool kCentre>  // kCentre: layer norm, else RMS norm
struct Norm {
  using C = Compute<T>;
  using V = Vec<C>;
  static constexpr int kN = kLanes<C>;

  // (x - centre) * scale + shift is the normalised row. The centre is the rounded mean; shift holds the rest
  // of it.
  struct Affine {
    C centre, scale, shift;
    V operator()(V x) const {
      if constexpr (kCentre)
        return fma(x - splat<V>(centre), splat<V>(scale), splat<V>(shift));
      else
        return x * splat<V>(scale);
    }
  };
  static Affine statistics(const T* x, int64_t n, double eps) {
    const double count = static_cast<double>(n);
    if constexpr (kCentre) {
      const double mean = wide_sum(x, n) / count;
      const C centre = static_cast<C>(mean);
      const V c = splat<V>(centre);
      const double off = mean - static_cast<double>(centre);
      double var = wide_sum(x, n, [&](V v) { return (v - c) * (v - c); }) / count - off * off;
      if (var < 0) var = 0;
      const double scale = 1 / __builtin_sqrt(var + eps);
      return {centre, static_cast<C>(scale), static_cast<C>(-off * scale)};
    } else {
      const double square = wide_sum(x, n, [](V v) { return v * v; }) / count;
      return {C{0}, static_cast<C>(1 / __builtin_sqrt(square + eps)), C{0}};
    }
  }

  template <bool kPart, class U>
  static V at(const U* p, int64_t i, int64_t count) {
    if constexpr (kPart)
      return load_part(p + i, count, C{0});
    else
      return load(p + i);
  }
  // f(i, count, is_part) over a row, whole vectors first.
  template <class F>
  static void each(int64_t n, F f) {
    int64_t i = 0;
    for (; i + kN <= n; i += kN) f(i, int64_t{kN}, std::false_type{});
    if (i < n) f(i, n - i, std::true_type{});
  }
  template <bool kPart, class U>
  static void set(U* p, int64_t i, int64_t count, V v) {
    if constexpr (kPart)
      store_part(p + i, count, v);
    else
      store(p + i, v);
  }

  static void forward(const void* x_, const void* w_, const void* b_, double eps, int64_t rows, int64_t n,
                      void* y_) {
    const C* w = static_cast<const C*>(w_);
    const C* b = static_cast<const C*>(b_);
    for (int64_t r = 0; r < rows; ++r) {
      const T* x = static_cast<const T*>(x_) + r * n;
      T* y = static_cast<T*>(y_) + r * n;
      const Affine normal = statistics(x, n, eps);
      each(n, [&](int64_t i, int64_t count, auto part) {
        V v = normal(at<part>(x, i, count));
        if (w && b)
          v = fma(v, at<part>(w, i, count), at<part>(b, i, count));
        else if (w)
          v = v * at<part>(w, i, count);
        else if (b)
          v = v + at<part>(b, i, count);
        set<part>(y, i, count, v);
      });
    }
  }

  static void backward(const void* x_, const void* w_, const void* g_, double eps, int64_t rows, int64_t n,
                       void* dx_, void* dw_, void* db_) {
    const C* w = static_cast<const C*>(w_);
    C* dw = static_cast<C*>(dw_);
    C* db = static_cast<C*>(db_);
    if (dw) __builtin_memset(dw, 0, n * sizeof(C));
    if (db) __builtin_memset(db, 0, n * sizeof(C));
    for (int64_t r = 0; r < rows; ++r) {
      const T* x = static_cast<const T*>(x_) + r * n;
      const T* g = static_cast<const T*>(g_) + r * n;
      T* dx = static_cast<T*>(dx_) + r * n;
      const Affine normal = statistics(x, n, eps);
      V sum_g{}, sum_gx{};
      each(n, [&](int64_t i, int64_t count, auto part) {
        const V gi = at<part>(g, i, count);
        V xn = normal(at<part>(x, i, count));
        const V gw = w ? gi * at<part>(w, i, count) : gi;
        sum_g += gw;
        sum_gx = fma(gw, xn, sum_gx);
        if (dw) set<part>(dw, i, count, fma(gi, xn, at<part>(dw, i, count)));
        if (db) set<part>(db, i, count, at<part>(db, i, count) + gi);
      });
      const C mean_g =
          kCentre ? static_cast<C>(static_cast<double>(sum_across(sum_g)) / static_cast<double>(n)) : C{0};
      const C mean_gx = static_cast<C>(static_cast<double>(sum_across(sum_gx)) / static_cast<double>(n));
      each(n, [&](int64_t i, int64_t count, auto part) {
        const V gi = at<part>(g, i, count);
        const V xn = normal(at<part>(x, i, count));
        const V gw = w ? gi * at<part>(w, i, count) : gi;
        set<part>(dx, i, count, (gw - splat<V>(mean_g) - xn * splat<V>(mean_gx)) * splat<V>(normal.scale));
      });
    }
  }
};

}  // namespace

const NormTable& norm_kernels_table() {
  static const NormTable table = [] {
    NormTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>) {
        t.layer[v].forward = Norm<T, true>::forward, t.layer[v].backward = Norm<T, true>::backward;
        t.rms[v].forward = Norm<T, false>::forward, t.rms[v].backward = Norm<T, false>::backward;
      }
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
