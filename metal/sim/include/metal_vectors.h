// Vectors of 2, 3 and 4 components with their operators and swizzles.
#pragma once
#include <metal_scalars.h>
#include <metal_simulator_kernel.h>

namespace metal {
template <class T, int N>
struct vec;
}

namespace metal_simulator {

using metal::vec;

// What a vector is stored in: one machine vector, so that it is read and written as a whole.
template <class T, int N>
struct Native {
  typedef T type __attribute__((vector_size(sizeof(T) * (N == 3 ? 4 : N))));
  static constexpr bool arithmetic = true;
};
template <int N>
struct Native<bool, N> {
  typedef unsigned char type __attribute__((vector_size(N == 3 ? 4 : N)));
  static constexpr bool arithmetic = false;
};
template <class F, int N>
struct Native<Float16<F>, N> {
  typedef unsigned short type __attribute__((vector_size(N == 3 ? 8 : 2 * N)));
  static constexpr bool arithmetic = false;
};

// v.zx: components i... of a vector of T, in place.
template <class V, class T, int count, int... i>
struct Swizzle {
  T data[count];
  METAL_FUNC constexpr operator V() const { return V(data[i]...); }
  METAL_FUNC Swizzle& operator=(const V& v) {
    int k = 0;
    ((data[i] = v.data[k++]), ...);
    return *this;
  }
  METAL_FUNC Swizzle& operator=(const Swizzle& o) { return *this = static_cast<V>(o); }
  METAL_FUNC T& operator[](int k) {
    const int at[] = {i...};
    return data[at[k]];
  }
  METAL_FUNC Swizzle& operator+=(const V& v) { return *this = static_cast<V>(*this) + v; }
  METAL_FUNC Swizzle& operator-=(const V& v) { return *this = static_cast<V>(*this) - v; }
  METAL_FUNC Swizzle& operator*=(const V& v) { return *this = static_cast<V>(*this) * v; }
  METAL_FUNC Swizzle& operator/=(const V& v) { return *this = static_cast<V>(*this) / v; }
};

#define METAL_SIMULATOR_S2(p, i, j)      \
  Swizzle<vec<T, 2>, T, stored, i, j> p; \
  METAL_SIMULATOR_E3(p, i, j)
#define METAL_SIMULATOR_S3(p, i, j, k)      \
  Swizzle<vec<T, 3>, T, stored, i, j, k> p; \
  METAL_SIMULATOR_E4(p, i, j, k)
#define METAL_SIMULATOR_S4(p, i, j, k, l) Swizzle<vec<T, 4>, T, stored, i, j, k, l> p;

template <class T, int N>
union Components;

#define METAL_SIMULATOR_E2(p, i) METAL_SIMULATOR_S2(p##x, i, 0) METAL_SIMULATOR_S2(p##y, i, 1)
#define METAL_SIMULATOR_E3(p, i, j) METAL_SIMULATOR_S3(p##x, i, j, 0) METAL_SIMULATOR_S3(p##y, i, j, 1)
#define METAL_SIMULATOR_E4(p, i, j, k) \
  METAL_SIMULATOR_S4(p##x, i, j, k, 0) METAL_SIMULATOR_S4(p##y, i, j, k, 1)
template <class T>
struct Components2 {
  static constexpr int stored = 2;
  union {
    typename Native<T, 2>::type native;
    T data[2];
    struct {
      T x, y;
    };
    struct {
      T r, g;
    };
    METAL_SIMULATOR_E2(x, 0) METAL_SIMULATOR_E2(y, 1)
  };
  Components2() = default;
  constexpr Components2(T a, T b) : data{a, b} {}
};
#undef METAL_SIMULATOR_E2
#undef METAL_SIMULATOR_E3
#undef METAL_SIMULATOR_E4

#define METAL_SIMULATOR_E2(p, i) \
  METAL_SIMULATOR_S2(p##x, i, 0) METAL_SIMULATOR_S2(p##y, i, 1) METAL_SIMULATOR_S2(p##z, i, 2)
#define METAL_SIMULATOR_E3(p, i, j) \
  METAL_SIMULATOR_S3(p##x, i, j, 0) METAL_SIMULATOR_S3(p##y, i, j, 1) METAL_SIMULATOR_S3(p##z, i, j, 2)
#define METAL_SIMULATOR_E4(p, i, j, k) \
  METAL_SIMULATOR_S4(p##x, i, j, k, 0) \
  METAL_SIMULATOR_S4(p##y, i, j, k, 1) METAL_SIMULATOR_S4(p##z, i, j, k, 2)
template <class T>
struct Components3 {
  static constexpr int stored = 4;
  union {
    typename Native<T, 3>::type native;
    T data[4];
    struct {
      T x, y, z;
    };
    struct {
      T r, g, b;
    };
    METAL_SIMULATOR_E2(x, 0) METAL_SIMULATOR_E2(y, 1) METAL_SIMULATOR_E2(z, 2)
  };
  Components3() = default;
  constexpr Components3(T a, T b, T c) : data{a, b, c, T(0)} {}
};
#undef METAL_SIMULATOR_E2
#undef METAL_SIMULATOR_E3
#undef METAL_SIMULATOR_E4

#define METAL_SIMULATOR_E2(p, i) \
  METAL_SIMULATOR_S2(p##x, i, 0) \
  METAL_SIMULATOR_S2(p##y, i, 1) METAL_SIMULATOR_S2(p##z, i, 2) METAL_SIMULATOR_S2(p##w, i, 3)
#define METAL_SIMULATOR_E3(p, i, j) \
  METAL_SIMULATOR_S3(p##x, i, j, 0) \
  METAL_SIMULATOR_S3(p##y, i, j, 1) METAL_SIMULATOR_S3(p##z, i, j, 2) METAL_SIMULATOR_S3(p##w, i, j, 3)
#define METAL_SIMULATOR_E4(p, i, j, k) \
  METAL_SIMULATOR_S4(p##x, i, j, k, 0) \
  METAL_SIMULATOR_S4(p##y, i, j, k, 1) \
  METAL_SIMULATOR_S4(p##z, i, j, k, 2) METAL_SIMULATOR_S4(p##w, i, j, k, 3)
template <class T>
struct Components4 {
  static constexpr int stored = 4;
  union {
    typename Native<T, 4>::type native;
    T data[4];
    struct {
      T x, y, z, w;
    };
    struct {
      T r, g, b, a;
    };
    METAL_SIMULATOR_E2(x, 0) METAL_SIMULATOR_E2(y, 1) METAL_SIMULATOR_E2(z, 2) METAL_SIMULATOR_E2(w, 3)
  };
  Components4() = default;
  constexpr Components4(T a0, T a1, T a2, T a3) : data{a0, a1, a2, a3} {}
};
#undef METAL_SIMULATOR_E2
#undef METAL_SIMULATOR_E3
#undef METAL_SIMULATOR_E4
#undef METAL_SIMULATOR_S2
#undef METAL_SIMULATOR_S3
#undef METAL_SIMULATOR_S4

template <class T, int N>
struct ComponentsOf {
  typedef Components2<T> type;
};
template <class T>
struct ComponentsOf<T, 3> {
  typedef Components3<T> type;
};
template <class T>
struct ComponentsOf<T, 4> {
  typedef Components4<T> type;
};

// How many components an argument of a constructor brings, and which.
template <class A>
struct Part {
  static constexpr int count = 1;
  METAL_FUNC static constexpr const A& at(const A& a, int) { return a; }
};
template <class T, int N>
struct Part<vec<T, N>> {
  static constexpr int count = N;
  METAL_FUNC static constexpr T at(const vec<T, N>& a, int i) { return a.data[i]; }
};
template <class V, class T, int count_, int... i>
struct Part<Swizzle<V, T, count_, i...>> {
  static constexpr int count = sizeof...(i);
  METAL_FUNC static constexpr T at(const Swizzle<V, T, count_, i...>& a, int k) {
    const int places[] = {i...};
    return a.data[places[k]];
  }
};

template <class T, int k, class First, class... Rest>
METAL_FUNC constexpr T pick(const First& first, const Rest&... rest) {
  if constexpr (k < Part<First>::count)
    return static_cast<T>(Part<First>::at(first, k));
  else
    return pick<T, k - Part<First>::count>(rest...);
}

template <class T, int N>
struct is_integer<vec<T, N>> {
  static constexpr bool value = false;
};

}  // namespace metal_simulator

namespace metal {

template <class T, int N>
struct vec : metal_simulator::ComponentsOf<T, N>::type {
  typedef typename metal_simulator::ComponentsOf<T, N>::type Base;
  typedef metal_simulator::Native<T, N> NativeOf;
  typedef T element_type;

  vec() = default;
  METAL_FUNC vec(const vec& o) { this->native = o.native; }
  METAL_FUNC vec& operator=(const vec& o) {
    this->native = o.native;
    return *this;
  }
  METAL_FUNC constexpr vec(T x) : Base(splat(x)) {}
  template <
      class A, class... B,
      class = enable_if_t<(metal_simulator::Part<A>::count + ... + metal_simulator::Part<B>::count) == N>>
  METAL_FUNC explicit constexpr vec(const A& a, const B&... b) : Base(make(a, b...)) {}

  METAL_FUNC T& operator[](int i) { return this->data[i]; }
  METAL_FUNC const T& operator[](int i) const { return this->data[i]; }

  METAL_FUNC vec operator-() const {
    vec r;
    for (int i = 0; i < N; ++i) r.data[i] = static_cast<T>(-this->data[i]);
    return r;
  }
  METAL_FUNC vec operator+() const { return *this; }
  METAL_FUNC vec operator~() const {
    vec r;
    for (int i = 0; i < N; ++i) r.data[i] = static_cast<T>(~this->data[i]);
    return r;
  }
  METAL_FUNC vec<bool, N> operator!() const {
    vec<bool, N> r;
    for (int i = 0; i < N; ++i) r.data[i] = !this->data[i];
    return r;
  }
  METAL_FUNC vec& operator++() { return *this += T(1); }
  METAL_FUNC vec& operator--() { return *this -= T(1); }

#define METAL_SIMULATOR_OPERATOR(op, whole)                                             \
  METAL_FUNC friend vec operator op(const vec& a, const vec& b) {                       \
    vec r;                                                                              \
    if constexpr (NativeOf::arithmetic && whole) {                                      \
      r.native = a.native op b.native;                                                  \
    } else {                                                                            \
      for (int i = 0; i < N; ++i) r.data[i] = static_cast<T>(a.data[i] op b.data[i]);   \
    }                                                                                   \
    return r;                                                                           \
  }                                                                                     \
  METAL_FUNC friend vec operator op(const vec& a, T b) { return a op vec(b); }          \
  METAL_FUNC friend vec operator op(T a, const vec& b) { return vec(a) op b; }          \
  METAL_FUNC friend vec& operator op## = (vec & a, const vec& b) { return a = a op b; } \
  METAL_FUNC friend vec& operator op## = (vec & a, T b) { return a = a op vec(b); }
  METAL_SIMULATOR_OPERATOR(+, true)
  METAL_SIMULATOR_OPERATOR(-, true)
  METAL_SIMULATOR_OPERATOR(*, true)
  METAL_SIMULATOR_OPERATOR(/, false)
  METAL_SIMULATOR_OPERATOR(%, false)
  METAL_SIMULATOR_OPERATOR(&, true)
  METAL_SIMULATOR_OPERATOR(|, true)
  METAL_SIMULATOR_OPERATOR(^, true)
  METAL_SIMULATOR_OPERATOR(<<, false)
  METAL_SIMULATOR_OPERATOR(>>, false)
#undef METAL_SIMULATOR_OPERATOR

#define METAL_SIMULATOR_COMPARISON(op)                                                  \
  METAL_FUNC friend vec<bool, N> operator op(const vec& a, const vec& b) {              \
    vec<bool, N> r;                                                                     \
    for (int i = 0; i < N; ++i) r.data[i] = a.data[i] op b.data[i];                     \
    return r;                                                                           \
  }                                                                                     \
  METAL_FUNC friend vec<bool, N> operator op(const vec& a, T b) { return a op vec(b); } \
  METAL_FUNC friend vec<bool, N> operator op(T a, const vec& b) { return vec(a) op b; }
  METAL_SIMULATOR_COMPARISON(==)
  METAL_SIMULATOR_COMPARISON(!=)
  METAL_SIMULATOR_COMPARISON(<)
  METAL_SIMULATOR_COMPARISON(>)
  METAL_SIMULATOR_COMPARISON(<=)
  METAL_SIMULATOR_COMPARISON(>=)
  METAL_SIMULATOR_COMPARISON(&&)
  METAL_SIMULATOR_COMPARISON(||)
#undef METAL_SIMULATOR_COMPARISON

 private:
  METAL_FUNC static constexpr Base splat(T x) {
    if constexpr (N == 2)
      return Base(x, x);
    else if constexpr (N == 3)
      return Base(x, x, x);
    else
      return Base(x, x, x, x);
  }
  template <class... A>
  METAL_FUNC static constexpr Base make(const A&... a) {
    using metal_simulator::pick;
    if constexpr (N == 2)
      return Base(pick<T, 0>(a...), pick<T, 1>(a...));
    else if constexpr (N == 3)
      return Base(pick<T, 0>(a...), pick<T, 1>(a...), pick<T, 2>(a...));
    else
      return Base(pick<T, 0>(a...), pick<T, 1>(a...), pick<T, 2>(a...), pick<T, 3>(a...));
  }
};

// Not aligned: as long as its components.
template <class T, int N>
struct packed_vec {
  T data[N];
  typedef T element_type;
  packed_vec() = default;
  METAL_FUNC packed_vec(const vec<T, N>& v) {
    for (int i = 0; i < N; ++i) data[i] = v.data[i];
  }
  METAL_FUNC packed_vec(T x) : packed_vec(vec<T, N>(x)) {}
  template <class A, class B, class... C>
  METAL_FUNC packed_vec(const A& a, const B& b, const C&... c) : packed_vec(vec<T, N>(a, b, c...)) {}
  METAL_FUNC operator vec<T, N>() const {
    vec<T, N> v;
    for (int i = 0; i < N; ++i) v.data[i] = data[i];
    return v;
  }
  METAL_FUNC T& operator[](int i) { return data[i]; }
  METAL_FUNC const T& operator[](int i) const { return data[i]; }
};

}  // namespace metal

#define METAL_SIMULATOR_NAMES(type)                    \
  typedef metal::vec<type, 2> type##2;                 \
  typedef metal::vec<type, 3> type##3;                 \
  typedef metal::vec<type, 4> type##4;                 \
  typedef metal::packed_vec<type, 2> packed_##type##2; \
  typedef metal::packed_vec<type, 3> packed_##type##3; \
  typedef metal::packed_vec<type, 4> packed_##type##4;
METAL_SIMULATOR_NAMES(bool)
METAL_SIMULATOR_NAMES(char)
METAL_SIMULATOR_NAMES(uchar)
METAL_SIMULATOR_NAMES(short)
METAL_SIMULATOR_NAMES(ushort)
METAL_SIMULATOR_NAMES(int)
METAL_SIMULATOR_NAMES(uint)
METAL_SIMULATOR_NAMES(long)
METAL_SIMULATOR_NAMES(ulong)
METAL_SIMULATOR_NAMES(half)
METAL_SIMULATOR_NAMES(bfloat)
METAL_SIMULATOR_NAMES(float)
#undef METAL_SIMULATOR_NAMES

namespace metal {
using ::bfloat;
using ::half;
}  // namespace metal

namespace metal_simulator {
template <class T, int N>
struct position<vec<T, N>> {
  METAL_SIMULATOR_UNCHECKED static vec<T, N> of(const unsigned* v) {
    vec<T, N> r;
    for (int i = 0; i < N; ++i) r.data[i] = static_cast<T>(v[i]);
    return r;
  }
};
}  // namespace metal_simulator
