// Sums and products. Floats are added as small trees in float and accumulated in double (WideSum); products
// of floats run in double; integers wrap around in the 32 or 64 bits of the result type, but not for their
// mean.
#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA::rows {
namespace {

template <class T>
using IntegerResult = std::conditional_t<
    (sizeof(T) > 4), T,
    std::conditional_t<std::is_unsigned_v<T> && !std::is_same_v<T, Bool>, uint32_t, int32_t>>;

template <class T, bool kProduct>
struct IntegerFold : PlainColumns<IntegerFold<T, kProduct>, T, std::make_unsigned_t<IntegerResult<T>>> {
  using In = T;
  using Out = IntegerResult<T>;
  using Acc = std::make_unsigned_t<Out>;  // unsigned: wraps instead of being undefined
  static Acc identity() { return kProduct; }
  static Acc lift(T x) {
    if constexpr (std::is_same_v<T, Bool>)
      return x.v;
    else
      return static_cast<Acc>(x);
  }
  static void merge(Acc& a, Acc b) {
    if constexpr (kProduct)
      a *= b;
    else
      a += b;
  }
  static Out out(Acc a, double) { return static_cast<Out>(a); }
};

template <class T>
inline T divided(double acc, double divisor) {
  if (divisor != 1) acc /= divisor;
  if constexpr (is_half<T>)
    return from_float<T>(static_cast<float>(acc));
  else
    return static_cast<T>(acc);
}

// What is summed in the place of an element: computed as the element-wise operation does, so products are
// rounded before they are added (-ffp-contract=off).
struct Itself {
  static auto of(auto v) { return v; }
};
struct Squared {
  static auto of(auto v) { return v * v; }
};
struct Magnitude {
  static float of(float x) { return __builtin_fabsf(x); }
  static F of(F v) { return reinterpret_cast<F>(reinterpret_cast<FMask>(v) & 0x7fffffff); }
};

template <class T, class Map = Itself>
struct RealSum {
  using In = T;
  using Acc = double;
  using Out = T;
  static double identity() { return 0; }
  static void merge(double& a, double b) { a += b; }
  static auto one(T x) { return Map::of(get(x)); }
  static auto some(const T* p) { return Map::of(load(p)); }
  static double row(const T* p, int64_t n) {
    if (n >= kLanes<Compute<T>>) return wide_sum(p, n, [](auto v) { return Map::of(v); });
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += one(p[i]);
    return sum;
  }
  static void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, double* acc) {
    int64_t r = 0;
    if constexpr (std::is_same_v<T, double>) {
      for (; r + 4 <= rows; r += 4) {
        const double* p = in + r * stride;
        int64_t c = 0;
        for (; c + kD <= cols; c += kD)
          storeu(acc + c, loadu<D>(acc + c) + ((load(p + c) + load(p + stride + c)) +
                                               (load(p + 2 * stride + c) + load(p + 3 * stride + c))));
        for (; c < cols; ++c) acc[c] += (p[c] + p[stride + c]) + (p[2 * stride + c] + p[3 * stride + c]);
      }
    } else {
      const auto four = [&](const T* p) {
        return (some(p) + some(p + stride)) + (some(p + 2 * stride) + some(p + 3 * stride));
      };
      if constexpr (is_half<T>)  // few digits: longer sums of them are as good
        for (; r + 16 <= rows; r += 16) {
          const T* p = in + r * stride;
          int64_t c = 0;
          for (; c + kF <= cols; c += kF) {
            const F a = (four(p + c) + four(p + 4 * stride + c)) +
                        (four(p + 8 * stride + c) + four(p + 12 * stride + c));
            storeu(acc + c, loadu<D>(acc + c) + low_half(a));
            storeu(acc + c + kD, loadu<D>(acc + c + kD) + high_half(a));
          }
          for (; c < cols; ++c)
            for (int k = 0; k < 16; ++k) acc[c] += one(p[k * stride + c]);
        }
      for (; r + 8 <= rows; r += 8) {
        const T* p = in + r * stride;
        const T* q = p + 4 * stride;
        int64_t c = 0;
        for (; c + kF <= cols; c += kF) {
          const F a = four(p + c), b = four(q + c);
          storeu(acc + c, loadu<D>(acc + c) + (low_half(a) + low_half(b)));
          storeu(acc + c + kD, loadu<D>(acc + c + kD) + (high_half(a) + high_half(b)));
        }
        for (; c < cols; ++c)
          for (int k = 0; k < 8; ++k) acc[c] += one(p[k * stride + c]);
      }
    }
    for (; r < rows; ++r) {
      const T* p = in + r * stride;
      int64_t c = 0;
      if constexpr (!std::is_same_v<T, double>)
        for (; c + kF <= cols; c += kF) {
          const F v = some(p + c);
          storeu(acc + c, loadu<D>(acc + c) + low_half(v));
          storeu(acc + c + kD, loadu<D>(acc + c + kD) + high_half(v));
        }
      for (; c < cols; ++c) acc[c] += one(p[c]);
    }
  }
  static T out(double acc, double divisor) { return divided<T>(acc, divisor); }
};

// Integers of 64 bits as doubles, rounded once: the halves in the last digits of 2^52 and 2^84 (AVX2 has no
// conversion).
template <class T>
inline D as_doubles(const T* p) {
  using U = Vec<uint64_t>;
  constexpr uint64_t bias = std::is_signed_v<T> ? 0x80000000u : 0;
  const U x = loadu<U>(p), low = (x & 0xffffffffu) | 0x4330000000000000u,
          high = (x >> 32) ^ (0x4530000000000000u | bias);
  return (bits_to<D>(high) - (0x1p84 + 0x1p52 + 0x1p32 * static_cast<double>(bias))) + bits_to<D>(low);
}

// The exact sum of a piece of integers of up to 32 bits, in as few bits as hold it, joins the others in
// double.
template <class T>
struct IntegerMean {
  using In = T;
  using Acc = double;
  using Out = float;
  using Piece = std::conditional_t<(sizeof(T) <= 2), int32_t, int64_t>;
  static double identity() { return 0; }
  static void merge(double& a, double b) { a += b; }
  static double row(const T* p, int64_t n) {
    double sum = 0;
    if constexpr (sizeof(T) <= 4) {
      constexpr int64_t piece = 1 << 15;
      for (int64_t i = 0; i < n; i += piece) {
        const int64_t end = n - i < piece ? n : i + piece;
        Piece part = 0;
        for (int64_t j = i; j < end; ++j) part += static_cast<Piece>(get(p[j]));
        sum += static_cast<double>(part);
      }
    } else {
      D a{}, b{};
      int64_t i = 0;
      for (; i + 2 * kD <= n; i += 2 * kD) a += as_doubles(p + i), b += as_doubles(p + i + kD);
      sum = sum_across(a + b);
      for (; i < n; ++i) sum += static_cast<double>(p[i]);
    }
    return sum;
  }
  static void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, double* __restrict acc) {
    using Column = std::conditional_t<(sizeof(T) <= 2), int32_t, double>;
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
      const T* p = in + r * stride;
      int64_t c = 0;
      if constexpr (sizeof(T) == 8)
        for (; c + kD <= cols; c += kD) {
          D sum{};
          for (int k = 0; k < 8; ++k) sum += as_doubles(p + k * stride + c);
          storeu(acc + c, loadu<D>(acc + c) + sum);
        }
      for (; c < cols; ++c) {
        Column sum = 0;
        for (int k = 0; k < 8; ++k) sum += static_cast<Column>(get(p[k * stride + c]));
        acc[c] += static_cast<double>(sum);
      }
    }
    for (; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) acc[c] += static_cast<double>(get(in[r * stride + c]));
  }
  static float out(double acc, double divisor) { return static_cast<float>(acc / divisor); }
};

struct Complex128 {
  double re, im;
};

struct ComplexSum {
  using In = Complex;
  using Acc = Complex128;
  using Out = Complex;
  static Acc identity() { return {0, 0}; }
  static void merge(Acc& a, Acc b) { a.re += b.re, a.im += b.im; }
  static Acc row(const Complex* in, int64_t n) {
    const float* p = reinterpret_cast<const float*>(in);
    WideSum s;
    int64_t i = 0;
    n *= 2;
    for (; i + 4 * kF <= n; i += 4 * kF)
      s.add(load(p + i), load(p + i + kF), load(p + i + 2 * kF), load(p + i + 3 * kF));
    for (; i + kF <= n; i += kF) s.add(load(p + i));
    if (i < n) s.add(load_part(p + i, n - i, 0.0f));
    double lanes[kD];
    storeu(lanes, s.low + s.high);
    Acc sum{0, 0};
    for (int k = 0; k < kD; k += 2) sum.re += lanes[k], sum.im += lanes[k + 1];
    return sum;
  }
  static void cols(const Complex* in, int64_t rows, int64_t stride, int64_t cols, Acc* acc) {
    RealSum<float>::cols(reinterpret_cast<const float*>(in), rows, 2 * stride, 2 * cols,
                         reinterpret_cast<double*>(acc));
  }
  static Complex out(Acc a, double divisor) {
    return {static_cast<float>(a.re / divisor), static_cast<float>(a.im / divisor)};
  }
};

// kD elements as doubles.
inline D load_doubles(const double* p) { return load(p); }
inline D load_doubles(const float* p) {
#if MLX_ISA_LEVEL >= 4
  return (D)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif MLX_ISA_LEVEL == 3
  return (D)_mm256_cvtps_pd(_mm_loadu_ps(p));
#elif MLX_ISA_LEVEL == 2
  return (D)_mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  D d;
  for (int i = 0; i < kD; ++i) d[i] = p[i];
  return d;
#endif
}
template <class T>
struct RealProduct {
  using In = T;
  using Acc = double;
  using Out = T;
  static double identity() { return 1; }
  static void merge(double& a, double b) { a *= b; }
  static double row(const T* p, int64_t n) {
    double product = 1;
    int64_t i = 0;
    if (n >= 4 * kD) {
      // A multiplication waits for the one before it: eight of them side by side.
      constexpr int kPartial = 8;
      D part[kPartial];
      for (D& d : part) d = splat<D>(1.0);
      if constexpr (is_half<T>) {
        for (; i + kPartial * kD <= n; i += kPartial * kD)
          for (int k = 0; k < kPartial; k += 2) {
            const F v = load(p + i + k * kD);
            part[k] *= low_half(v), part[k + 1] *= high_half(v);
          }
      } else {
        for (; i + kPartial * kD <= n; i += kPartial * kD)
          for (int k = 0; k < kPartial; ++k) part[k] *= load_doubles(p + i + k * kD);
        for (; i + kD <= n; i += kD) part[0] *= load_doubles(p + i);
      }
      for (int half = kPartial / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) part[k] *= part[k + half];
      product = across<double>(part[0], [](auto x, auto y) { return x * y; });
    }
    for (; i < n; ++i) product *= get(p[i]);
    return product;
  }
  static void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, double* acc) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* p = in + r * stride;
      int64_t c = 0;
      if constexpr (!std::is_same_v<T, double>)
        for (; c + kF <= cols; c += kF) {
          const F v = load(p + c);
          storeu(acc + c, loadu<D>(acc + c) * low_half(v));
          storeu(acc + c + kD, loadu<D>(acc + c + kD) * high_half(v));
        }
      for (; c < cols; ++c) acc[c] *= get(p[c]);
    }
  }
  static T out(double acc, double) { return divided<T>(acc, 1); }
};

struct ComplexProduct : PlainColumns<ComplexProduct, Complex, Complex128> {
  using In = Complex;
  using Acc = Complex128;
  using Out = Complex;
  static Acc identity() { return {1, 0}; }
  static Acc lift(Complex x) { return {x.re, x.im}; }
  static void merge(Acc& a, Acc b) { a = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  static Acc row(const Complex* in, int64_t n) {
    Acc product = identity();
    int64_t i = 0;
    if (n >= 4 * kD) {
      // As in RealProduct; the parts of kD numbers lie in a vector each, in whatever order.
      constexpr int kPartial = 4;
      D re[kPartial], im[kPartial];
      for (int k = 0; k < kPartial; ++k) re[k] = splat<D>(1.0), im[k] = D{};
      const auto take = [&](int k, const Complex* p) {
        const float* x = reinterpret_cast<const float*>(p);
        const auto [r, s] =
            parts(load_doubles(x), load_doubles(x + kD), std::make_integer_sequence<int, kD>{});
        multiply(re[k], im[k], r, s);
      };
      for (; i + kPartial * kD <= n; i += kPartial * kD)
        for (int k = 0; k < kPartial; ++k) take(k, in + i + k * kD);
      for (; i + kD <= n; i += kD) take(0, in + i);
      for (int half = kPartial / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) multiply(re[k], im[k], re[k + half], im[k + half]);
      for (int k = 0; k < kD; ++k) merge(product, {re[0][k], im[0][k]});
    }
    for (; i < n; ++i) merge(product, lift(in[i]));
    return product;
  }
  static Complex out(Acc a, double) { return {static_cast<float>(a.re), static_cast<float>(a.im)}; }

 private:
  struct Parts {
    D re, im;
  };
  template <int... i>
  static Parts parts(D a, D b, std::integer_sequence<int, i...>) {
    return {__builtin_shufflevector(a, b, (i % 2 == 0 ? i : i - 1 + kD)...),
            __builtin_shufflevector(a, b, (i % 2 == 0 ? i + 1 : i + kD)...)};
  }
  static void multiply(D& re, D& im, D r, D s) {
    const D x = fma(re, r, -(im * s));
    im = fma(re, s, im * r);
    re = x;
  }
};

}  // namespace

void add_sums(ReduceTable& table) {
  for_elements([&](auto v) {
    using T = Element<v>;
    ReduceKernel& k = table.at[static_cast<int>(ReduceOp::sum)][v];
    if constexpr (is_integer<T>) {
      k = make_reduce<IntegerFold<T, false>>();
      table.at[static_cast<int>(ReduceOp::integer_mean)][v] = make_reduce<IntegerMean<T>>();
    } else if constexpr (is_real<T>) {
      k = make_reduce<RealSum<T>>();
    } else {
      k = make_reduce<ComplexSum>();
    }
    if constexpr (std::is_same_v<T, float>) {
      table.at[static_cast<int>(ReduceOp::squares)][v] = make_reduce<RealSum<T, Squared>>();
      table.at[static_cast<int>(ReduceOp::magnitudes)][v] = make_reduce<RealSum<T, Magnitude>>();
    }
  });
}

void add_products(ReduceTable& table) {
  for_elements([&](auto v) {
    using T = Element<v>;
    ReduceKernel& k = table.at[static_cast<int>(ReduceOp::prod)][v];
    if constexpr (is_integer<T>)
      k = make_reduce<IntegerFold<T, true>>();
    else if constexpr (is_real<T>)
      k = make_reduce<RealProduct<T>>();
    else
      k = make_reduce<ComplexProduct>();
  });
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
