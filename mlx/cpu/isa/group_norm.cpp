// Some channels at a time, whose sums or factors stay in registers, down a block of rows that stays in the
// first-level cache until all channels have had their turn.
#include "mlx/cpu/isa/group_norm.h"

#include "mlx/cpu/isa/reduce_impl.h"
#include "mlx/cpu/isa/stream.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

constexpr int kVectors = MLX_ISA_LEVEL >= 4 ? 4 : 2;  // with four sums each
constexpr int64_t kRows = 32;                         // that are added in C before they join sums in double

template <class T>
struct GroupNorm {
  using C = Compute<T>;
  using V = Vec<C>;
  static constexpr int kN = kLanes<C>;

  // f(number of vectors, whether the last is a part, first channel, elements of the part)
  template <class F>
  static void each_column(int64_t channels, F f) {
    int64_t c = 0;
    for (; c + kVectors * kN <= channels; c += kVectors * kN)
      f(std::integral_constant<int, kVectors>{}, std::false_type{}, c, int64_t{kN});
    for (; c + kN <= channels; c += kN)
      f(std::integral_constant<int, 1>{}, std::false_type{}, c, int64_t{kN});
    if (c < channels) f(std::integral_constant<int, 1>{}, std::true_type{}, c, channels - c);
  }
  template <bool kPart, class U>
  static V get(const U* p, int64_t count) {
    if constexpr (kPart)
      return load_part(p, count, C{0});
    else
      return load(p);
  }
  template <bool kPart, class U>
  static void set(U* p, int64_t count, V v) {
    if constexpr (kPart)
      store_part(p, count, v);
    else
      store(p, v);
  }
  // The same rows of the next block, while this one is read.
  static void ask_ahead(const T* p, int64_t channels) {
    if constexpr (kN * sizeof(T) >= 64) __builtin_prefetch(p + kRows * channels);
  }

  static V from_doubles(const double* p, int64_t count) {
    if constexpr (std::is_same_v<C, float>)
      if (count == kN) return narrow(loadu<D>(p), loadu<D>(p + kD));
    C lanes[kN] = {};
    for (int64_t i = 0; i < count; ++i) lanes[i] = static_cast<C>(p[i]);
    return loadu<V>(lanes);
  }
  static void add_to(double* sum, V v, int64_t count) {
    if constexpr (std::is_same_v<C, float>) {
      if (count == kN) {
        storeu(sum, loadu<D>(sum) + low_half(v));
        storeu(sum + kD, loadu<D>(sum + kD) + high_half(v));
        return;
      }
    }
    for (int64_t i = 0; i < count; ++i) sum[i] += static_cast<double>(v[i]);
  }

  template <bool kWith>
  static void sums_of(const T* x, const T* g, int64_t rows, int64_t channels, double* out) {
    const int64_t first = rows < 16 ? rows : 16;
    each_column(channels, [&](auto vectors, auto part, int64_t c, int64_t count) {
      for (int v = 0; v < vectors; ++v) {
        V sum{};
        for (int64_t r = 0; r < first; ++r) sum += get<part>(x + r * channels + c + v * kN, count);
        const V centre = sum * splat<V>(C{1} / static_cast<C>(first));
        for (int64_t i = 0; i < count; ++i) out[c + v * kN + i] = static_cast<double>(centre[i]);
      }
    });
    __builtin_memset(out + channels, 0, (kWith ? 4 : 2) * channels * sizeof(double));
    for (int64_t begin = 0; begin < rows; begin += kRows) {
      const int64_t end = begin + kRows < rows ? begin + kRows : rows;
      each_column(channels, [&](auto vectors, auto part, int64_t c, int64_t count) {
        V centre[vectors], of_x[vectors]{}, of_xx[vectors]{}, of_g[vectors]{}, of_gx[vectors]{};
        for (int v = 0; v < vectors; ++v) centre[v] = from_doubles(out + c + v * kN, count);
        for (int64_t r = begin; r < end; ++r) {
          const T* at = x + r * channels + c;
          for (int v = 0; v < vectors; ++v) {
            ask_ahead(at + v * kN, channels);
            const V d = get<part>(at + v * kN, count) - centre[v];
            of_x[v] += d;
            of_xx[v] = fma(d, d, of_xx[v]);
            if constexpr (kWith) {
              const T* by = g + r * channels + c + v * kN;
              ask_ahead(by, channels);
              const V gi = get<part>(by, count);
              of_g[v] += gi;
              of_gx[v] = fma(gi, d, of_gx[v]);
            }
          }
        }
        for (int v = 0; v < vectors; ++v) {
          double* to = out + c + v * kN;
          add_to(to + kSumX * channels, of_x[v], count);
          add_to(to + kSumXX * channels, of_xx[v], count);
          if constexpr (kWith) {
            add_to(to + kSumG * channels, of_g[v], count);
            add_to(to + kSumGX * channels, of_gx[v], count);
          }
        }
      });
    }
  }

  template <bool kWith, bool kStream>
  static void apply_to(const T* x, const T* g, int64_t rows, int64_t channels, const C* factors, T* y) {
    for (int64_t begin = 0; begin < rows; begin += kRows) {
      const int64_t end = begin + kRows < rows ? begin + kRows : rows;
      each_column(channels, [&](auto vectors, auto part, int64_t c, int64_t count) {
        V centre[vectors], by_x[vectors], rest[vectors], by_g[vectors]{};
        for (int v = 0; v < vectors; ++v) {
          const C* at = factors + c + v * kN;
          centre[v] = get<part>(at + kFactorCentre * channels, count);
          by_x[v] = get<part>(at + kFactorX * channels, count);
          rest[v] = get<part>(at + kFactorRest * channels, count);
          if constexpr (kWith) by_g[v] = get<part>(at + kFactorG * channels, count);
        }
        for (int64_t r = begin; r < end; ++r) {
          for (int v = 0; v < vectors; ++v) {
            const int64_t at = r * channels + c + v * kN;
            ask_ahead(x + at, channels);
            V sum = fma(get<part>(x + at, count) - centre[v], by_x[v], rest[v]);
            if constexpr (kWith) {
              ask_ahead(g + at, channels);
              sum = fma(get<part>(g + at, count), by_g[v], sum);
            }
            if constexpr (kStream)
              stream_store(reinterpret_cast<float*>(y + at), bits_to<F>(sum));
            else
              set<part>(y + at, count, sum);
          }
        }
      });
    }
  }

  static void sums(const void* x, int64_t rows, int64_t channels, double* out) {
    sums_of<false>(static_cast<const T*>(x), nullptr, rows, channels, out);
  }
  static void sums_with(const void* x, const void* g, int64_t rows, int64_t channels, double* out) {
    sums_of<true>(static_cast<const T*>(x), static_cast<const T*>(g), rows, channels, out);
  }
  template <bool kWith>
  static void apply_any(const void* x_, const void* g_, int64_t rows, int64_t channels, const void* factors_,
                        bool stream, void* y_) {
    const T *x = static_cast<const T*>(x_), *g = static_cast<const T*>(g_);
    const C* factors = static_cast<const C*>(factors_);
    T* y = static_cast<T*>(y_);
    if constexpr (!is_half<T>) {
      if (stream) {
        apply_to<kWith, true>(x, g, rows, channels, factors, y);
        return stream_fence();
      }
    }
    apply_to<kWith, false>(x, g, rows, channels, factors, y);
  }
  static void apply(const void* x, int64_t rows, int64_t channels, const void* factors, bool stream,
                    void* y) {
    apply_any<false>(x, nullptr, rows, channels, factors, stream, y);
  }
  static void apply_with(const void* x, const void* g, int64_t rows, int64_t channels, const void* factors,
                         bool stream, void* y) {
    apply_any<true>(x, g, rows, channels, factors, stream, y);
  }
};

}  // namespace

const GroupNormTable& group_norm_kernels_table() {
  static const GroupNormTable table = [] {
    GroupNormTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>)
        t.at[v] = {GroupNorm<T>::sums, GroupNorm<T>::sums_with, GroupNorm<T>::apply,
                   GroupNorm<T>::apply_with};
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
