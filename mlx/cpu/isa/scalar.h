// Real and complex scalars of factorizations, and vectors of them. Complex numbers are pairs of reals in
// memory; vectors of them have their parts in planes.
#pragma once

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu {
template <class T>
struct Complex;  // mlx/cpu/linalg/complex.h
}  // namespace mlx::core::cpu

namespace mlx::core::cpu::MLX_ISA::rows {

template <class T>
struct Pair {
  T re, im;
  friend Pair operator-(Pair a) { return {-a.re, -a.im}; }
  friend Pair operator*(Pair a, Pair b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  friend Pair operator*(T a, Pair b) { return {a * b.re, a * b.im}; }
  Pair& operator+=(Pair b) {
    re += b.re;
    im += b.im;
    return *this;
  }
  Pair& operator-=(Pair b) { return *this += -b; }
};

// What a table's scalar S is here.
template <class S>
struct ScalarOf {
  using Real = S;
  using Element = S;
};
template <class T>
struct ScalarOf<cpu::Complex<T>> {
  using Real = T;
  using Element = Pair<T>;
};
template <class S>
using Real = typename ScalarOf<S>::Real;
template <class E>
constexpr bool kPair = false;
template <class T>
constexpr bool kPair<Pair<T>> = true;

template <class E>
inline E conj_if(bool conjugated, E x) {
  if constexpr (kPair<E>)
    return conjugated ? E{x.re, -x.im} : x;
  else
    return x;
}
template <class E>
inline auto real_part(E x) {
  if constexpr (kPair<E>)
    return x.re;
  else
    return x;
}
template <class T>
inline T root(T x) {
  if constexpr (sizeof(T) == 4)
    return __builtin_sqrtf(x);
  else
    return __builtin_sqrt(x);
}

// --- planes: lane i is scalar i ---

template <class V>
inline V magnitude(V x) {
  return x < 0 ? -x : x;
}

template <class E>
struct Wide {
  using T = E;
  using V = Vec<T>;
  static constexpr int64_t kPlanes = 1;
  V re;
  static Wide all(E x) { return {splat<V>(x)}; }
  static Wide load(const T* p, int64_t) { return {loadu<V>(p)}; }
  void store(T* p, int64_t) const { storeu(p, re); }
  friend Wide operator-(Wide a, Wide b) { return {a.re - b.re}; }
  friend Wide operator*(Wide a, Wide b) { return {a.re * b.re}; }
  friend Wide operator/(Wide a, Wide b) { return {a.re / b.re}; }
  friend Wide fma(Wide a, Wide b, Wide c) { return {rows::fma(a.re, b.re, c.re)}; }
  friend Wide conj(Wide a) { return a; }
  friend V size(Wide a) { return magnitude(a.re); }  // for pivots
  friend auto is_zero(Wide a) { return a.re == 0; }
  template <class M>
  friend Wide choose(M mask, Wide a, Wide b) {
    return {mask ? a.re : b.re};
  }
};
template <class R>
struct Wide<Pair<R>> {
  using T = R;
  using V = Vec<T>;
  static constexpr int64_t kPlanes = 2;
  V re, im;
  static Wide all(Pair<T> x) { return {splat<V>(x.re), splat<V>(x.im)}; }
  // The other plane is `plane` elements away.
  static Wide load(const T* p, int64_t plane) { return {loadu<V>(p), loadu<V>(p + plane)}; }
  void store(T* p, int64_t plane) const {
    storeu(p, re);
    storeu(p + plane, im);
  }
  friend Wide operator-(Wide a, Wide b) { return {a.re - b.re, a.im - b.im}; }
  friend Wide operator*(Wide a, Wide b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  // By the larger part of b first, as squares vanish and overflow.
  friend Wide operator/(Wide a, Wide b) {
    const V x = magnitude(b.re), y = magnitude(b.im), scale = x > y ? x : y;
    const V c = b.re / scale, s = b.im / scale, f = 1 / (c * c + s * s);
    return {(a.re * c + a.im * s) * f / scale, (a.im * c - a.re * s) * f / scale};
  }
  friend Wide fma(Wide a, Wide b, Wide c) {
    return {rows::fma(-a.im, b.im, rows::fma(a.re, b.re, c.re)),
            rows::fma(a.im, b.re, rows::fma(a.re, b.im, c.im))};
  }
  friend Wide conj(Wide a) { return {a.re, -a.im}; }
  friend V size(Wide a) { return magnitude(a.re) + magnitude(a.im); }
  friend auto is_zero(Wide a) { return (a.re == 0) & (a.im == 0); }
  template <class M>
  friend Wide choose(M mask, Wide a, Wide b) {
    return {mask ? a.re : b.re, mask ? a.im : b.im};
  }
};

// --- pairs: lanes 2 i and 2 i + 1 are the parts of scalar i ---

template <class V, int... I>
inline V swapped_pairs(V v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (I ^ 1)...);
}
template <class V, class T, int... I>
inline V alternating(T even, T odd, std::integer_sequence<int, I...>) {
  return V{(I % 2 == 0 ? even : odd)...};
}
template <class T>
constexpr auto kLaneNumbers = std::make_integer_sequence<int, kLanes<T>>{};
template <class T>
inline Vec<T> swapped(Vec<T> v) {
  return swapped_pairs(v, kLaneNumbers<T>);
}
template <class T>
inline Vec<T> even_odd(T even, T odd) {
  return alternating<Vec<T>>(even, odd, kLaneNumbers<T>);
}

// The sum of the lanes, in the order of sum_across, in registers.
template <class V, int... I>
inline auto halves_added(V v, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(v, v, I...) + __builtin_shufflevector(v, v, (n + I)...);
}
template <class C, int N>
inline C folded(Vec<C, N> v) {
  if constexpr (N * sizeof(C) > 16)
    return folded<C, N / 2>(halves_added(v, std::make_integer_sequence<int, N / 2>{}));
  else if constexpr (N == 4)
    return (v[0] + v[2]) + (v[1] + v[3]);
  else
    return v[0] + v[1];
}
template <class T>
inline T total_of(Vec<T> v) {
  return folded<T, kLanes<T>>(v);
}

// Scalars of one vector; complex ones with a second vector of i times them, so that a product with a number
// is one of its real part and one of its imaginary part.
template <class E>
struct Line {
  using T = E;
  using V = Vec<T>;
  V one;
  Line() = default;
  explicit Line(V v) : one(v) {}
  static Line load(const T* p) { return Line(loadu<V>(p)); }
};
template <class R>
struct Line<Pair<R>> {
  using T = R;
  using V = Vec<T>;
  V one, turned;
  Line() = default;
  explicit Line(V v) : one(v), turned(swapped<T>(v) * even_odd<T>(-1, 1)) {}
  static Line load(const T* p) { return Line(loadu<V>(p)); }
};
template <class E>
struct Factor {  // the same number in all lanes
  using T = E;
  Vec<T> re;
  Factor() = default;
  explicit Factor(E x) : re(splat<Vec<T>>(x)) {}
  Vec<T> add(Line<E> x, Vec<T> to) const { return fma(re, x.one, to); }  // to + f x
};
template <class R>
struct Factor<Pair<R>> {
  using T = R;
  Vec<T> re, im;
  Factor() = default;
  explicit Factor(Pair<T> x) : re(splat<Vec<T>>(x.re)), im(splat<Vec<T>>(x.im)) {}
  Vec<T> add(Line<Pair<T>> x, Vec<T> to) const { return fma(im, x.turned, fma(re, x.one, to)); }
};

// A sum of products, cleared at first: of elements, where the parts of complex numbers are put together at
// the end.
template <class E>
struct ProductSum {
  using T = E;
  Vec<T> sum;
  void add(Vec<T> a, Line<E> x) { sum = fma(a, x.one, sum); }
  // `conjugated`: of the a.
  E total(bool) const { return total_of<T>(sum); }
};
template <class R>
struct ProductSum<Pair<R>> {
  using T = R;
  Vec<T> straight, across;  // of a x, lane by lane, and of a (i x)
  void add(Vec<T> a, Line<Pair<T>> x) {
    straight = fma(a, x.one, straight);
    across = fma(a, x.turned, across);
  }
  // With x = p + i q, i x = -q + i p: lanes are re p, im q and -re q, im p.
  Pair<T> total(bool conjugated) const {
    const Vec<T> sign = even_odd<T>(1, -1);
    return conjugated ? Pair<T>{total_of<T>(straight), -total_of<T>(across)}
                      : Pair<T>{total_of<T>(straight * sign), -total_of<T>(across * sign)};
  }
};

// Sums over rows, cleared at first, of numbers times elements, f or conj(f).
template <class E>
struct WeighedSum {
  using T = E;
  Vec<T> sum;
  void add(Factor<E> f, Vec<T> x) { sum = fma(f.re, x, sum); }
  Vec<T> total(bool) const { return sum; }
  Vec<T> mirrored() const { return sum; }
};
template <class R>
struct WeighedSum<Pair<R>> {
  using T = R;
  Vec<T> re, im;
  void add(Factor<Pair<T>> f, Vec<T> x) {
    re = fma(f.re, x, re);
    im = fma(f.im, x, im);
  }
  Vec<T> total(bool conjugated) const {
    return re + swapped<T>(im) * (conjugated ? even_odd<T>(1, -1) : even_odd<T>(-1, 1));
  }
  // Of conj(x): conj(conj(f) x).
  Vec<T> mirrored() const { return re * even_odd<T>(1, -1) + swapped<T>(im); }
};

// Sums in registers: as a whole, an array would be cleared in memory.
template <class Sum, int N>
inline void clear(Sum (&sums)[N]) {
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) sums[i] = Sum{};
}
template <class Sum>
inline void clear(Sum& sum) {
  sum = Sum{};
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
