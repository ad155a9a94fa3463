#include "mlx/cpu/isa/factor.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Factor {
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;

  // kParts vectors of a row at a time, in registers while all rows before are subtracted.
  template <int kParts>
  static void solve_columns(const T* a, int64_t row, int64_t column, int64_t n, bool upper, bool unit, T* x,
                            int64_t stride) {
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = upper ? n - 1 - step : step;
      T* to = x + i * stride;
      V sums[kParts];
      for (int k = 0; k < kParts; ++k) sums[k] = loadu<V>(to + k * kN);
      const int64_t first = upper ? i + 1 : 0, last = upper ? n : i;
      for (int64_t j = first; j < last; ++j) {
        const V f = splat<V>(-a[i * row + j * column]);
        for (int k = 0; k < kParts; ++k) sums[k] = fma(f, loadu<V>(x + j * stride + k * kN), sums[k]);
      }
      if (!unit) {
        const V d = splat<V>(a[i * row + i * column]);
        for (int k = 0; k < kParts; ++k) sums[k] /= d;
      }
      for (int k = 0; k < kParts; ++k) storeu(to + k * kN, sums[k]);
    }
  }
  // One column of consecutive elements.
  static void solve_line(const T* a, int64_t row, int64_t n, bool upper, bool unit, T* x) {
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = upper ? n - 1 - step : step, first = upper ? i + 1 : 0;
      const int64_t count = upper ? n - i - 1 : i;
      const T *p = a + i * row + first, *known = x + first;
      T sum = x[i];
      if (count >= 2 * kN)
        sum -= dot(p, known, count);
      else
        for (int64_t j = 0; j < count; ++j) sum -= p[j] * known[j];
      x[i] = unit ? sum : sum / a[i * row + i];
    }
  }
  // In strips that are copied to memory of their own: rows of X a large power of two apart would fall into
  // few sets of the L1 cache, and the last columns become whole vectors.
  static void substitute(const T* a, int64_t row, int64_t column, int64_t n, bool upper, bool unit, T* x,
                         int64_t stride, int64_t columns) {
    if (columns == 1 && stride == 1 && column == 1) return solve_line(a, row, n, upper, unit, x);
    int64_t c = 0;
    if (columns <= 2 * kN || stride * int64_t{sizeof(T)} < 1024) {  // not worth copying
      for (; c + 4 * kN <= columns; c += 4 * kN)
        solve_columns<4>(a, row, column, n, upper, unit, x + c, stride);
      for (; c + kN <= columns; c += kN) solve_columns<1>(a, row, column, n, upper, unit, x + c, stride);
    }
    if (c < columns) solve_strips(a, row, column, n, upper, unit, x + c, stride, columns - c);
  }
  static void solve_strips(const T* a, int64_t row, int64_t column, int64_t n, bool upper, bool unit, T* x,
                           int64_t stride, int64_t columns) {
    constexpr int64_t kStrip = 8 * kN;
    alignas(64) T strip[kSubstitution * kStrip];
    for (int64_t c = 0; c < columns; c += kStrip) {
      const int64_t width = columns - c < kStrip ? columns - c : kStrip, parts = (width + kN - 1) / kN;
      const int64_t padded = (parts > 4 ? 8 : parts > 2 ? 4 : parts) * kN, whole = width / kN * kN;
      for (int64_t i = 0; i < n; ++i) {
        const T* from = x + i * stride + c;
        T* to = strip + i * padded;
        for (int64_t k = 0; k < whole; k += kN) storeu(to + k, loadu<V>(from + k));
        for (int64_t k = whole; k < padded; ++k) to[k] = k < width ? from[k] : T{0};
      }
      if (padded == 8 * kN) {
        solve_columns<8>(a, row, column, n, upper, unit, strip, padded);
      } else if (padded == 4 * kN) {
        solve_columns<4>(a, row, column, n, upper, unit, strip, padded);
      } else if (padded == 2 * kN) {
        solve_columns<2>(a, row, column, n, upper, unit, strip, padded);
      } else {
        solve_columns<1>(a, row, column, n, upper, unit, strip, padded);
      }
      for (int64_t i = 0; i < n; ++i) {
        T* to = x + i * stride + c;
        const T* from = strip + i * padded;
        for (int64_t k = 0; k < whole; k += kN) storeu(to + k, loadu<V>(from + k));
        for (int64_t k = whole; k < width; ++k) to[k] = from[k];
      }
    }
  }

  static int64_t cholesky(T* a, int64_t n, int64_t stride) {
    for (int64_t k = 0; k < n; ++k) {
      T* row = a + k * stride;
      if (!(row[k] > 0) || row[k] - row[k] != 0) return k;
      const T pivot = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(row[k])))
                                     : static_cast<T>(__builtin_sqrt(static_cast<double>(row[k])));
      row[k] = pivot;
      for (int64_t j = k + 1; j < n; ++j) row[j] /= pivot;
      for (int64_t i = k + 1; i < n; ++i) {
        T* to = a + i * stride;
        const T f = row[i];
        for (int64_t j = i; j < n; ++j) to[j] -= f * row[j];
      }
    }
    return n;
  }

  // The first of the elements of largest modulus.
  static int64_t largest(const T* x, int64_t n) {
    V most{};
    auto at = most > most;
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      const V v = loadu<V>(x + i), m = v < 0 ? -v : v;
      const auto more = m > most, here = at - at + static_cast<decltype(at[0] + 0)>(i);
      most = more ? m : most;
      at = more ? here : at;
    }
    T top = 0;
    int64_t found = 0;
    for (int k = 0; k < kN; ++k)
      if (most[k] > top || (most[k] == top && at[k] + k < found)) top = most[k], found = at[k] + k;
    for (; i < n; ++i) {
      const T m = x[i] < 0 ? -x[i] : x[i];
      if (m > top) top = m, found = i;
    }
    return found;
  }
  // Columns a[0], a[stride] ... less f times x, n being whole vectors.
  template <int kColumns>
  static void subtract(T* a, int64_t stride, const T* f, const T* x, int64_t n) {
    V factors[kColumns];
    for (int c = 0; c < kColumns; ++c) factors[c] = splat<V>(-f[c]);
    for (int64_t i = 0; i < n; i += kN) {
      const V v = loadu<V>(x + i);
      for (int c = 0; c < kColumns; ++c) {
        T* p = a + c * stride + i;
        storeu(p, fma(factors[c], v, loadu<V>(p)));
      }
    }
  }
  static void lu(T* a, int64_t m, int64_t n, int64_t stride, int64_t* pivots) {
    T *multipliers = a + n * stride, factors[kLuColumns];
    for (int64_t j = 0; j < n; ++j) {
      T* column = a + j * stride;
      const int64_t p = j + largest(column + j, m - j);
      pivots[j] = p;
      if (p != j)
        for (int64_t c = 0; c < n; ++c) {
          const T t = a[c * stride + j];
          a[c * stride + j] = a[c * stride + p];
          a[c * stride + p] = t;
        }
      const T pivot = column[j];
      if (pivot == 0) continue;
      // From a whole vector on; rows above take no part.
      const int64_t from = (j + 1) / kN * kN;
      for (int64_t i = j + 1; i < m; ++i) column[i] /= pivot;
      for (int64_t i = from; i <= j; ++i) multipliers[i] = 0;
      for (int64_t i = j + 1; i < stride; ++i) multipliers[i] = column[i];
      for (int64_t c = j + 1; c < n; ++c) factors[c] = a[c * stride + j];
      int64_t c = j + 1;
      for (; c + 4 <= n; c += 4)
        subtract<4>(a + c * stride + from, stride, factors + c, multipliers + from, stride - from);
      for (; c < n; ++c)
        subtract<1>(a + c * stride + from, stride, factors + c, multipliers + from, stride - from);
    }
  }

  // Elements of a and b by turns: of their first halves, or of their second ones.
  template <int kHalf, int... I>
  static V by_turns(V a, V b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, (kHalf * (kN / 2) + I / 2 + I % 2 * kN)...);
  }
  // log2(kN) times rows of the upper and the lower half by turns: row i, column j becomes row j, column i.
  static void transpose_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
    constexpr auto lanes = std::make_integer_sequence<int, kN>{};
    V x[kN], y[kN];
    for (int i = 0; i < kN; ++i) x[i] = loadu<V>(from + i * from_stride);
    for (int step = 1; step < kN; step *= 2) {
      for (int i = 0; i < kN / 2; ++i) {
        y[2 * i] = by_turns<0>(x[i], x[i + kN / 2], lanes);
        y[2 * i + 1] = by_turns<1>(x[i], x[i + kN / 2], lanes);
      }
      for (int i = 0; i < kN; ++i) x[i] = y[i];
    }
    for (int i = 0; i < kN; ++i) storeu(to + i * to_stride, x[i]);
  }
  static void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
                        int64_t to_stride) {
    const auto some = [&](int64_t i, int64_t end, int64_t first) {
      for (int64_t j = first; j < columns; ++j)
        for (int64_t k = i; k < end; ++k) to[j * to_stride + k] = from[k * from_stride + j];
    };
    const int64_t whole = rows / kN * kN;
    for (int64_t i = 0; i < whole; i += kN) {
      int64_t j = 0;
      for (; j + kN <= columns; j += kN)
        transpose_square(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
      some(i, i + kN, j);
    }
    some(whole, rows, 0);
  }

  static void rotate(T* z, int64_t stride, int64_t columns, const T* c, const T* s, const int32_t* at,
                     int64_t count) {
    constexpr int kParts = 4;
    int64_t k = 0;
    for (; k + kParts * kN <= columns; k += kParts * kN) rotate_part<kParts>(z + k, stride, c, s, at, count);
    for (; k + kN <= columns; k += kN) rotate_part<1>(z + k, stride, c, s, at, count);
    for (; k < columns; ++k)
      for (int64_t r = 0; r < count; ++r) {
        T *x = z + k + at[r] * stride, *y = x + stride;
        const T a = *x, b = *y;
        *x = c[r] * a - s[r] * b;
        *y = s[r] * a + c[r] * b;
      }
  }
  // In runs that go up or down row by row: the row that the next rotation wants again stays in registers.
  template <int kParts>
  static void rotate_part(T* z, int64_t stride, const T* c, const T* s, const int32_t* at, int64_t count) {
    for (int64_t r = 0; r < count;) {
      const int step = r + 1 < count && at[r + 1] == at[r] - 1 ? -1 : 1;
      int64_t end = r + 1;
      while (end < count && at[end] == at[end - 1] + step) ++end;
      if (step == 1)
        rotate_run<kParts, true>(z + at[r] * stride, stride, c + r, s + r, end - r);
      else
        rotate_run<kParts, false>(z + (at[r] + 1) * stride, -stride, c + r, s + r, end - r);
      r = end;
    }
  }
  template <int kParts, bool kUp>
  static void rotate_run(T* z, int64_t stride, const T* c, const T* s, int64_t count) {
    V held[kParts];
    for (int p = 0; p < kParts; ++p) held[p] = loadu<V>(z + p * kN);
    for (int64_t r = 0; r < count; ++r, z += stride) {
      // Downwards, the row held is the lower one.
      const V vc = splat<V>(c[r]), vs = splat<V>(kUp ? s[r] : -s[r]);
      for (int p = 0; p < kParts; ++p) {
        const V other = loadu<V>(z + stride + p * kN);
        storeu(z + p * kN, vc * held[p] - vs * other);
        held[p] = vs * held[p] + vc * other;
      }
    }
    for (int p = 0; p < kParts; ++p) storeu(z + p * kN, held[p]);
  }

  template <int... I>
  static V swapped_pairs(V v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, (I ^ 1)...);
  }
  template <int... I>
  static V alternating(T x, std::integer_sequence<int, I...>) {
    return V{(I % 2 == 0 ? -x : x)...};
  }
  static void rotate_complex(T* x, T* y, int64_t n, T c, T re, T im) {
    constexpr auto lanes = std::make_integer_sequence<int, kN>{};
    const V vc = splat<V>(c), vr = splat<V>(re), vi = alternating(im, lanes);
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      const V a = loadu<V>(x + i), b = loadu<V>(y + i);
      storeu(x + i, vc * a + vr * b + vi * swapped_pairs(b, lanes));
      storeu(y + i, vc * b - vr * a + vi * swapped_pairs(a, lanes));
    }
    for (; i < n; i += 2) {
      const T ar = x[i], ai = x[i + 1], br = y[i], bi = y[i + 1];
      x[i] = c * ar + re * br - im * bi;
      x[i + 1] = c * ai + re * bi + im * br;
      y[i] = c * br - re * ar - im * ai;
      y[i + 1] = c * bi - re * ai + im * ar;
    }
  }

  using Pair __attribute__((vector_size(2 * sizeof(T)))) = T;
  static Pair load_pair(const T* p) {
    Pair v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  // The rotations of a row wait for each other: some rows at a time.
  template <int kRows>
  static void rotate_some(T* x, int64_t stride, const T* turns, int64_t count) {
    Pair held[kRows];
    for (int r = 0; r < kRows; ++r) held[r] = load_pair(x + r * stride);
    for (int64_t k = 0; k < count; ++k) {
      const T c = turns[3 * k], re = turns[3 * k + 1], im = turns[3 * k + 2];
      const Pair vc{c, c}, vr{re, re}, vi{-im, im};
      for (int r = 0; r < kRows; ++r) {
        T* p = x + r * stride + 2 * k;
        const Pair a = held[r], b = load_pair(p + 2);
        const Pair first = vc * a + vr * b + vi * __builtin_shufflevector(b, b, 1, 0);
        held[r] = vc * b - vr * a + vi * __builtin_shufflevector(a, a, 1, 0);
        __builtin_memcpy(p, &first, sizeof first);
      }
    }
    for (int r = 0; r < kRows; ++r) __builtin_memcpy(x + r * stride + 2 * count, &held[r], sizeof(Pair));
  }
  static void rotate_columns(T* x, int64_t stride, int64_t rows, const T* turns, int64_t count) {
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) rotate_some<8>(x + i * stride, stride, turns, count);
    for (; i < rows; ++i) rotate_some<1>(x + i * stride, stride, turns, count);
  }

  static T dot(const T* x, const T* y, int64_t n) {
    V a{}, b{};
    int64_t i = 0;
    for (; i + 2 * kN <= n; i += 2 * kN) {
      a = fma(loadu<V>(x + i), loadu<V>(y + i), a);
      b = fma(loadu<V>(x + i + kN), loadu<V>(y + i + kN), b);
    }
    T sum = sum_across(a + b);
    for (; i < n; ++i) sum += x[i] * y[i];
    return sum;
  }
  template <int kRows>
  static void some_dots(const T* a, int64_t stride, const T* x, int64_t n, T* dots) {
    V sums[kRows] = {};
    for (int64_t c = 0; c < n; c += kN) {
      const V vx = loadu<V>(x + c);
      for (int q = 0; q < kRows; ++q) sums[q] = fma(loadu<V>(a + q * stride + c), vx, sums[q]);
    }
    for (int q = 0; q < kRows; ++q) dots[q] = sum_across(sums[q]);
  }
  static void dots(const T* a, int64_t stride, int64_t rows, const T* x, int64_t n, T* out) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) some_dots<4>(a + i * stride, stride, x, n, out + i);
    for (; i < rows; ++i) some_dots<1>(a + i * stride, stride, x, n, out + i);
  }
  static double squares(const T* x, int64_t n) {
    D a{}, b{};
    int64_t i = 0;
    for (; i + 2 * kLanes<double> <= n; i += 2 * kLanes<double>) {
      D u, v;
      if constexpr (sizeof(T) == 4) {
        const V both = loadu<V>(x + i);
        u = low_half(both);
        v = high_half(both);
      } else {
        u = loadu<D>(x + i);
        v = loadu<D>(x + i + kN);
      }
      a = fma(u, u, a);
      b = fma(v, v, b);
    }
    double sum = sum_across(a + b);
    for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
  }
  template <int kParts, bool kUpdate>
  static void combine_part(T* a, int64_t stride, int64_t rows, const T* z, const T* u, const T* v, T* w) {
    V sums[kParts] = {}, turn[kParts] = {};
    if constexpr (kUpdate)
      for (int p = 0; p < kParts; ++p) turn[p] = -loadu<V>(u + p * kN);
    for (int64_t i = 0; i < rows; ++i)
      for (int p = 0; p < kParts; ++p) {
        T* at = a + i * stride + p * kN;
        V x = loadu<V>(at);
        if constexpr (kUpdate) {
          x = fma(splat<V>(z[i]), turn[p], x);
          storeu(at, x);
        }
        sums[p] = fma(splat<V>(v[i]), x, sums[p]);
      }
    for (int p = 0; p < kParts; ++p) storeu(w + p * kN, sums[p]);
  }
  template <bool kUpdate>
  static void combine_parts(T* a, int64_t stride, int64_t rows, int64_t columns, const T* z, const T* u,
                            const T* v, T* w) {
    int64_t c = 0;
    for (; c + 4 * kN <= columns; c += 4 * kN)
      combine_part<4, kUpdate>(a + c, stride, rows, z, kUpdate ? u + c : u, v, w + c);
    for (; c + kN <= columns; c += kN)
      combine_part<1, kUpdate>(a + c, stride, rows, z, kUpdate ? u + c : u, v, w + c);
    for (; c < columns; ++c) {
      w[c] = 0;
      for (int64_t i = 0; i < rows; ++i) {
        if constexpr (kUpdate) a[i * stride + c] -= z[i] * u[c];
        w[c] += v[i] * a[i * stride + c];
      }
    }
  }
  static void combine(T* a, int64_t stride, int64_t rows, int64_t columns, const T* z, const T* u, const T* v,
                      T* w) {
    if (z)
      combine_parts<true>(a, stride, rows, columns, z, u, v, w);
    else
      combine_parts<false>(a, stride, rows, columns, z, u, v, w);
  }
  // Some rows at a time: each load of x, y and next serves all of them.
  template <int kRows, bool kBoth>
  static void update_some(T* a, int64_t stride, const T* f, const T* x, const T* g, const T* y, const T* next,
                          int64_t n, T* dots) {
    V vf[kRows], vg[kRows], sums[kRows] = {};
    for (int r = 0; r < kRows; ++r) {
      vf[r] = splat<V>(-f[r]);
      if constexpr (kBoth) vg[r] = splat<V>(-g[r]);
    }
    for (int64_t i = 0; i < n; i += kN) {
      const V vx = loadu<V>(x + i), vn = loadu<V>(next + i), vy = kBoth ? loadu<V>(y + i) : V{};
      for (int r = 0; r < kRows; ++r) {
        T* p = a + r * stride + i;
        V v = fma(vf[r], vx, loadu<V>(p));
        if constexpr (kBoth) v = fma(vg[r], vy, v);
        storeu(p, v);
        sums[r] = fma(v, vn, sums[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) dots[r] = sum_across(sums[r]);
  }
  template <bool kBoth>
  static void update_rows(T* a, int64_t stride, int64_t rows, const T* f, const T* x, const T* g, const T* y,
                          const T* next, int64_t n, T* dots) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4)
      update_some<4, kBoth>(a + i * stride, stride, f + i, x, kBoth ? g + i : g, y, next, n, dots + i);
    for (; i < rows; ++i)
      update_some<1, kBoth>(a + i * stride, stride, f + i, x, kBoth ? g + i : g, y, next, n, dots + i);
  }
  static void update(T* a, int64_t stride, int64_t rows, const T* f, const T* x, const T* g, const T* y,
                     const T* next, int64_t n, T* dots) {
    if (g)
      update_rows<true>(a, stride, rows, f, x, g, y, next, n, dots);
    else
      update_rows<false>(a, stride, rows, f, x, g, y, next, n, dots);
  }

  static void symmetric_product(const T* a, int64_t stride, int64_t begin, int64_t end, int64_t at,
                                const T* x, T* y) {
    constexpr int kRows = 4;
    for (int64_t r = begin; r < end; r += kRows) {
      const int64_t diagonal = r / kDiagonalBlock<T> * kDiagonalBlock<T>;
      const T* p = a + r * stride;
      V sums[kRows] = {}, factors[kRows];
      for (int q = 0; q < kRows; ++q) factors[q] = splat<V>(x[r + q]);
      for (int64_t c = at; c < diagonal; c += kN) {
        const V vx = loadu<V>(x + c);
        V vy = loadu<V>(y + c);
        for (int q = 0; q < kRows; ++q) {
          const V v = loadu<V>(p + q * stride + c);
          sums[q] = fma(v, vx, sums[q]);
          vy = fma(v, factors[q], vy);
        }
        storeu(y + c, vy);
      }
      for (int64_t c = diagonal; c < diagonal + kDiagonalBlock<T>; c += kN) {
        const V vx = loadu<V>(x + c);
        for (int q = 0; q < kRows; ++q) sums[q] = fma(loadu<V>(p + q * stride + c), vx, sums[q]);
      }
      for (int q = 0; q < kRows; ++q) y[r + q] += sum_across(sums[q]);
    }
  }

  static constexpr FactorKernels<T> table{
      substitute, cholesky, lu,      transpose, rotate, rotate_complex,   rotate_columns,
      dot,        dots,     squares, combine,   update, symmetric_product};
};

}  // namespace

const FactorTable& factor_kernels_table() {
  static constexpr FactorTable table{Factor<float>::table, Factor<double>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
