// Element k of a x b is made of the elements k + 1 and k + 2 of both, counted modulo 3: one place ahead and
// one back, or two places, where the count wraps round. So whole vectors of numbers, as they lie, are
// computed from four loads of each operand, and which of them a lane takes recurs after three vectors.
// Compiled with -ffp-contract=off.
#include "mlx/cpu/isa/cross.h"

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Crossed {
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;

  // Of `first` in the lanes whose element is `wrapped`, lane 0 being element `at`, else of `second`.
  template <int wrapped, int at, int... i>
  static V choose(V first, V second, std::integer_sequence<int, i...>) {
    return __builtin_shufflevector(first, second, ((at + i) % 3 == wrapped ? i : i + kN)...);
  }
  template <int at>
  static void vector(const T* a, const T* b, T* out) {
    constexpr auto lanes = std::make_integer_sequence<int, kN>{};
    const auto next = [&](const T* p) { return choose<2, at>(loadu<V>(p - 2), loadu<V>(p + 1), lanes); };
    const auto after = [&](const T* p) { return choose<0, at>(loadu<V>(p + 2), loadu<V>(p - 1), lanes); };
    storeu(out, next(a) * after(b) - after(a) * next(b));
  }
  static void one(const T* a, const T* b, T* out) {
    for (int k = 0; k < 3; ++k) {
      const int p = (k + 1) % 3, q = (k + 2) % 3;
      out[k] = a[p] * b[q] - a[q] * b[p];
    }
  }
  static void run(const T* a, const T* b, T* out, int64_t n) {
    int64_t i = 0;
    // The loads begin two numbers before and end two behind.
    if (n > kN + 1) {
      one(a, b, out);
      for (i = 1; i + kN + 1 <= n; i += kN) {
        const int64_t at = 3 * i;
        vector<0>(a + at, b + at, out + at);
        vector<kN % 3>(a + at + kN, b + at + kN, out + at + kN);
        vector<2 * kN % 3>(a + at + 2 * kN, b + at + 2 * kN, out + at + 2 * kN);
      }
    }
    for (; i < n; ++i) one(a + 3 * i, b + 3 * i, out + 3 * i);
  }
};

}  // namespace

const CrossTable& cross_kernels_table() {
  static const CrossTable table{Crossed<float>::run, Crossed<double>::run};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
