// Element-wise sums and extremes of what processes sent.
#pragma once

#include <cstddef>
#include <type_traits>

#include "mlx/array.h"
#include "mlx/distributed/group.h"

namespace mlx::core::distributed::detail {

// What partial results of T are kept in: 16-bit floats are added in float32 and rounded once.
template <class T>
using Partial = std::conditional_t<std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>, float, T>;

template <class T>
bool is_greater(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, complex64_t>) {
    return a.real() > b.real() || (a.real() == b.real() && a.imag() > b.imag());
  } else {
    return a > b;
  }
}

// As maximum and minimum have it: nan wins.
template <class T>
T combined(Reduction op, const T& a, const T& b) {
  if (op == Reduction::sum) return static_cast<T>(a + b);
  if (a != a) return a;
  if (b != b) return b;
  return is_greater(a, b) == (op == Reduction::max) ? a : b;
}

// out[i] = a[i] with b[i] in P, for one of the three: the choice stands outside of the loop.
template <class P, class A, class B, class Out>
void combine(Reduction op, const A* a, const B* b, Out* out, size_t n) {
  const auto run = [&]<Reduction R>(std::integral_constant<Reduction, R>) {
    for (size_t i = 0; i < n; ++i)
      out[i] = static_cast<Out>(combined<P>(R, static_cast<P>(a[i]), static_cast<P>(b[i])));
  };
  switch (op) {
    case Reduction::sum:
      return run(std::integral_constant<Reduction, Reduction::sum>{});
    case Reduction::max:
      return run(std::integral_constant<Reduction, Reduction::max>{});
    case Reduction::min:
      return run(std::integral_constant<Reduction, Reduction::min>{});
  }
}

}  // namespace mlx::core::distributed::detail
