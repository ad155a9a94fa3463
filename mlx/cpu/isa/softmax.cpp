// Rows that fit the second-level cache: maximum, exponentials and their sum, scaling (memory is read once and
// written once). Longer rows keep a running maximum and sum block by block (Online normalizer calculation for
// softmax, arXiv:1805.02867) and take the exponentials again when writing: two reads and one write.
#include "mlx/cpu/isa/softmax.h"

#include "mlx/cpu/isa/reduce_impl.h"
#include "mlx/cpu/isa/reduce_math.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Softmax {
  using C = Compute<T>;
  using V = Vec<C>;
  static constexpr int kN = kLanes<C>;
  static constexpr int64_t kBlock = 4096;  // the part of a long row that is looked at twice while in cache
  static constexpr int64_t kWhole = 64 * 1024;

  static C infinity() { return __builtin_inff(); }

  // A nan is ignored here and comes back through its exponential.
  static C maximum(const T* p, int64_t n) {
    V a = splat<V>(-infinity()), b = a, c = a, d = a;
    const auto larger = [](V m, V x) { return x > m ? x : m; };
    int64_t i = 0;
    for (; i + 4 * kN <= n; i += 4 * kN) {
      a = larger(a, load(p + i)), b = larger(b, load(p + i + kN));
      c = larger(c, load(p + i + 2 * kN)), d = larger(d, load(p + i + 3 * kN));
    }
    for (; i + kN <= n; i += kN) a = larger(a, load(p + i));
    if (i < n) b = larger(b, load_part(p + i, n - i, -infinity()));
    return across<C>(larger(larger(a, b), larger(c, d)), [](auto x, auto y) { return y > x ? y : x; });
  }
  // exp(x - m) as the compute type into `out` (where not null); the sum. m is finite, or the row is a special
  // case whose result is nan or -inf whatever is summed here.
  template <bool kStore>
  static double exponentials(const T* p, int64_t n, C m, C* out) {
    const V shift = splat<V>(m);
    V a{}, b{}, c{}, d{};
    double total = 0;
    int64_t i = 0;
    while (i + 4 * kN <= n) {
      // Runs of at most 64 additions per lane, then double.
      const int64_t end = n - i < 256 * kN ? n : i + 256 * kN;
      for (; i + 4 * kN <= end; i += 4 * kN) {
        const V x = vexp(load(p + i) - shift), y = vexp(load(p + i + kN) - shift);
        const V z = vexp(load(p + i + 2 * kN) - shift), w = vexp(load(p + i + 3 * kN) - shift);
        if constexpr (kStore) {
          storeu(out + i, x), storeu(out + i + kN, y), storeu(out + i + 2 * kN, z),
              storeu(out + i + 3 * kN, w);
        }
        a += x, b += y, c += z, d += w;
      }
      total += sum_across((a + b) + (c + d));
      a = b = c = d = V{};
    }
    for (; i < n; i += kN) {
      const int64_t count = n - i < kN ? n - i : kN;
      const V x = vexp((count < kN ? load_part(p + i, count, -infinity()) : load(p + i)) - shift);
      if constexpr (kStore) {
        if (count < kN)
          store_part(out + i, count, x);
        else
          storeu(out + i, x);
      }
      a += x;
    }
    return total + sum_across(a);
  }
  // Rows of one vector stay in registers. exp of the lanes behind the row is 0.
  struct Short {
    V shifted_exp;
    C max;
    double sum;
  };
  static Short short_row(const T* p, int64_t n, bool finite_shift) {
    const V x = n < kN ? load_part(p, n, -infinity()) : load(p);
    const auto larger = [](auto a, auto b) { return b > a ? b : a; };
    const V known = x == x ? x : splat<V>(-infinity());
    const C m = across<C>(known, larger);
    const V e = vexp(x - splat<V>(finite_shift && m == -infinity() ? C{0} : m));
    return {e, m, static_cast<double>(sum_across(e))};
  }
  static SoftmaxPart part_of(const T* p, int64_t n) {
    if (n <= kN && n > 0) {
      const Short row = short_row(p, n, true);
      if (row.max != infinity()) return {static_cast<double>(row.max), row.sum};
    }
    SoftmaxPart all{-__builtin_inf(), 0};
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t count = n - i < kBlock ? n - i : kBlock;
      const C m = maximum(p + i, count);
      // With m = -inf every difference would be nan: such a block adds nothing, unless it holds a nan. With m
      // = inf the sum is infinite, or nan.
      const C shift = m == -infinity() ? C{0} : m;
      SoftmaxPart block{static_cast<double>(m), 0};
      if (m == infinity())
        block.sum = wide_sum(p + i, count, [](V x) { return x != x ? x : V{}; }) + __builtin_inf();
      else
        block.sum = exponentials<false>(p + i, count, shift, nullptr);
      join(&all, &block);
    }
    return all;
  }
  static void part(const void* in, int64_t n, SoftmaxPart* part) {
    *part = part_of(static_cast<const T*>(in), n);
  }
  static void join(SoftmaxPart* a, const SoftmaxPart* b) {
    const double m = b->max > a->max ? b->max : a->max;
    const auto weighted = [m](const SoftmaxPart& p) {
      return p.max == m || p.sum == 0 ? p.sum : p.sum * __builtin_exp(p.max - m);
    };
    *a = {m, weighted(*a) + weighted(*b)};
  }
  static void apply(const void* in, int64_t n, const SoftmaxPart* whole, void* out) {
    const T* p = static_cast<const T*>(in);
    T* o = static_cast<T*>(out);
    // All -inf: exp(-inf - -inf) is nan, as it should be; with an inf in the row everything is nan.
    const double inverse = whole->max == __builtin_inf() ? __builtin_nan("") : 1 / whole->sum;
    const V m = splat<V>(static_cast<C>(whole->max)), scale = splat<V>(static_cast<C>(inverse));
    int64_t i = 0;
    for (; i + kN <= n; i += kN) store(o + i, vexp(load(p + i) - m) * scale);
    if (i < n) store_part(o + i, n - i, vexp(load_part(p + i, n - i, C{0}) - m) * scale);
  }

  static void row(const T* p, int64_t n, T* out) {
    if (n <= kN) {
      const Short row = short_row(p, n, false);
      const V y = row.shifted_exp * splat<V>(static_cast<C>(1 / row.sum));
      return n < kN ? store_part(out, n, y) : store(out, y);
    }
    constexpr int64_t kBuffer = 8192;
    if (n > (std::is_same_v<T, C> ? kWhole : kBuffer)) {
      const SoftmaxPart whole = part_of(p, n);
      apply(p, n, &whole, out);
      return;
    }
    const C m = maximum(p, n);
    if constexpr (std::is_same_v<T, C>) {
      const double sum = exponentials<true>(p, n, m, out);
      scale_row(out, n, static_cast<C>(1 / sum), out);
    } else {
      alignas(64) C buffer[kBuffer];
      const double sum = exponentials<true>(p, n, m, buffer);
      scale_row(buffer, n, static_cast<C>(1 / sum), out);
    }
  }
  static void scale_row(const C* p, int64_t n, C scale, T* out) {
    const V s = splat<V>(scale);
    int64_t i = 0;
    for (; i + kN <= n; i += kN) store(out + i, loadu<V>(p + i) * s);
    if (i < n) store_part(out + i, n - i, load_part(p + i, n - i, C{0}) * s);
  }

  static void softmax(const void* in, int64_t rows, int64_t n, void* out) {
    for (int64_t r = 0; r < rows; ++r)
      row(static_cast<const T*>(in) + r * n, n, static_cast<T*>(out) + r * n);
  }
  static void softmax_vjp(const void* y_, const void* g_, int64_t rows, int64_t n, void* dx_) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* y = static_cast<const T*>(y_) + r * n;
      const T* g = static_cast<const T*>(g_) + r * n;
      T* dx = static_cast<T*>(dx_) + r * n;
      if (n <= kN) {
        const V own = n < kN ? load_part(y, n, C{0}) : load(y), by = n < kN ? load_part(g, n, C{0}) : load(g);
        const V v = own * (by - splat<V>(static_cast<C>(sum_across(own * by))));
        n < kN ? store_part(dx, n, v) : store(dx, v);
        continue;
      }
      V a{}, b{};
      int64_t i = 0;
      for (; i + 2 * kN <= n; i += 2 * kN) {
        a = fma(load(y + i), load(g + i), a);
        b = fma(load(y + i + kN), load(g + i + kN), b);
      }
      for (; i < n; i += kN) {
        const int64_t rest = n - i;
        if (rest >= kN)
          a = fma(load(y + i), load(g + i), a);
        else
          a = fma(load_part(y + i, rest, C{0}), load_part(g + i, rest, C{0}), a);
      }
      const double dot = sum_across(a + b);
      const C d = static_cast<C>(dot);
      for (i = 0; i + kN <= n; i += kN) store(dx + i, load(y + i) * (load(g + i) - d));
      if (i < n)
        store_part(dx + i, n - i, load_part(y + i, n - i, C{0}) * (load_part(g + i, n - i, C{0}) - d));
    }
  }
  static void log(const SoftmaxPart* whole, void* out) {
    put(static_cast<T*>(out), static_cast<C>(whole->max + __builtin_log(whole->sum)));
  }
  static void logsumexp(const void* in, int64_t rows, int64_t stride, int64_t n, void* out) {
    for (int64_t r = 0; r < rows; ++r) {
      const SoftmaxPart whole = part_of(static_cast<const T*>(in) + r * stride, n);
      log(&whole, static_cast<T*>(out) + r);
    }
  }
};

template <class S>
SoftmaxKernel make() {
  SoftmaxKernel k;
  k.softmax = S::softmax, k.softmax_vjp = S::softmax_vjp, k.logsumexp = S::logsumexp;
  k.part = S::part, k.join = S::join;
  k.apply = S::apply, k.log = S::log;
  return k;
}

}  // namespace

const SoftmaxTable& softmax_kernels_table() {
  static const SoftmaxTable table = [] {
    SoftmaxTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>) t.at[v] = make<Softmax<T>>();
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
