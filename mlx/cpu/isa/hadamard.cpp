#include "mlx/cpu/isa/hadamard.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Hadamard {
  using C = Compute<T>;
  using V = Vec<C>;
  static constexpr int kN = kLanes<C>;
  static constexpr int64_t kBlock = 4096;  // transformed whole while it lies in the first cache

  // Butterflies between the lanes i and i ^ h of a vector.
  template <int h, int... I>
  static V within(V v, std::integer_sequence<int, I...>) {
    const V other = __builtin_shufflevector(v, v, (I ^ h)...);
    const V sign = {(I & h ? C{-1} : C{1})...};
    return other + sign * v;
  }
  template <int h>
  static V across_lanes(V v) {
    if constexpr (h < kN)
      return across_lanes<2 * h>(within<h>(v, std::make_integer_sequence<int, kN>{}));
    else
      return v;
  }

  // Butterflies of distance h and, where there is room, of 2 h in the same pass; returns the next distance.
  template <class W>
  static int64_t pass(C* x, int64_t n, int64_t h) {
    constexpr int64_t step = sizeof(W) / sizeof(C);
    if (4 * h > n) {
      for (int64_t i = 0; i < n; i += 2 * h)
        for (C *p = x + i, *end = p + h; p < end; p += step) {
          const W a = loadu<W>(p), b = loadu<W>(p + h);
          storeu(p, a + b), storeu(p + h, a - b);
        }
      return 2 * h;
    }
    for (int64_t i = 0; i < n; i += 4 * h)
      for (C *p = x + i, *end = p + h; p < end; p += step) {
        const W a = loadu<W>(p), b = loadu<W>(p + h), c = loadu<W>(p + 2 * h), d = loadu<W>(p + 3 * h);
        const W ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        storeu(p, ab + cd), storeu(p + h, a_b + c_d);
        storeu(p + 2 * h, ab - cd), storeu(p + 3 * h, a_b - c_d);
      }
    return 4 * h;
  }

  static void run(const T* in, int64_t n, C* x) {
    if (n < kN) {
      for (int64_t i = 0; i < n; ++i) x[i] = get(in[i]);
      for (int64_t h = 1; h < n;) h = pass<C>(x, n, h);
      return;
    }
    const int64_t block = n < kBlock ? n : kBlock;
    for (int64_t b = 0; b < n; b += block) {
      for (int64_t i = b; i < b + block; i += kN) storeu(x + i, across_lanes<1>(load(in + i)));
      for (int64_t h = kN; h < block;) h = pass<V>(x + b, block, h);
    }
    for (int64_t h = block; h < n;) h = pass<V>(x, n, h);
  }

  static void combine(const C* x, int64_t m, int64_t length, const int8_t* signs, C scale, T* out) {
    for (int64_t j = 0; j < m; ++j) {
      T* to = out + j * length;
      int64_t k = 0;
      for (; k + kN <= length; k += kN) {
        V sum = loadu<V>(x + k) * static_cast<C>(signs[j]);
        for (int64_t i = 1; i < m; ++i)
          sum += loadu<V>(x + i * length + k) * static_cast<C>(signs[i * m + j]);
        store(to + k, sum * scale);
      }
      for (; k < length; ++k) {
        C sum = x[k] * static_cast<C>(signs[j]);
        for (int64_t i = 1; i < m; ++i) sum += x[i * length + k] * static_cast<C>(signs[i * m + j]);
        put(to + k, sum * scale);
      }
    }
  }

  static void transform(const void* in, int64_t rows, int64_t m, int64_t length, const int8_t* signs,
                        double scale, void* buffer, void* out) {
    C* x = static_cast<C*>(buffer);
    const int64_t n = m * length;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < m; ++i)
        run(static_cast<const T*>(in) + r * n + i * length, length, x + i * length);
      combine(x, m, length, signs, static_cast<C>(scale), static_cast<T*>(out) + r * n);
    }
  }
};

}  // namespace

const HadamardTable& hadamard_kernels_table() {
  static const HadamardTable table = [] {
    HadamardTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>) t.at[v].transform = Hadamard<T>::transform;
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
