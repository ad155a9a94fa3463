#include "mlx/cpu/isa/argreduce.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class C>
inline bool is_nan(C x) {
  if constexpr (std::is_same_v<C, Complex>)
    return x.re != x.re || x.im != x.im;
  else
    return x != x;
}
// x lies strictly beyond best (neither a nan).
template <bool kMax, class C>
inline bool beats(C x, C best) {
  if constexpr (std::is_same_v<C, Complex>) {
    if constexpr (kMax)
      return x.re > best.re || (x.re == best.re && x.im > best.im);
    else
      return x.re < best.re || (x.re == best.re && x.im < best.im);
  } else if constexpr (kMax) {
    return x > best;
  } else {
    return x < best;
  }
}

template <class T, bool kMax>
int64_t scalar_row(const T* p, int64_t n) {
  int64_t at = 0;
  auto best = get(p[0]);
  for (int64_t i = 0; i < n; ++i) {
    const auto x = get(p[i]);
    if (is_nan(x)) return i;
    if (beats<kMax>(x, best)) best = x, at = i;
  }
  return at;
}

// The extreme of a block, or the first sign that it holds a nan.
template <class T, bool kMax>
bool block_extreme(const T* p, int64_t n, Compute<T>* extreme) {
  using C = Compute<T>;
  if constexpr (is_integer<T>) {
    C best = get(p[0]);
    for (int64_t i = 0; i < n; ++i) {
      const C x = get(p[i]);
      best = beats<kMax>(x, best) ? x : best;
    }
    *extreme = best;
    return true;
  } else {
    using V = Vec<C>;
    constexpr int kN = kLanes<C>;
    const auto pick = [](auto a, auto b) { return kMax ? (b > a ? b : a) : (b < a ? b : a); };
    V a = splat<V>(static_cast<C>(kMax ? -__builtin_inff() : __builtin_inff())), b = a, c = a, d = a;
    auto nan = a != a;
    int64_t i = 0;
    for (; i + 4 * kN <= n; i += 4 * kN) {
      const V x = load(p + i), y = load(p + i + kN), z = load(p + i + 2 * kN), w = load(p + i + 3 * kN);
      a = pick(a, x), b = pick(b, y), c = pick(c, z), d = pick(d, w);
      nan |= ((x != x) | (y != y)) | ((z != z) | (w != w));
    }
    for (; i < n; i += kN) {
      const V x = n - i < kN ? load_part(p + i, n - i, get(p[i])) : load(p + i);
      a = pick(a, x);
      nan |= x != x;
    }
    *extreme = across<C>(pick(pick(a, b), pick(c, d)), [&](auto x, auto y) { return pick(x, y); });
    return !any_set(nan);
  }
}

// Blocks are only searched for an index when they improve on everything before them.
template <class T, bool kMax>
int64_t row(const T* p, int64_t n) {
  if constexpr (std::is_same_v<T, Complex>) {
    return scalar_row<T, kMax>(p, n);
  } else {
    using C = Compute<T>;
    constexpr int64_t block = 512;
    if (n <= 32) return scalar_row<T, kMax>(p, n);
    int64_t at = 0, holder = 0;
    C best{};
    for (int64_t i = 0; i < n; i += block) {
      const int64_t count = n - i < block ? n - i : block;
      C extreme;
      if (!block_extreme<T, kMax>(p + i, count, &extreme)) return i + scalar_row<T, kMax>(p + i, count);
      if (i == 0 || beats<kMax>(extreme, best)) best = extreme, holder = i;
    }
    for (at = holder; get(p[at]) != best;) ++at;
    return at;
  }
}

// Indices as wide as the compared values, so that one comparison steers both.
template <class C>
using Index = std::conditional_t<(sizeof(C) > 4), int64_t, int32_t>;
template <class T>
using Compared = std::conditional_t<is_integer<T> && sizeof(T) < 4, int32_t, Compute<T>>;

template <class T, bool kMax>
void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, uint32_t* out) {
  constexpr int64_t tile = 512;
  for (int64_t c0 = 0; c0 < cols; c0 += tile) {
    const int64_t width = cols - c0 < tile ? cols - c0 : tile;
    if constexpr (std::is_same_v<T, Complex>) {
      for (int64_t c = 0; c < width; ++c) {
        const T* p = in + c0 + c;
        int64_t at = 0;
        for (int64_t r = 1; r < rows && !is_nan(p[at * stride]); ++r)
          if (is_nan(p[r * stride]) || beats<kMax>(p[r * stride], p[at * stride])) at = r;
        out[c0 + c] = static_cast<uint32_t>(at);
      }
    } else {
      using C = Compared<T>;
      using I = Index<C>;
      C best[tile];
      I at[tile];
      for (int64_t c = 0; c < width; ++c) best[c] = static_cast<C>(get(in[c0 + c])), at[c] = 0;
      for (int64_t r = 1; r < rows; ++r) {
        const T* p = in + r * stride + c0;
        int64_t c = 0;
        if constexpr (is_real<T>) {
          using V = Vec<C>;
          using M = Vec<I>;
          for (; c + kLanes<C> <= width; c += kLanes<C>) {
            const V x = load(p + c), b = loadu<V>(best + c);
            // Not (x <= b), which also holds for a nan in x, and b not yet a nan.
            const M take = (kMax ? ~(x <= b) : ~(x >= b)) & (b == b);
            storeu(best + c, take ? x : b);
            storeu(at + c, take ? splat<M>(static_cast<I>(r)) : loadu<M>(at + c));
          }
        }
        for (; c < width; ++c) {
          const C x = static_cast<C>(get(p[c])), b = best[c];
          const bool take = (beats<kMax>(x, b) || x != x) && b == b;
          best[c] = take ? x : b;
          at[c] = take ? static_cast<I>(r) : at[c];
        }
      }
      for (int64_t c = 0; c < width; ++c) out[c0 + c] = static_cast<uint32_t>(at[c]);
    }
  }
}

template <class T, bool kMax>
ArgReduceKernel make() {
  ArgReduceKernel k;
  k.rows = [](const void* in, int64_t rows, int64_t stride, int64_t n, uint32_t* out) {
    for (int64_t r = 0; r < rows; ++r)
      out[r] = static_cast<uint32_t>(row<T, kMax>(static_cast<const T*>(in) + r * stride, n));
  };
  k.cols = [](const void* in, int64_t rows, int64_t stride, int64_t columns, uint32_t* out) {
    cols<T, kMax>(static_cast<const T*>(in), rows, stride, columns, out);
  };
  return k;
}

}  // namespace

const ArgReduceTable& argreduce_kernels_table() {
  static const ArgReduceTable table = [] {
    ArgReduceTable t;
    for_elements([&](auto v) {
      t.at[0][v] = make<Element<v>, false>();
      t.at[1][v] = make<Element<v>, true>();
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
