// Functions of scalars, applied to the components of vectors. An argument may be a scalar, a vector, or a
// part of one (v.xy); scalars meet vectors as vectors of themselves.
#pragma once
#include <metal_type_traits>

namespace metal_simulator {

// The type of an argument's value, of its components, and how many it has.
template <class X>
struct Value {
  typedef X type;
  typedef X element;
  static constexpr int count = 1;
};
template <class T, int n>
struct Value<vec<T, n>> {
  typedef vec<T, n> type;
  typedef T element;
  static constexpr int count = n;
};
template <class T, int n>
struct Value<metal::packed_vec<T, n>> : Value<vec<T, n>> {};
template <class V, class T, int stored, int... i>
struct Value<Swizzle<V, T, stored, i...>> : Value<V> {};

template <class T, int n>
struct Many {
  typedef vec<T, n> type;
};
template <class T>
struct Many<T, 1> {
  typedef T type;
};

// Of two scalars that meet: a float where one is, as in the operators.
template <class A, class B>
struct Both {
  typedef decltype(A() + B()) type;
};
template <class A>
struct Both<A, A> {
  typedef A type;
};
template <class A, class... B>
struct Common {
  typedef typename Value<A>::element element;
  static constexpr int count = Value<A>::count;
};
template <class A, class B, class... C>
struct Common<A, B, C...> {
  typedef Common<B, C...> Rest;
  typedef typename Both<typename Value<A>::element, typename Rest::element>::type element;
  static constexpr int count = Value<A>::count > Rest::count ? Value<A>::count : Rest::count;
};
template <class... X>
using CommonElement = typename Common<X...>::element;
template <class... X>
using CommonType = typename Many<typename Common<X...>::element, Common<X...>::count>::type;

// What functions of real numbers are computed in: an integer argument is taken as a float.
template <class T>
using RealElement = metal::conditional_t<is_integer<T>::value, float, T>;
template <class... X>
using RealType = typename Many<RealElement<CommonElement<X...>>, Common<X...>::count>::type;

template <class T, class X>
METAL_FUNC T component(const X& x, int i) {
  if constexpr (Value<X>::count == 1) {
    (void)i;
    return static_cast<T>(x);
  } else {
    return static_cast<T>(static_cast<const typename Value<X>::type&>(x).data[i]);
  }
}

// f of the components, which it gets as T, put together to an R.
template <class R, class T, class F, class... X>
METAL_FUNC R map(F f, const X&... x) {
  typedef typename Value<R>::element E;
  if constexpr (Value<R>::count == 1) {
    return static_cast<R>(f(component<T>(x, 0)...));
  } else {
    R r;
    for (int i = 0; i < Value<R>::count; ++i) r.data[i] = static_cast<E>(f(component<T>(x, i)...));
    return r;
  }
}

}  // namespace metal_simulator
