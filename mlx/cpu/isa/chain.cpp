#include "mlx/cpu/isa/chain.h"

#include "mlx/cpu/isa/lane_values.h"
#include "mlx/cpu/isa/stream.h"
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

constexpr int kRegisters = 8;  // as many as calls pass
constexpr int kBlock = kRegisters * kWidth;

using StepFn = void (*)(const ChainStep*, int64_t, V, V, V, V, V, V, V, V);

// --- memory ---

using Bytes = int8_t __attribute__((vector_size(kWidth)));

template <class T>
V load_lanes(const T* p) {
  return rows::load(p);
}
template <>
inline V load_lanes(const b8* p) {
  return mask(__builtin_convertvector(rows::loadu<Bytes>(p) != 0, Bits));  // whatever byte stands for true
}
template <class T>
void store_lanes(T* p, V v) {
  rows::store(p, v);
}
template <>
inline void store_lanes(b8* p, V v) {
  rows::storeu(p, __builtin_convertvector(-bits(v), Bytes));
}

template <class T>
const T* operand(const ChainStep* s, int k, int64_t i) {
  const T* p = reinterpret_cast<const T*>(s->at[k]) + (i & s->moves[k]);
  __asm__("" : "+r"(p));  // two addresses are no vector: gcc took them through memory to make one of them
  return p;
}

// --- steps ---

// The jump at the end of every step: a call in tail position, of a function with the same parameters.
inline StepFn next_of(const ChainStep* s) { return reinterpret_cast<StepFn>(s[1].fn); }

// F: made of (step, i); f(v, k) is the k-th register anew.
template <class F>
void each(const ChainStep* s, int64_t i, V a, V b, V c, V d, V e, V f, V g, V h) {
  const F op(s, i);
  a = op(a, 0), b = op(b, 1), c = op(c, 2), d = op(d, 3);
  e = op(e, 4), f = op(f, 5), g = op(g, 6), h = op(h, 7);
  return next_of(s)(s + 1, i, a, b, c, d, e, f, g, h);
}
// f(all registers in memory), where they are read again.
template <class F>
void together(const ChainStep* s, int64_t i, V a, V b, V c, V d, V e, V f, V g, V h) {
  alignas(64) V all[kRegisters] = {a, b, c, d, e, f, g, h};
  F::apply(s, i, reinterpret_cast<float*>(all));
  return next_of(s)(s + 1, i, all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7]);
}
template <class F>
void finish(const ChainStep* s, int64_t i, V a, V b, V c, V d, V e, V f, V g, V h) {
  const F op(s, i);
  op(a, 0), op(b, 1), op(c, 2), op(d, 3), op(e, 4), op(f, 5), op(g, 6), op(h, 7);
}

// What comes before reads memory before what comes after: the processor's own prefetching follows addresses
// that rise. In the order that a compiler likes, adding two arrays took 1.5 times as long on Zen 4.
inline void in_order() { __asm__ volatile("" ::: "memory"); }

// How many bytes ahead memory is asked for.
constexpr int kAhead = 2048;

template <class T, bool ahead>
struct Load {
  const T* from;
  Load(const ChainStep* s, int64_t i) : from(operand<T>(s, 0, i)) {}
  V operator()(V, int k) const {
    const T* p = from + k * kWidth;
    if (ahead && k * sizeof(V) % 64 == 0) __builtin_prefetch(reinterpret_cast<const char*>(p) + kAhead);
    const V v = load_lanes(p);
    in_order();
    return v;
  }
};
template <class T, bool ahead>
struct Store {
  T* to;
  Store(const ChainStep* s, int64_t i) : to(const_cast<T*>(operand<T>(s, 0, i))) {}
  V operator()(V v, int k) const {
    T* p = to + k * kWidth;
    if (ahead && k * sizeof(V) % 64 == 0) __builtin_prefetch(reinterpret_cast<char*>(p) + kAhead, 1);
    store_lanes(p, v);
    return v;
  }
};
template <class T>
struct Stream {
  T* to;
  Stream(const ChainStep* s, int64_t i) : to(const_cast<T*>(operand<T>(s, 0, i))) {}
  V operator()(V v, int k) const {
    if constexpr (__is_same(T, float)) {
      stream_store(to + k * kWidth, v);
    } else {
      T narrow[kWidth];
      store_lanes(narrow, v);
      stream_half(to + k * kWidth, narrow);
    }
    return v;
  }
};
#if MLX_ISA_LEVEL >= 4
// Two registers of bfloat16 at once: rounded in the upper halves of their lanes, which one instruction brings
// together. The bits of store_float (half.h), in two thirds of its instructions.
inline __m512i rounded_above(V v) {
  const __m512i u = _mm512_castps_si512(v);
  const __m512i even = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
  const __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
  const __m512i sum = _mm512_mask_sub_epi32(even, odd, even, _mm512_set1_epi32(-1));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(sum, nan, u, _mm512_set1_epi32(0x400000));
}
inline __m512i two_narrow(V v, V w) {
  alignas(64) static constexpr uint16_t upper[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                     23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                     45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(rounded_above(v), _mm512_load_si512(upper), rounded_above(w));
}
// How a store ends: `last` ends the chain too.
enum class Writes { near, ahead, past };
template <Writes how, bool last>
void store_brain(const ChainStep* s, int64_t i, V a, V b, V c, V d, V e, V f, V g, V h) {
  bf16* to = const_cast<bf16*>(operand<bf16>(s, 0, i));
  const auto two = [&](V v, V w, int k) {
    bf16* p = to + k * kWidth;
    if (how == Writes::ahead) __builtin_prefetch(reinterpret_cast<char*>(p) + kAhead, 1);
    if (how == Writes::past)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(p), two_narrow(v, w));
    else
      _mm512_storeu_si512(p, two_narrow(v, w));
  };
  two(a, b, 0), two(c, d, 2), two(e, f, 4), two(g, h, 6);
  if constexpr (!last) return next_of(s)(s + 1, i, a, b, c, d, e, f, g, h);
}
#endif
// To T and back.
template <class T>
struct Round {
  Round(const ChainStep*, int64_t) {}
  V operator()(V v, int) const {
    if constexpr (std::is_same_v<T, bf16>) {
#if MLX_ISA_LEVEL >= 4
      const __m512i u = _mm512_castps_si512(v);
      const __m512i even = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
      const __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
      const __m512i sum = _mm512_mask_sub_epi32(even, odd, even, _mm512_set1_epi32(-1));
      const __mmask16 number = _mm512_cmp_ps_mask(v, v, _CMP_ORD_Q);
      return _mm512_castsi512_ps(_mm512_mask_and_epi32(u, number, sum, _mm512_set1_epi32(~0xffff)));
#else
      const Bits u = bits(v), odd = (u >> 16) & 1;
      return nan_or(v, mask((u + 0x7fff + odd) & ~0xffff));
#endif
    }
#if MLX_ISA_LEVEL >= 4
    return _mm512_cvtph_ps(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#elif MLX_ISA_LEVEL == 3
    return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
    T narrow[kWidth];
    store_lanes(narrow, v);
    return load_lanes(narrow);
#endif
  }
};
struct ToNumber {
  ToNumber(const ChainStep*, int64_t) {}
  V operator()(V v, int) const { return mask(bits(v) & bits(rows::splat<V>(1.0f))); }
};
struct ToBool {
  ToBool(const ChainStep*, int64_t) {}
  V operator()(V v, int) const { return mask(v != 0.0f); }
};

// numbers: which of the operands in memory (1: the first, 2: the second) are one number, read once.
template <class R, int place, int numbers>
struct Operation {
  const float *first, *second;
  V number[2];
  Operation(const ChainStep* s, int64_t i)
      : first(R::arity > 1 ? operand<float>(s, 0, i) : nullptr),
        second(R::arity > 2 ? operand<float>(s, 1, i) : nullptr) {
    if constexpr ((numbers & 1) != 0) number[0] = every_lane(*first);
    if constexpr ((numbers & 2) != 0) number[1] = every_lane(*second);
  }
  V operator()(V v, int k) const {
    if constexpr (R::arity == 1) {
      return lane_value(R{}, v);
    } else {
      const V x = (numbers & 1) != 0 ? number[0] : load_lanes(first + k * kWidth);
      if constexpr (R::arity == 2) {
        v = place == 0 ? lane_value(R{}, v, x) : lane_value(R{}, x, v);
      } else {
        const V y = (numbers & 2) != 0 ? number[1] : load_lanes(second + k * kWidth);
        v = place == 0   ? lane_value(R{}, v, x, y)
            : place == 1 ? lane_value(R{}, x, v, y)
                         : lane_value(R{}, x, y, v);
      }
      if constexpr (numbers != (R::arity == 2 ? 1 : 3)) in_order();
      return v;
    }
  }
};

template <int place>
struct Call {
  static void apply(const ChainStep* s, int64_t i, float* all) {
    const float* x = operand<float>(s, 0, i);
    const float* y = operand<float>(s, 1, i);
    if constexpr (place == 0) s->tile(all, all, x, y, kBlock);
    if constexpr (place == 1) s->tile(all, x, all, y, kBlock);
    if constexpr (place == 2) s->tile(all, x, y, all, kBlock);
  }
};

#if MLX_ISA_LEVEL >= 3
// Functions with a form for registers, here without a call.
template <class R>
struct Registers {
  static void apply(const ChainStep*, int64_t, float* all) {
    for (int i = 0; i < kBlock; i += 16) store_wide(all + i, vector_value(R{}, load_wide(all + i)));
  }
};
template <class R, int place>
struct RegistersOfTwo {
  static void apply(const ChainStep* s, int64_t i, float* all) {
    const float* other = operand<float>(s, 0, i);
    for (int k = 0; k < kBlock; k += 16) {
      const auto v = load_wide(all + k), x = load_wide(other + k);
      store_wide(all + k, place == 0 ? vector_value(R{}, v, x) : vector_value(R{}, x, v));
    }
  }
};
#endif

ChainStep::Fn erased(StepFn fn) { return reinterpret_cast<ChainStep::Fn>(fn); }

template <class R, int place, int... numbers>
void enter_place(Chains& to) {
  ((to.op[row::op_of<R>][place][numbers] = erased(each<Operation<R, place, numbers>>)), ...);
}
template <class R>
void enter_row(Chains& to) {
  if constexpr (R::arity == 1) {
    if constexpr (requires(V v) { lane_value(R{}, v); }) enter_place<R, 0, 0>(to);
#if MLX_ISA_LEVEL >= 3
    if constexpr (has_vector_value<R, float, float>)
      to.op[row::op_of<R>][0][0] = erased(together<Registers<R>>);
#endif
  } else if constexpr (R::arity == 2) {
    if constexpr (requires(V v) { lane_value(R{}, v, v); }) {
      enter_place<R, 0, 0, 1>(to);
      enter_place<R, 1, 0, 1>(to);
    }
#if MLX_ISA_LEVEL >= 3
    if constexpr (has_vector_value<R, float, float, float>) {
      for (int numbers = 0; numbers < 2; ++numbers) {
        to.op[row::op_of<R>][0][numbers] = erased(together<RegistersOfTwo<R, 0>>);
        to.op[row::op_of<R>][1][numbers] = erased(together<RegistersOfTwo<R, 1>>);
      }
    }
#endif
  } else if constexpr (requires(V v) { lane_value(R{}, v, v, v); }) {
    enter_place<R, 0, 0, 1, 2, 3>(to);
    enter_place<R, 1, 0, 1, 2, 3>(to);
    enter_place<R, 2, 0, 1, 2, 3>(to);
  }
}
template <class... Rows>
void enter_rows(Chains& to, row::RowList<Rows...>) {
  (enter_row<Rows>(to), ...);
}

template <class T>
void enter_kind(Chains& to, Chains::Kind kind) {
  to.load[Chains::brisk][kind] = erased(each<Load<T, false>>);
  to.also.store[Chains::brisk][kind] = erased(each<Store<T, false>>);
  to.last.store[Chains::brisk][kind] = erased(finish<Store<T, false>>);
  to.load[Chains::lasting][kind] = erased(each<Load<T, true>>);
  to.also.store[Chains::lasting][kind] = erased(each<Store<T, true>>);
  to.last.store[Chains::lasting][kind] = erased(finish<Store<T, true>>);
  if constexpr (!std::is_same_v<T, b8>) {
    to.also.stream[kind] = erased(each<Stream<T>>);
    to.last.stream[kind] = erased(finish<Stream<T>>);
  }
}

static void run_chain(const ChainStep* chain, int64_t n) {
  const auto first = reinterpret_cast<StepFn>(chain->fn);
  const V none{};
  for (int64_t i = 0; i < n; i += kBlock) first(chain, i, none, none, none, none, none, none, none, none);
}

static Chains make_chains() {
  Chains to{};
  to.block = kBlock;
  enter_kind<float>(to, Chains::lanes);
  enter_kind<f16>(to, Chains::half);
  enter_kind<bf16>(to, Chains::brain);
  enter_kind<b8>(to, Chains::boolean);
#if MLX_ISA_LEVEL >= 4
  to.also.store[Chains::brisk][Chains::brain] = erased(store_brain<Writes::near, false>);
  to.last.store[Chains::brisk][Chains::brain] = erased(store_brain<Writes::near, true>);
  to.also.store[Chains::lasting][Chains::brain] = erased(store_brain<Writes::ahead, false>);
  to.last.store[Chains::lasting][Chains::brain] = erased(store_brain<Writes::ahead, true>);
  to.also.stream[Chains::brain] = erased(store_brain<Writes::past, false>);
  to.last.stream[Chains::brain] = erased(store_brain<Writes::past, true>);
#endif
  to.keep = erased(each<Store<float, false>>);
  to.recall = erased(each<Load<float, false>>);
  enter_rows(to, row::Table{});
  to.call[0] = erased(together<Call<0>>);
  to.call[1] = erased(together<Call<1>>);
  to.call[2] = erased(together<Call<2>>);
  to.round[Chains::half] = erased(each<Round<f16>>);
  to.round[Chains::brain] = erased(each<Round<bf16>>);
  to.to_number = erased(each<ToNumber>);
  to.to_bool = erased(each<ToBool>);
  to.run = run_chain;
  return to;
}

const Chains& chains_table() {
  static const Chains table = make_chains();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
