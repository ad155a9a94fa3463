// any and all: whether some, or every, element differs from zero. A nan does; -0.0 does not. Elements are
// looked at as unsigned integers without their sign bits.
#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA::rows {
namespace {

// kAny: whether an element is nonzero. Otherwise: whether one is zero (the negation of `all`).
template <class U, U kMask, bool kAny>
struct Logic {
  using In = U;
  using Acc = uint8_t;
  using Out = Bool;
  static uint8_t identity() { return 0; }
  static void merge(uint8_t& a, uint8_t b) { a |= b; }
  static uint8_t row(const U* p, int64_t n) {
    constexpr int64_t block = 4096;  // leave early: most rows are decided by their first elements
    for (int64_t begin = 0; begin < n; begin += block) {
      const int64_t end = n - begin < block ? n : begin + block;
      if constexpr (kAny) {
        U seen = 0;
        for (int64_t i = begin; i < end; ++i) seen |= p[i];
        if (seen & kMask) return 1;
      } else {
        U zeros = 0;
        for (int64_t i = begin; i < end; ++i) zeros |= (p[i] & kMask) == 0 ? U{1} : U{0};
        if (zeros) return 1;
      }
    }
    return 0;
  }
  static void cols(const U* in, int64_t rows, int64_t stride, int64_t cols, uint8_t* __restrict acc) {
    const auto flag = [](U x) -> U { return kAny ? x & kMask : (x & kMask) == 0 ? U{1} : U{0}; };
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
      const U* __restrict p = in + r * stride;
      for (int64_t c = 0; c < cols; ++c) {
        const U* q = p + c;
        const U a = flag(q[0]) | flag(q[stride]) | flag(q[2 * stride]) | flag(q[3 * stride]);
        const U b = flag(q[4 * stride]) | flag(q[5 * stride]) | flag(q[6 * stride]) | flag(q[7 * stride]);
        acc[c] |= (a | b) != 0 ? 1 : 0;
      }
    }
    for (; r < rows; ++r) {
      const U* __restrict p = in + r * stride;
      for (int64_t c = 0; c < cols; ++c) acc[c] |= flag(p[c]) != 0 ? 1 : 0;
    }
  }
  static Bool out(uint8_t a, double) { return {static_cast<uint8_t>(kAny ? a : !a)}; }
};

template <bool kAny>
void add(ReduceKernel* row) {
  for_elements([&](auto v) {
    using T = Element<v>;
    if constexpr (std::is_same_v<T, Complex>)
      row[v] = make_reduce<Logic<uint64_t, 0x7fffffff7fffffff, kAny>>();
    else if constexpr (is_half<T>)
      row[v] = make_reduce<Logic<uint16_t, 0x7fff, kAny>>();
    else if constexpr (std::is_same_v<T, float>)
      row[v] = make_reduce<Logic<uint32_t, 0x7fffffff, kAny>>();
    else if constexpr (std::is_same_v<T, double>)
      row[v] = make_reduce<Logic<uint64_t, 0x7fffffffffffffff, kAny>>();
    else {
      using U = std::make_unsigned_t<Compute<T>>;
      row[v] = make_reduce<Logic<U, static_cast<U>(~U{0}), kAny>>();
    }
  });
}

}  // namespace

void add_logic(ReduceTable& table) {
  add<true>(table.at[static_cast<int>(ReduceOp::any)]);
  add<false>(table.at[static_cast<int>(ReduceOp::all)]);
}

}  // namespace mlx::core::cpu::MLX_ISA::rows
