// max and min. A nan anywhere makes the result nan; complex numbers are ordered by real, then imaginary part.
#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA::rows {
namespace {

template <class T, bool kMax>
struct IntegerExtreme : PlainColumns<IntegerExtreme<T, kMax>, T, Compute<T>> {
  using In = T;
  using Acc = Compute<T>;
  using Out = T;
  static Acc identity() {
    if constexpr (std::is_same_v<T, Bool>)
      return kMax ? 0 : 1;
    else {
      constexpr auto lowest = std::is_signed_v<T> ? static_cast<T>(T{1} << (8 * sizeof(T) - 1)) : T{0};
      return kMax ? lowest : static_cast<T>(~lowest);
    }
  }
  static Acc lift(T x) { return get(x); }
  static void merge(Acc& a, Acc b) {
    if constexpr (kMax)
      a = b > a ? b : a;
    else
      a = b < a ? b : a;
  }
  static T out(Acc a, double) {
    T x;
    put(&x, a);
    return x;
  }
};

// Lane-wise or scalar: b where it lies beyond a. A nan in b is ignored.
template <bool kMax, class V>
inline V beyond(V a, V b) {
  if constexpr (kMax)
    return b > a ? b : a;
  else
    return b < a ? b : a;
}
// The same, but a nan in either wins.
template <bool kMax, class C>
inline C beyond_or_nan(C a, C b) {
  return b != b ? b : beyond<kMax>(a, b);
}

template <class T, bool kMax>
struct RealExtreme {
  using In = T;
  using C = Compute<T>;
  using V = Vec<C>;
  using Acc = C;
  using Out = T;
  static constexpr int kN = kLanes<C>;
  static C identity() { return kMax ? -__builtin_inff() : __builtin_inff(); }
  static void merge(C& a, C b) { a = beyond_or_nan<kMax>(a, b); }
  static C row(const T* p, int64_t n) {
    C best = identity();
    int64_t i = 0;
    if (n >= kN) {
      V a = load(p), b = a, c = a, d = a;
      auto nan = a != a;
      for (; i + 4 * kN <= n; i += 4 * kN) {
        const V x = load(p + i), y = load(p + i + kN), z = load(p + i + 2 * kN), w = load(p + i + 3 * kN);
        a = beyond<kMax>(a, x), b = beyond<kMax>(b, y), c = beyond<kMax>(c, z), d = beyond<kMax>(d, w);
        nan |= ((x != x) | (y != y)) | ((z != z) | (w != w));
      }
      for (; i + kN <= n; i += kN) {
        const V x = load(p + i);
        a = beyond<kMax>(a, x);
        nan |= x != x;
      }
      if (any_set(nan)) return static_cast<C>(__builtin_nanf(""));
      best = across<C>(beyond<kMax>(beyond<kMax>(a, b), beyond<kMax>(c, d)),
                       [](auto x, auto y) { return beyond<kMax>(x, y); });
    }
    for (; i < n; ++i) best = beyond_or_nan<kMax>(best, get(p[i]));
    return best;
  }
  static void cols(const T* in, int64_t rows, int64_t stride, int64_t cols, C* acc) {
    int64_t r = 0;
    const auto step = [](V a, V x) {
      return kMax ? (((x > a) | (x != x)) ? x : a) : (((x < a) | (x != x)) ? x : a);
    };
    for (; r + 4 <= rows; r += 4) {
      const T* p = in + r * stride;
      int64_t c = 0;
      for (; c + kN <= cols; c += kN) {
        V a = loadu<V>(acc + c);
        for (int k = 0; k < 4; ++k) a = step(a, load(p + k * stride + c));
        storeu(acc + c, a);
      }
      for (; c < cols; ++c)
        for (int k = 0; k < 4; ++k) merge(acc[c], get(p[k * stride + c]));
    }
    for (; r < rows; ++r) {
      const T* p = in + r * stride;
      int64_t c = 0;
      for (; c + kN <= cols; c += kN) storeu(acc + c, step(loadu<V>(acc + c), load(p + c)));
      for (; c < cols; ++c) merge(acc[c], get(p[c]));
    }
  }
  static T out(C a, double) {
    T x;
    put(&x, a);
    return x;
  }
};

template <bool kMax>
struct ComplexExtreme : PlainColumns<ComplexExtreme<kMax>, Complex, Complex> {
  using In = Complex;
  using Acc = Complex;
  using Out = Complex;
  static Complex identity() {
    const float end = kMax ? -__builtin_inff() : __builtin_inff();
    return {end, end};
  }
  static Complex lift(Complex x) { return x; }
  static bool is_nan(Complex x) { return x.re != x.re || x.im != x.im; }
  static void merge(Complex& a, Complex b) {
    const bool less = b.re < a.re || (b.re == a.re && b.im < a.im);
    const bool more = b.re > a.re || (b.re == a.re && b.im > a.im);
    if (!is_nan(a) && ((kMax ? more : less) || is_nan(b))) a = b;
  }
  static Complex out(Complex a, double) { return a; }
};

template <bool kMax>
void add(ReduceKernel* row) {
  for_elements([&](auto v) {
    using T = Element<v>;
    if constexpr (is_integer<T>)
      row[v] = make_reduce<IntegerExtreme<T, kMax>>();
    else if constexpr (is_real<T>)
      row[v] = make_reduce<RealExtreme<T, kMax>>();
    else
      row[v] = make_reduce<ComplexExtreme<kMax>>();
  });
}

}  // namespace

void add_extremes(ReduceTable& table) {
  add<true>(table.at[static_cast<int>(ReduceOp::max)]);
  add<false>(table.at[static_cast<int>(ReduceOp::min)]);
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
