// Builds a ReduceKernel from a type with a handful of static members; used by the reduce_*.cpp sources.
#pragma once

#include "mlx/cpu/isa/copy_transpose.h"
#include "mlx/cpu/isa/reduce.h"
#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA::rows {

template <class T>
using SameSize = std::conditional_t<
    sizeof(T) == 1, uint8_t,
    std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

// Fold has: types In, Acc, Out; identity(); merge(Acc&, Acc); row(const In*, n) -> Acc; cols(...); out(Acc,
// divisor).
template <class Fold>
ReduceKernel make_reduce() {
  using In = typename Fold::In;
  using Acc = typename Fold::Acc;
  using Out = typename Fold::Out;
  ReduceKernel k;
  k.init = [](void* acc, int64_t count) {
    Acc* a = static_cast<Acc*>(acc);
    for (int64_t i = 0; i < count; ++i) a[i] = Fold::identity();
  };
  k.rows = [](const void* in, int64_t rows, int64_t stride, int64_t n, void* acc) {
    const In* p = static_cast<const In*>(in);
    Acc* a = static_cast<Acc*>(acc);
    int64_t r = 0;
    if (n <= 16) {
      // Short rows: transposed, 64 of them at a time, so that whole vectors are folded.
      constexpr int64_t width = 64;
      In tile[16 * width];
      // Whole squares read behind the rows, where more of them follow.
      using Bits = SameSize<In>;
      constexpr int64_t side = register_bytes<Bits>() / static_cast<int64_t>(sizeof(Bits));
      constexpr bool squares = side <= 16;
      for (; r + width <= rows; r += width) {
        if (squares && 2 * n > side && stride >= n && (rows - r - width) * stride >= side) {
          for (int64_t j = 0; j < n; j += side)
            for (int64_t i = 0; i < width; i += side)
              transpose_square<Bits, squares ? side : 1>(
                  reinterpret_cast<const Bits*>(p + (r + i) * stride + j), stride,
                  reinterpret_cast<Bits*>(tile + j * width + i), width);
          Fold::cols(tile, n, width, width, a + r);
          continue;
        }
        for (int64_t j = 0; j < n; ++j) {
          const In* q = p + r * stride + j;
          for (int64_t i = 0; i < width; ++i) tile[j * width + i] = q[i * stride];
        }
        Fold::cols(tile, n, width, width, a + r);
      }
    }
    for (; r < rows; ++r)
      for (int64_t i = 0; i < n; i += kRowBlock)
        Fold::merge(a[r], Fold::row(p + r * stride + i, n - i < kRowBlock ? n - i : kRowBlock));
  };
  k.cols = [](const void* in, int64_t rows, int64_t stride, int64_t cols, void* acc) {
    // Tiles of columns whose accumulators stay in the first-level cache.
    constexpr int64_t tile = 1024;
    for (int64_t c = 0; c < cols; c += tile)
      Fold::cols(static_cast<const In*>(in) + c, rows, stride, cols - c < tile ? cols - c : tile,
                 static_cast<Acc*>(acc) + c);
  };
  k.merge = [](void* acc, const void* part, int64_t count) {
    Acc* a = static_cast<Acc*>(acc);
    const Acc* b = static_cast<const Acc*>(part);
    for (int64_t i = 0; i < count; ++i) Fold::merge(a[i], b[i]);
  };
  k.finish = [](const void* acc, int64_t count, double divisor, void* out) {
    const Acc* a = static_cast<const Acc*>(acc);
    Out* o = static_cast<Out*>(out);
    for (int64_t i = 0; i < count; ++i) o[i] = Fold::out(a[i], divisor);
  };
  k.acc_bytes = sizeof(Acc);
  return k;
}

// A fold whose columns are a plain loop over one row after the other: right for integers, where the compiler
// vectorises it, and for complex numbers.
template <class Self, class In, class Acc>
struct PlainColumns {
  static void cols(const In* in, int64_t rows, int64_t stride, int64_t cols, Acc* __restrict acc) {
    for (int64_t r = 0; r < rows; ++r) {
      const In* __restrict p = in + r * stride;
      for (int64_t c = 0; c < cols; ++c) Self::merge(acc[c], Self::lift(p[c]));
    }
  }
  static Acc row(const In* p, int64_t n) {
    Acc acc = Self::identity();
    for (int64_t i = 0; i < n; ++i) Self::merge(acc, Self::lift(p[i]));
    return acc;
  }
};

// fill(table entries of one op): calls entry<V>() for every dtype number.
template <class F, int... V>
void for_elements(F&& f, std::integer_sequence<int, V...>) {
  (f(std::integral_constant<int, V>{}), ...);
}
template <class F>
void for_elements(F&& f) {
  for_elements(static_cast<F&&>(f), std::make_integer_sequence<int, kElements>{});
}

void add_sums(ReduceTable& table);
void add_products(ReduceTable& table);
void add_extremes(ReduceTable& table);
void add_logic(ReduceTable& table);
void add_moments(ReduceTable& table);

}  // namespace mlx::core::cpu::MLX_ISA::rows
