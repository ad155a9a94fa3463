#include "mlx/cpu/isa/windows.h"

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace rows {
namespace {

// The first n lanes of a vector; n may be all of them.
template <class T>
inline Vec<Compute<T>> load_lanes(const T* p, int64_t n) {
  if (n >= kLanes<Compute<T>>) return load(p);
#if MLX_ISA_LEVEL >= 4
  if constexpr (std::is_same_v<T, float>)
    return (F)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif MLX_ISA_LEVEL == 3
  if constexpr (std::is_same_v<T, float>) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (F)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane));
  }
#endif
  return load_part(p, n, Compute<T>(0));
}
template <class T>
inline void store_lanes(T* p, int64_t n, Vec<Compute<T>> v) {
  if (n >= kLanes<Compute<T>>) return store(p, v);
#if MLX_ISA_LEVEL >= 4
  if constexpr (std::is_same_v<T, float>)
    return _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
#elif MLX_ISA_LEVEL == 3
  if constexpr (std::is_same_v<T, float>) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
    return _mm256_maskstore_ps(p, mask, (__m256)v);
  }
#endif
  store_part(p, n, v);
}

// A nan anywhere makes the result nan.
template <class T, bool kMax>
struct Extreme {
  using V = Vec<Compute<T>>;
  V best;
  explicit Extreme(V first) : best(first) {}
  void take(V x) { best = ((kMax ? x > best : x < best) | (x != x)) ? x : best; }
  V result(double) const { return best; }
};

// Summed in double, as sums of any length are.
template <class T>
struct Sum {
  using V = Vec<Compute<T>>;
  D low, high;
  explicit Sum(V first) {
    if constexpr (std::is_same_v<V, D>)
      low = first;
    else
      low = low_half(first), high = high_half(first);
  }
  void take(V x) {
    if constexpr (std::is_same_v<V, D>)
      low += x;
    else
      low += low_half(x), high += high_half(x);
  }
  V result(double divisor) const {
    if constexpr (std::is_same_v<V, D>)
      return low / divisor;
    else
      return narrow(low / divisor, high / divisor);
  }
};

template <class T, class Op>
void fold(const Windows& w, const void* in, double divisor, void* out) {
  constexpr int64_t lanes = kLanes<Compute<T>>;
  const T* p = static_cast<const T*>(in);
  T* o = static_cast<T*>(out);
  for (int64_t i = 0; i < w.outputs; ++i, p += w.step, o += w.len)
    for (int64_t c = 0; c < w.len; c += lanes) {
      const int64_t n = w.len - c;
      Op op(load_lanes(p + w.offsets[0] + c, n));
      for (int64_t r = 1; r < w.count; ++r) op.take(load_lanes(p + w.offsets[r] + c, n));
      store_lanes(o + c, n, op.result(divisor));
    }
}

template <class T>
void share(const Windows& w, const void* in, const void* y_, const void* g_, void* out) {
  using C = Compute<T>;
  using V = Vec<C>;
  constexpr int64_t lanes = kLanes<C>;
  const T *p = static_cast<const T*>(in), *y = static_cast<const T*>(y_), *g = static_cast<const T*>(g_);
  T* o = static_cast<T*>(out);
  for (int64_t i = 0; i < w.outputs; ++i, p += w.step, o += w.step, y += w.len, g += w.len)
    for (int64_t c = 0; c < w.len; c += lanes) {
      const int64_t n = w.len - c;
      const V best = load_lanes(y + c, n), one = V{} + C(1);
      V ties = {};
      for (int64_t r = 0; r < w.count; ++r) ties += load_lanes(p + w.offsets[r] + c, n) == best ? one : V{};
      // Without an equal (a nan) the share is infinite, and so all are nan.
      const V inverse = one / ties, each = load_lanes(g + c, n) * inverse, none = inverse * C(0);
      for (int64_t r = 0; r < w.count; ++r)
        store_lanes(o + w.offsets[r] + c, n, load_lanes(p + w.offsets[r] + c, n) == best ? each : none);
    }
}

WindowTable make_table() {
  WindowTable t{};
  const auto add = [&]<int V>(std::integral_constant<int, V>) {
    using T = Element<V>;
    if constexpr (is_real<T>) {
      t.sum[V] = fold<T, Sum<T>>;
      t.max[V] = fold<T, Extreme<T, true>>;
      t.min[V] = fold<T, Extreme<T, false>>;
      t.share[V] = share<T>;
    }
  };
  [&]<int... V>(std::integer_sequence<int, V...>) {
    (add(std::integral_constant<int, V>{}), ...);
  }(std::make_integer_sequence<int, kElements>{});
  return t;
}

}  // namespace
}  // namespace rows

const WindowTable& window_kernels_table() {
  static const WindowTable table = rows::make_table();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
