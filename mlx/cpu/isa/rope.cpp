#include "mlx/cpu/isa/rope.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class V, int... I>
inline V evens(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...);
}
template <class V, int... I>
inline V odds(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + 1)...);
}
template <int kFrom, class V, int... I>
inline V zipped(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (kFrom + I / 2 + (I % 2) * n)...);
}

template <class T, bool kTraditional>
void rotate_row(const T* x, int64_t n, int64_t half, bool inverse, const Compute<T>* c, const Compute<T>* s,
                T* y) {
  using C = Compute<T>;
  using V = Vec<C>;
  constexpr int kN = kLanes<C>;
  constexpr std::make_integer_sequence<int, kN> lanes{};
  const C sign = inverse ? C{-1} : C{1};
  int64_t p = 0;
  for (; p + kN <= half; p += kN) {
    const V cosine = loadu<V>(c + p), sine = loadu<V>(s + p) * sign;
    if constexpr (kTraditional) {
      const V a = load(x + 2 * p), b = load(x + 2 * p + kN);
      const V x0 = evens(a, b, lanes), x1 = odds(a, b, lanes);
      const V y0 = x0 * cosine - x1 * sine, y1 = x0 * sine + x1 * cosine;
      store(y + 2 * p, zipped<0>(y0, y1, lanes));
      store(y + 2 * p + kN, zipped<kN / 2>(y0, y1, lanes));
    } else {
      const V x0 = load(x + p), x1 = load(x + half + p);
      store(y + p, x0 * cosine - x1 * sine);
      store(y + half + p, x0 * sine + x1 * cosine);
    }
  }
  for (; p < half; ++p) {
    const int64_t i = kTraditional ? 2 * p : p, j = kTraditional ? 2 * p + 1 : half + p;
    const C x0 = get(x[i]), x1 = get(x[j]), sine = s[p] * sign;
    put(y + i, x0 * c[p] - x1 * sine);
    put(y + j, x0 * sine + x1 * c[p]);
  }
  if (x != y && n > 2 * half) __builtin_memcpy(y + 2 * half, x + 2 * half, (n - 2 * half) * sizeof(T));
}

template <class T>
void rotate(const void* in, int64_t rows, int64_t stride, int64_t n, int64_t half, bool traditional,
            bool inverse, const void* cosines, const void* sines, int64_t out_stride, void* out) {
  using C = Compute<T>;
  const auto row = traditional ? rotate_row<T, true> : rotate_row<T, false>;
  for (int64_t r = 0; r < rows; ++r)
    row(static_cast<const T*>(in) + r * stride, n, half, inverse, static_cast<const C*>(cosines) + r * half,
        static_cast<const C*>(sines) + r * half, static_cast<T*>(out) + r * out_stride);
}

}  // namespace

const RopeTable& rope_kernels_table() {
  static const RopeTable table = [] {
    RopeTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>) t.at[v].rotate = rotate<T>;
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
