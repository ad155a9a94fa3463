// A row is scanned in blocks that are first copied into a buffer in scanning order (which serves reversed
// scans, halves and in-place work alike), scanned there, and written out, shifted by one where the scan is
// exclusive. Sums and products of floats: prefixes of one vector in the element's compute type, the running
// carry in double.
#include "mlx/cpu/isa/scan.h"

#include "mlx/cpu/isa/reduce_impl.h"
#include "mlx/cpu/isa/reduce_math.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

constexpr int64_t kBlock = 1024;

template <class C>
constexpr C lowest() {
  if constexpr (std::is_floating_point_v<C>)
    return -__builtin_inff();
  else
    return std::is_signed_v<C> ? static_cast<C>(C{1} << (8 * sizeof(C) - 1)) : C{0};
}
template <class C>
constexpr C highest() {
  if constexpr (std::is_floating_point_v<C>)
    return __builtin_inff();
  else
    return static_cast<C>(~lowest<C>());
}

struct Sum {
  template <class T>
  static Compute<T> identity() {
    return Compute<T>{};
  }
  template <class V>
  static V apply(V a, V b) {
    return a + b;
  }
};
struct Product {
  template <class T>
  static Compute<T> identity() {
    return Compute<T>{1};
  }
  template <class V>
  static V apply(V a, V b) {
    return a * b;
  }
};
template <bool kMax>
struct Extreme {
  template <class T>
  static Compute<T> identity() {
    if constexpr (std::is_same_v<T, Bool>)
      return kMax ? 0 : 1;
    else
      return kMax ? lowest<Compute<T>>() : highest<Compute<T>>();
  }
  template <class V>
  static V apply(V a, V b) {  // a nan in either wins, lane-wise or scalar
    if constexpr (kMax)
      return ((b > a) | (b != b)) ? b : a;
    else
      return ((b < a) | (b != b)) ? b : a;
  }
};

// What the carry is kept in: double for floating sums and products; unsigned integers, which wrap around.
template <class Op, class T>
using CarryOf = std::conditional_t<
    is_real<T> && (std::is_same_v<Op, Sum> || std::is_same_v<Op, Product>), double,
    typename std::conditional_t<
        std::is_integral_v<Compute<T>> && !std::is_same_v<Op, Extreme<true>> &&
            !std::is_same_v<Op, Extreme<false>>,
        std::make_unsigned<std::conditional_t<std::is_integral_v<Compute<T>>, Compute<T>, int>>,
        std::type_identity<Compute<T>>>::type>;

// Lanes moved up by K, `fill` coming in.
template <int K, class V, int... I>
inline V shifted(V v, V fill, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(v, fill, (I < K ? n + I : I - K)...);
}
template <class Op, int K, int N, class V>
inline V prefix(V v, V fill) {
  if constexpr (K < N) {
    return prefix<Op, 2 * K, N>(Op::apply(shifted<K>(v, fill, std::make_integer_sequence<int, N>{}), v),
                                fill);
  } else {
    return v;
  }
}

// In place and inclusive: x[i] = op(carry, x[0], ..., x[i]); returns the new carry.
template <class Op, class T, class Carry>
Carry scan_buffer(Compute<T>* x, int64_t n, Carry carry) {
  using C = Compute<T>;
  int64_t i = 0;
  if constexpr (std::is_floating_point_v<C>) {
    constexpr int kN = kLanes<C>;
    const Vec<C> fill = splat<Vec<C>>(Op::template identity<T>());
    for (; i + kN <= n; i += kN) {
      const Vec<C> p = prefix<Op, 1, kN>(loadu<Vec<C>>(x + i), fill);
      storeu(x + i, Op::apply(splat<Vec<C>>(static_cast<C>(carry)), p));
      carry = Op::apply(carry, static_cast<Carry>(p[kN - 1]));
    }
  }
  for (; i < n; ++i) {
    carry = Op::apply(carry, static_cast<Carry>(x[i]));
    x[i] = static_cast<C>(carry);
  }
  return carry;
}

template <class T>
void take(const T* in, int64_t n, bool reverse,
          Compute<T>* x) {  // in scanning order; `in` is the block's start
  if (reverse) {
    for (int64_t i = 0; i < n; ++i) x[i] = get(in[n - 1 - i]);
  } else if constexpr (is_half<T>) {
    int64_t i = 0;
    for (; i + kF <= n; i += kF) storeu(x + i, load(in + i));
    for (; i < n; ++i) x[i] = get(in[i]);
  } else {
    __builtin_memcpy(x, in, n * sizeof(T));
  }
}
template <class T>
void give(const Compute<T>* x, int64_t n, bool reverse, T* out) {
  if (reverse) {
    for (int64_t i = 0; i < n; ++i) put(out + n - 1 - i, x[i]);
  } else if constexpr (is_half<T>) {
    int64_t i = 0;
    for (; i + kF <= n; i += kF) store(out + i, loadu<F>(x + i));
    for (; i < n; ++i) put(out + i, x[i]);
  } else {
    __builtin_memcpy(out, x, n * sizeof(T));
  }
}

// Walks a row in blocks: scan(x, count) turns x[0 .. count) into inclusive results; before() is the value
// that an exclusive scan writes first.
template <class T, class Scan, class Before>
void walk(const T* in, int64_t n, ScanMode mode, T* out, Scan scan, Before before) {
  alignas(64) Compute<T> buffer[kBlock + 1];
  for (int64_t done = 0; done < n; done += kBlock) {
    const int64_t count = n - done < kBlock ? n - done : kBlock;
    const int64_t at = mode.reverse ? n - done - count : done;
    Compute<T>* x = buffer + 1;
    buffer[0] = before();
    take(in + at, count, mode.reverse, x);
    scan(x, count);
    if (out) give(mode.inclusive ? x : buffer, count, mode.reverse, out + at);
  }
}

template <class Op, class T>
struct Scan {
  using Carry = CarryOf<Op, T>;
  using C = Compute<T>;
  static Carry get_carry(const ScanCarry* c) { return loadu<Carry>(c->bytes); }
  static void init(ScanCarry* c) { storeu(c->bytes, static_cast<Carry>(Op::template identity<T>())); }
  [[gnu::noinline]] static void row(const void* in, int64_t n, ScanMode mode, ScanCarry* state, void* out) {
    Carry carry = get_carry(state);
    walk<T>(
        static_cast<const T*>(in), n, mode, static_cast<T*>(out),
        [&](C* x, int64_t count) { carry = scan_buffer<Op, T>(x, count, carry); },
        [&] { return static_cast<C>(carry); });
    storeu(state->bytes, carry);
  }
  static void total(const void* in, int64_t n, ScanMode mode, ScanCarry* state) {
    row(in, n, mode, state, nullptr);
  }
  static void merge(ScanCarry* c, const ScanCarry* next) {
    storeu(c->bytes, Op::apply(get_carry(c), get_carry(next)));
  }
  static void cols(const void* in_, int64_t rows, int64_t stride, int64_t cols, ScanMode mode,
                   int64_t out_stride, void* out_) {
    constexpr int64_t tile = 512;
    const T* in = static_cast<const T*>(in_);
    T* out = static_cast<T*>(out_);
    alignas(64) Carry acc[tile];
    for (int64_t c0 = 0; c0 < cols; c0 += tile) {
      const int64_t width = cols - c0 < tile ? cols - c0 : tile;
      for (int64_t c = 0; c < width; ++c) acc[c] = static_cast<Carry>(Op::template identity<T>());
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t r = mode.reverse ? rows - 1 - i : i;
        const T* p = in + r * stride + c0;
        T* o = out + r * out_stride + c0;
        int64_t c = 0;
        if constexpr (is_real<T> && std::is_same_v<C, float> && std::is_same_v<Carry, double>) {
          for (; c + kF <= width; c += kF) {
            const F x = load(p + c);
            const D low = loadu<D>(acc + c), high = loadu<D>(acc + c + kD);
            const D new_low = Op::apply(low, low_half(x)), new_high = Op::apply(high, high_half(x));
            storeu(acc + c, new_low), storeu(acc + c + kD, new_high);
            store(o + c, mode.inclusive ? narrow(new_low, new_high) : narrow(low, high));
          }
        } else if constexpr (std::is_floating_point_v<C>) {
          for (; c + kLanes<C> <= width; c += kLanes<C>) {
            const Vec<C> before = loadu<Vec<C>>(acc + c), after = Op::apply(before, load(p + c));
            storeu(acc + c, after);
            store(o + c, mode.inclusive ? after : before);
          }
        }
        for (; c < width; ++c) {
          const Carry before = acc[c], after = Op::apply(before, static_cast<Carry>(get(p[c])));
          acc[c] = after;
          put(o + c, static_cast<C>(mode.inclusive ? after : before));
        }
      }
    }
  }
};

// log(sum exp): s counts exponentials relative to the running maximum m. All exponentials and logarithms of a
// block are taken by vectors; only s = s * exp(m_before - m) + exp(x - m) runs element by element, in double.
template <class T>
struct LogSumExp {
  using C = Compute<T>;
  struct State {
    C m;
    double s;
  };
  static_assert(sizeof(State) <= sizeof(ScanCarry));
  static State get_state(const ScanCarry* c) {
    State s;
    __builtin_memcpy(&s, c->bytes, sizeof s);
    return s;
  }
  static void set_state(ScanCarry* c, const State& s) { __builtin_memcpy(c->bytes, &s, sizeof s); }
  static void init(ScanCarry* c) { set_state(c, {lowest<C>(), 0}); }
  // a - b where both may be the same infinity.
  static C difference(C a, C b) { return a == b ? C{0} : a - b; }

  static void scan(C* x, int64_t n, State& state) {
    alignas(64) C maxima[kBlock + 1], rescale[kBlock];
    maxima[0] = state.m;
    __builtin_memcpy(maxima + 1, x, n * sizeof(C));
    scan_buffer<Extreme<true>, T>(maxima + 1, n, state.m);
    for (int64_t i = 0; i < n; ++i) {
      rescale[i] = difference(maxima[i], maxima[i + 1]);
      x[i] = difference(x[i], maxima[i + 1]);
    }
    exp_run(rescale, n);
    exp_run(x, n);
    double s = state.s;
    for (int64_t i = 0; i < n; ++i) {
      s = s * rescale[i] + x[i];
      x[i] = static_cast<C>(s);
    }
    log_run(x, n);
    // While the maximum is -inf the sum counts elements exp(0): the result is -inf all the same; of +inf
    // likewise.
    for (int64_t i = 0; i < n; ++i) x[i] += maxima[i + 1];
    state = {maxima[n], s};
  }
  static C value(const State& state) {
    if (state.s == 0) return lowest<C>();
    C x = static_cast<C>(state.s);
    log_run(&x, 1);
    return x + state.m;
  }
  [[gnu::noinline]] static void row(const void* in, int64_t n, ScanMode mode, ScanCarry* carry, void* out) {
    State state = get_state(carry);
    walk<T>(
        static_cast<const T*>(in), n, mode, static_cast<T*>(out),
        [&](C* x, int64_t count) { scan(x, count, state); }, [&] { return value(state); });
    set_state(carry, state);
  }
  static void total(const void* in, int64_t n, ScanMode mode, ScanCarry* carry) {
    row(in, n, mode, carry, nullptr);
  }
  static void merge(ScanCarry* carry, const ScanCarry* next_carry) {
    State a = get_state(carry);
    const State b = get_state(next_carry);
    const C m = Extreme<true>::apply(a.m, b.m);
    C scale[2] = {difference(a.m, m), difference(b.m, m)};
    exp_run(scale, 2);
    set_state(carry, {m, a.s * scale[0] + b.s * scale[1]});
  }
  // Column by column through a buffer: exponentials dominate, not memory.
  static void cols(const void* in_, int64_t rows, int64_t stride, int64_t cols, ScanMode mode,
                   int64_t out_stride, void* out_) {
    const T* in = static_cast<const T*>(in_);
    T* out = static_cast<T*>(out_);
    T column[kBlock];
    for (int64_t c = 0; c < cols; ++c) {
      ScanCarry carry;
      init(&carry);
      for (int64_t done = 0; done < rows; done += kBlock) {
        const int64_t count = rows - done < kBlock ? rows - done : kBlock;
        const int64_t at = mode.reverse ? rows - done - count : done;
        for (int64_t i = 0; i < count; ++i) column[i] = in[(at + i) * stride + c];
        row(column, count, mode, &carry, column);
        for (int64_t i = 0; i < count; ++i) out[(at + i) * out_stride + c] = column[i];
      }
    }
  }
};

// Complex numbers, one after the other, in double.
struct Complex128 {
  double re, im;
};
template <class Op>
struct ComplexScan {
  static Complex128 identity() {
    if constexpr (std::is_same_v<Op, Sum>) return {0, 0};
    if constexpr (std::is_same_v<Op, Product>) return {1, 0};
    const double end = std::is_same_v<Op, Extreme<true>> ? -__builtin_inf() : __builtin_inf();
    return {end, end};
  }
  static Complex128 apply(Complex128 a, Complex128 b) {
    if constexpr (std::is_same_v<Op, Sum>) {
      return {a.re + b.re, a.im + b.im};
    } else if constexpr (std::is_same_v<Op, Product>) {
      return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    } else {
      constexpr bool kMax = std::is_same_v<Op, Extreme<true>>;
      if (a.re != a.re || a.im != a.im) return a;
      if (b.re != b.re || b.im != b.im) return b;
      const bool more = b.re > a.re || (b.re == a.re && b.im > a.im);
      const bool less = b.re < a.re || (b.re == a.re && b.im < a.im);
      return (kMax ? more : less) ? b : a;
    }
  }
  static Complex128 get_carry(const ScanCarry* c) {
    Complex128 x;
    __builtin_memcpy(&x, c->bytes, sizeof x);
    return x;
  }
  static void set_carry(ScanCarry* c, Complex128 x) { __builtin_memcpy(c->bytes, &x, sizeof x); }
  static void init(ScanCarry* c) { set_carry(c, identity()); }
  static void strided(const Complex* in, int64_t n, int64_t stride, ScanMode mode, ScanCarry* carry,
                      Complex* out, int64_t out_stride) {
    Complex128 acc = get_carry(carry);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = mode.reverse ? n - 1 - i : i;
      const Complex x = in[at * stride];
      const Complex128 before = acc;
      acc = apply(acc, {x.re, x.im});
      const Complex128 y = mode.inclusive ? acc : before;
      if (out) out[at * out_stride] = {static_cast<float>(y.re), static_cast<float>(y.im)};
    }
    set_carry(carry, acc);
  }
  [[gnu::noinline]] static void row(const void* in, int64_t n, ScanMode mode, ScanCarry* carry, void* out) {
    strided(static_cast<const Complex*>(in), n, 1, mode, carry, static_cast<Complex*>(out), 1);
  }
  static void total(const void* in, int64_t n, ScanMode mode, ScanCarry* carry) {
    row(in, n, mode, carry, nullptr);
  }
  static void merge(ScanCarry* c, const ScanCarry* next) {
    set_carry(c, apply(get_carry(c), get_carry(next)));
  }
  static void cols(const void* in, int64_t rows, int64_t stride, int64_t cols, ScanMode mode,
                   int64_t out_stride, void* out) {
    for (int64_t c = 0; c < cols; ++c) {
      ScanCarry carry;
      init(&carry);
      strided(static_cast<const Complex*>(in) + c, rows, stride, mode, &carry, static_cast<Complex*>(out) + c,
              out_stride);
    }
  }
};

template <class S>
ScanKernel make() {
  ScanKernel k;
  k.init = S::init, k.row = S::row, k.total = S::total, k.merge = S::merge, k.cols = S::cols;
  return k;
}
template <class Op>
void fill(ScanKernel* row) {
  for_elements([&](auto v) {
    using T = Element<v>;
    if constexpr (std::is_same_v<T, Complex>)
      row[v] = make<ComplexScan<Op>>();
    else
      row[v] = make<Scan<Op, T>>();
  });
}

}  // namespace

const ScanTable& scan_kernels_table() {
  static const ScanTable table = [] {
    ScanTable t;
    fill<Sum>(t.at[static_cast<int>(ScanOp::sum)]);
    fill<Product>(t.at[static_cast<int>(ScanOp::prod)]);
    fill<Extreme<true>>(t.at[static_cast<int>(ScanOp::max)]);
    fill<Extreme<false>>(t.at[static_cast<int>(ScanOp::min)]);
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>) t.at[static_cast<int>(ScanOp::logaddexp)][v] = make<LogSumExp<T>>();
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
