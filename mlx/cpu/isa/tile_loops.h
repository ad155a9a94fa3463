// From `value(Row, ...)` to tile functions. A loop always runs over whole vectors: where some
// elements are left over the last vector overlaps the one before it, or goes through a padded copy, so each
// function is compiled once, without scalar remainders.
#pragma once

#include <cstddef>
#include <type_traits>

#include "mlx/cpu/isa/tiles.h"
// All values, before the templates below: lookup by argument does not find them for plain numbers.
#include "mlx/cpu/isa/values_complex.h"
#include "mlx/cpu/isa/values_int.h"
#include "mlx/cpu/isa/values_real.h"
#include "mlx/cpu/isa/vector_values.h"
#include "mlx/cpu/isa/vector_values_arc.h"
#include "mlx/cpu/isa/vector_values_avx2.h"
#include "mlx/cpu/isa/vector_values_log.h"

#if defined(__clang__)
// Calls of the C library stay scalar: no need to say so for each.
#pragma clang diagnostic ignored "-Wpass-failed"
#define MLX_OUTLINED __attribute__((noinline))
#define MLX_INDEPENDENT _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#else
#define MLX_OUTLINED __attribute__((noinline, noclone))
#define MLX_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace mlx::core::cpu::MLX_ISA {

template <class R, class T>
using ResultOf =
    std::conditional_t<R::result == row::Out::boolean, b8,
                       std::conditional_t<R::result == row::Out::real&& __is_same(T, c64), float, T>>;

template <class T, class V>
T stored(V v) {
  return v;
}
template <>
inline b8 stored<b8, bool>(bool v) {
  return {static_cast<uint8_t>(v)};
}

// Elements that make whole vectors of every operand and result.
template <class... T>
constexpr int64_t lanes() {
  int64_t n = 1;
  ((n = n > 64 / static_cast<int64_t>(sizeof(T)) ? n : 64 / static_cast<int64_t>(sizeof(T))), ...);
  return n;
}

template <class R, class... Rows>
inline constexpr bool one_of = (__is_same(R, Rows) || ...);

// Rows that call the C library or loop per element: padding would cost more than it saves.
template <class R>
inline constexpr bool calls_library =
    one_of<R, row::Log2, row::Log10, row::Log1p, row::Tan, row::Sinh, row::Cosh, row::Arcsin, row::Arccos,
           row::Arctan, row::Arcsinh, row::Arccosh, row::Arctanh, row::Erf, row::Erfc, row::Erfinv, row::Gelu,
           row::Lgamma, row::Digamma, row::Polygamma, row::Power, row::LogAddExp, row::Arctan2, row::Hypot,
           row::Remainder>;
template <class R, class T>
inline constexpr bool per_element = one_of<R, row::Polygamma>;
template <class R>
inline constexpr bool per_element<R, double> =
    calls_library<R> || (MLX_ISA_LEVEL == 2 && one_of<R, row::Sin, row::Cos>);
template <class R>
inline constexpr bool per_element<R, c64> = one_of<R, row::Arcsin, row::Arccos, row::Arctan, row::Arcsinh,
                                                   row::Arccosh, row::Arctanh, row::LogAddExp>;
template <class R, Int T>
inline constexpr bool per_element<R, T> =
    one_of<R, row::Power> || (sizeof(T) == 8 && one_of<R, row::FloorDivide, row::Remainder>);

// Sixteen floats for `vector_value`.
#if MLX_ISA_LEVEL >= 4
using Wide = __m512;
inline Wide load_wide(const float* p) { return _mm512_loadu_ps(p); }
inline void store_wide(float* p, Wide x) { _mm512_storeu_ps(p, x); }
#endif
#if MLX_ISA_LEVEL >= 3
template <class R, class... T>
inline constexpr bool has_vector_value = false;
template <class R>
inline constexpr bool has_vector_value<R, float, float> = requires(Wide x) { vector_value(R{}, x); };
template <class R>
inline constexpr bool has_vector_value<R, float, float, float> =
    requires(Wide x) { vector_value(R{}, x, x); };
#endif

// n is a multiple of lanes, or anything where rows are computed per element.
template <class R, int64_t Lanes, class O, class... In>
MLX_OUTLINED void whole_vectors(O* out, int64_t n, const In*... in) {
  n &= -Lanes;
#if MLX_ISA_LEVEL >= 3
  if constexpr (has_vector_value<R, O, In...>) {
    static_assert(Lanes % 16 == 0);
    int64_t i = 0;
#if MLX_ISA_LEVEL >= 4
    // Two side by side: each is a chain of steps that wait for one another.
    for (; i + 32 <= n; i += 32) {
      const Wide a = vector_value(R{}, load_wide(in + i)...),
                 b = vector_value(R{}, load_wide(in + i + 16)...);
      store_wide(out + i, a);
      store_wide(out + i + 16, b);
    }
#endif
    for (; i < n; i += 16) store_wide(out + i, vector_value(R{}, load_wide(in + i)...));
    return;
  }
#endif
  MLX_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = stored<O>(value(R{}, in[i]...));
}

template <class T, int64_t Lanes>
struct Padded {
  alignas(64) T item[Lanes];
  Padded(const T* from, int64_t n) {
    __builtin_memset(static_cast<void*>(item), 0, sizeof(item));
    __builtin_memcpy(static_cast<void*>(item), from, static_cast<size_t>(n) * sizeof(T));
  }
};

template <class R, class O, class T, class... In>
void run(O* out, int64_t n, const In*... in) {
  if constexpr (per_element<R, T>) {
    whole_vectors<R, 1>(out, n, in...);
  } else {
    constexpr int64_t L = lanes<O, In...>();
    const int64_t whole = n & -L;
    if (whole == n) return whole_vectors<R, L>(out, whole, in...);
    alignas(64) O rest[L];
    if (whole != 0) {
      // The last L elements, which may be read only before `out` is written.
      whole_vectors<R, L>(rest, L, in + (n - L)...);
      whole_vectors<R, L>(out, whole, in...);
      __builtin_memcpy(static_cast<void*>(out + (n - L)), rest, sizeof(rest));
      return;
    }
    whole_vectors<R, L>(rest, L, Padded<In, L>(in, n).item...);
    __builtin_memcpy(static_cast<void*>(out), rest, static_cast<size_t>(n) * sizeof(O));
  }
}

// Rows with `is_slow` and `slow_value` for rare arguments that the vector code leaves out.
template <class R, class O, class T, class... In>
void run_with_care(O* out, int64_t n, const In*... in) {
  constexpr int64_t piece = 512;
  for (int64_t begin = 0; begin < n; begin += piece) {
    const int64_t m = n - begin < piece ? n - begin : piece;
    uint32_t slow = 0;
    for (int64_t i = 0; i < m; ++i) slow |= static_cast<uint32_t>(is_slow(R{}, in[begin + i]...));
    if (slow == 0) {
      run<R, O, T>(out + begin, m, in + begin...);
      continue;
    }
    // The copies are for tiles computed in place.
    [&](const Padded<In, piece>&... copy) {
      run<R, O, T>(out + begin, m, copy.item...);
      for (int64_t i = 0; i < m; ++i)
        if (is_slow(R{}, copy.item[i]...)) out[begin + i] = stored<O>(slow_value(R{}, copy.item[i]...));
    }(Padded<In, piece>(in + begin, m)...);
  }
}

template <class R, class O, class T, class... In>
void dispatch_care(O* out, int64_t n, const In*... in) {
  // Integers have no such rows, but would convert to the operands of one.
  if constexpr ((Real<T> || __is_same(T, c64)) && !per_element<R, T> && requires { is_slow(R{}, *in...); }) {
    run_with_care<R, O, T>(out, n, in...);
  } else {
    run<R, O, T>(out, n, in...);
  }
}

template <class R, class T>
void tile(void* out, const void* a, const void* b, const void* c, int64_t n) {
  using O = ResultOf<R, T>;
  O* y = static_cast<O*>(out);
  if constexpr (R::arity == 1) {
    dispatch_care<R, O, T>(y, n, static_cast<const T*>(a));
  } else if constexpr (R::arity == 2) {
    dispatch_care<R, O, T>(y, n, static_cast<const T*>(a), static_cast<const T*>(b));
  } else if constexpr (__is_same(R, row::Select)) {
    run<R, O, T>(y, n, static_cast<const b8*>(a), static_cast<const T*>(b), static_cast<const T*>(c));
  } else {
    run<R, O, T>(y, n, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<const T*>(c));
  }
}

// Enters the tiles of every row that Wanted selects for elements of type T.
template <class T, template <class> class Wanted, class... Rows>
void enter(Tiles& tiles, row::RowList<Rows...>) {
  (
      [&] {
        if constexpr (Wanted<Rows>::value && row::contains(Rows::accepts, val_of<T>) &&
                      !__is_same(Rows, row::Select))
          tiles.op[row::op_of<Rows>][static_cast<int>(val_of<T>)] = tile<Rows, T>;
      }(),
      ...);
}
template <class R>
struct AnyRow {
  static constexpr bool value = true;
};
template <class T>
void enter_all(Tiles& tiles) {
  enter<T, AnyRow>(tiles, row::Table{});
}

// The parts of the table, one source each.
void enter_float32_unary(Tiles& tiles);
void enter_float32_binary(Tiles& tiles);
void enter_float64(Tiles& tiles);
void enter_complex64(Tiles& tiles);
void enter_half(Tiles& tiles);
void enter_integers8(Tiles& tiles);
void enter_integers16(Tiles& tiles);
void enter_integers32(Tiles& tiles);
void enter_integers64(Tiles& tiles);
void enter_casts(Tiles& tiles);

}  // namespace mlx::core::cpu::MLX_ISA
