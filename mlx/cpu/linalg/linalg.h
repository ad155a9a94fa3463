// What the kernels of factorizations share.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "mlx/array.h"
#include "mlx/cpu/linalg/complex.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

// The largest modulus, of complex numbers that of their parts; inf or nan where an element is not finite.
// (Without signs, bits are in the order of the numbers, nan last; loops over integers become vectors.)
template <class S>
Real<S> largest_modulus(const S* x, int64_t n) {
  using T = Real<S>;
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  constexpr Bits sign = std::numeric_limits<Bits>::max();
  Bits most = 0;
  for (int64_t i = 0; i < kParts<S> * n; ++i)
    most = std::max<Bits>(most, std::bit_cast<Bits>(reals(x)[i]) & sign);
  return std::bit_cast<T>(most);
}

// What reductions of n x n matrices are done in, by f.operator()<Work>(): float32 and complex64 ones of many
// rows as they are, since doubles would be twice the memory; all others in double.
constexpr int64_t kInDouble = 64;
template <class S, class F>
void in_working_type(int64_t n, F&& f) {
  if (n > kInDouble / kParts<S>)
    f.template operator()<S>();
  else
    f.template operator()<std::conditional_t<kComplex<S>, Z, double>>();
}

// f.operator()<S>(i) for each matrix of a batch that is not empty, S being float, double or C: small ones
// several to an item; a single one outside of any item, so that it may use all threads. `weight`: how much
// work an element is.
template <class F>
void each_matrix(const array& a, int64_t weight, F&& f) {
  const int64_t elements = int64_t{a.shape(-1)} * a.shape(-2),
                batch = static_cast<int64_t>(a.size()) / elements;
  const int64_t longer = std::max(a.shape(-1), a.shape(-2));
  const int64_t grain = std::max<int64_t>(1, 16384 / (elements * longer * weight));
  const auto all = [&]<class T>(T) {
    // Matrices that fill the machine alone go one by one.
    if (batch < num_threads() && longer >= 256) {
      for (int64_t i = 0; i < batch; ++i) f.template operator()<T>(i);
      return;
    }
    parallel_ranges(batch, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f.template operator()<T>(i);
    });
  };
  a.dtype() == float64 ? all(double{}) : a.dtype() == complex64 ? all(C{}) : all(float{});
}

}  // namespace mlx::core::cpu
