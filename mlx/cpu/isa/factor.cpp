#include "mlx/cpu/isa/factor.h"

#include "mlx/cpu/isa/scalar.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class S>
struct Blocks {
  using T = Real<S>;
  using E = typename ScalarOf<S>::Element;
  using V = Vec<T>;
  using W = Wide<E>;
  static constexpr int kN = kLanes<T>;
  static constexpr int64_t kPlanes = W::kPlanes;
  static constexpr int kMostParts = 8 / kPlanes;

  // kParts vectors of a row at a time, in registers while all rows before are subtracted. Rows of complex
  // numbers are planes, `plane` apart.
  template <int kParts>
  static void solve_columns(const E* a, int64_t row, int64_t column, bool conjugated, int64_t n, bool upper,
                            bool unit, T* x, int64_t stride, int64_t plane) {
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = upper ? n - 1 - step : step;
      T* to = x + i * stride;
      W sums[kParts];
      for (int k = 0; k < kParts; ++k) sums[k] = W::load(to + k * kN, plane);
      const int64_t first = upper ? i + 1 : 0, last = upper ? n : i;
      for (int64_t j = first; j < last; ++j) {
        const W f = W::all(-conj_if(conjugated, a[i * row + j * column]));
        for (int k = 0; k < kParts; ++k) sums[k] = fma(f, W::load(x + j * stride + k * kN, plane), sums[k]);
      }
      if (!unit) {
        const W d = W::all(conj_if(conjugated, a[i * row + i * column]));
        for (int k = 0; k < kParts; ++k) sums[k] = sums[k] / d;
      }
      for (int k = 0; k < kParts; ++k) sums[k].store(to + k * kN, plane);
    }
  }
  // One column of consecutive elements.
  static void solve_line(const T* a, int64_t row, int64_t n, bool upper, bool unit, T* x) {
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = upper ? n - 1 - step : step, first = upper ? i + 1 : 0;
      const int64_t count = upper ? n - i - 1 : i;
      const T *p = a + i * row + first, *known = x + first;
      V sums{};
      int64_t j = 0;
      if (count >= 2 * kN)
        for (; j + kN <= count; j += kN) sums = fma(loadu<V>(p + j), loadu<V>(known + j), sums);
      T sum = x[i] - (j > 0 ? sum_across(sums) : T{0});
      for (; j < count; ++j) sum -= p[j] * known[j];
      x[i] = unit ? sum : sum / a[i * row + i];
    }
  }
  // In strips that are copied to memory of their own: rows of X a large power of two apart would fall into
  // few sets of the L1 cache, and the last columns become whole vectors.
  static void substitute(const S* matrix, int64_t row, int64_t column, bool conjugated, int64_t n, bool upper,
                         bool unit, S* right, int64_t stride, int64_t columns) {
    const E* a = reinterpret_cast<const E*>(matrix);
    E* x = reinterpret_cast<E*>(right);
    int64_t c = 0;
    if constexpr (!kPair<E>) {
      if (columns == 1 && stride == 1 && column == 1) return solve_line(a, row, n, upper, unit, x);
      if (columns <= 2 * kN || stride * int64_t{sizeof(T)} < 1024) {  // not worth copying
        for (; c + 4 * kN <= columns; c += 4 * kN)
          solve_columns<4>(a, row, column, false, n, upper, unit, x + c, stride, 0);
        for (; c + kN <= columns; c += kN)
          solve_columns<1>(a, row, column, false, n, upper, unit, x + c, stride, 0);
      }
    }
    constexpr int64_t kStrip = kMostParts * kN;
    alignas(64) T strip[kSubstitution * kStrip * kPlanes];
    for (; c < columns; c += kStrip) {
      const int64_t width = columns - c < kStrip ? columns - c : kStrip, parts = (width + kN - 1) / kN;
      const int64_t plane = (parts > 4 ? 8 : parts > 2 ? 4 : parts) * kN, padded = plane * kPlanes;
      for (int64_t i = 0; i < n; ++i) to_strip(x + i * stride + c, width, strip + i * padded, plane);
      const auto solve = [&]<int kParts>(std::integral_constant<int, kParts>) {
        solve_columns<kParts>(a, row, column, conjugated, n, upper, unit, strip, padded, plane);
      };
      if (plane == kMostParts * kN)
        solve(std::integral_constant<int, kMostParts>{});
      else if (plane == 4 * kN)
        solve(std::integral_constant<int, 4>{});
      else if (plane == 2 * kN)
        solve(std::integral_constant<int, 2>{});
      else
        solve(std::integral_constant<int, 1>{});
      for (int64_t i = 0; i < n; ++i) from_strip(strip + i * padded, width, x + i * stride + c, plane);
    }
  }
  static void to_strip(const E* from, int64_t width, T* to, int64_t plane) {
    if constexpr (kPair<E>) {
      for (int64_t k = 0; k < width; ++k) {
        to[k] = from[k].re;
        to[plane + k] = from[k].im;
      }
      for (int64_t k = width; k < plane; ++k) to[k] = to[plane + k] = 0;
    } else {
      const int64_t whole = width / kN * kN;
      for (int64_t k = 0; k < whole; k += kN) storeu(to + k, loadu<V>(from + k));
      for (int64_t k = whole; k < plane; ++k) to[k] = k < width ? from[k] : T{0};
    }
  }
  static void from_strip(const T* from, int64_t width, E* to, int64_t plane) {
    if constexpr (kPair<E>) {
      for (int64_t k = 0; k < width; ++k) to[k] = {from[k], from[plane + k]};
    } else {
      const int64_t whole = width / kN * kN;
      for (int64_t k = 0; k < whole; k += kN) storeu(to + k, loadu<V>(from + k));
      for (int64_t k = whole; k < width; ++k) to[k] = from[k];
    }
  }

  // to <- to - f x, n elements.
  static void subtract_line(E* to, E f, const E* x, int64_t n) {
    if constexpr (kPair<E>) {
      T* p = &to->re;
      const T* q = &x->re;
      const Factor<E> factor(-f);
      int64_t i = 0;
      for (; i + kN <= 2 * n; i += kN) storeu(p + i, factor.add(Line<E>::load(q + i), loadu<V>(p + i)));
      for (i /= 2; i < n; ++i) to[i] -= f * x[i];
    } else {
      for (int64_t j = 0; j < n; ++j) to[j] -= f * x[j];
    }
  }
  static int64_t cholesky(S* matrix, int64_t n, int64_t stride) {
    E* a = reinterpret_cast<E*>(matrix);
    for (int64_t k = 0; k < n; ++k) {
      E* row = a + k * stride;
      const T d = real_part(row[k]);
      if (!(d > 0) || d - d != 0) return k;
      const T pivot = root(d);
      T* parts = reinterpret_cast<T*>(row + k);
      for (int64_t j = 0; j < kPlanes * (n - k); ++j) parts[j] /= pivot;
      parts[0] = pivot;
      for (int64_t j = 1; j < kPlanes; ++j) parts[j] = 0;
      for (int64_t i = k + 1; i < n; ++i)
        subtract_line(a + i * stride + i, conj_if(true, row[i]), row + i, n - i);
    }
    return n;
  }

  // The first of the elements of largest size.
  static int64_t largest(const T* x, int64_t plane, int64_t n) {
    V most{};
    auto at = most > most;
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      const V m = size(W::load(x + i, plane));
      const auto more = m > most, here = at - at + static_cast<decltype(at[0] + 0)>(i);
      most = more ? m : most;
      at = more ? here : at;
    }
    T top = 0;
    int64_t found = 0;
    for (int k = 0; k < kN; ++k)
      if (most[k] > top || (most[k] == top && at[k] + k < found)) top = most[k], found = at[k] + k;
    for (; i < n; ++i) {
      T m = magnitude(x[i]);
      if constexpr (kPair<E>) m += magnitude(x[plane + i]);
      if (m > top) top = m, found = i;
    }
    return found;
  }
  // Columns a[0], a[stride] ... less f times x, n being whole vectors.
  template <int kColumns>
  static void subtract(T* a, int64_t stride, const E* f, const T* x, int64_t plane, int64_t n) {
    W factors[kColumns];
    for (int c = 0; c < kColumns; ++c) factors[c] = W::all(-f[c]);
    for (int64_t i = 0; i < n; i += kN) {
      const W v = W::load(x + i, plane);
      for (int c = 0; c < kColumns; ++c) {
        T* p = a + c * stride + i;
        fma(factors[c], v, W::load(p, plane)).store(p, plane);
      }
    }
  }
  static E element(const T* x, int64_t plane) {
    if constexpr (kPair<E>)
      return {x[0], x[plane]};
    else
      return *x;
  }
  // The n elements from x on by the pivot.
  static void divide(T* x, int64_t plane, int64_t n, E pivot) {
    if constexpr (kPair<E>) {
      const T p = magnitude(pivot.re), q = magnitude(pivot.im), scale = p > q ? p : q;
      const T c = pivot.re / scale, s = pivot.im / scale, f = 1 / (c * c + s * s);
      for (int64_t i = 0; i < n; ++i) {
        const T re = x[i] / scale, im = x[plane + i] / scale;
        x[i] = (re * c + im * s) * f;
        x[plane + i] = (im * c - re * s) * f;
      }
    } else {
      for (int64_t i = 0; i < n; ++i) x[i] /= pivot;
    }
  }
  static void lu(T* a, int64_t m, int64_t n, int64_t plane, int64_t* pivots) {
    const int64_t stride = kPlanes * plane;
    T* multipliers = a + n * stride;
    E factors[kLuColumns];
    for (int64_t j = 0; j < n; ++j) {
      T* column = a + j * stride;
      const int64_t p = j + largest(column + j, plane, m - j);
      pivots[j] = p;
      if (p != j)
        for (int64_t c = 0; c < kPlanes * n; ++c) {
          const T t = a[c * plane + j];
          a[c * plane + j] = a[c * plane + p];
          a[c * plane + p] = t;
        }
      const E pivot = element(column + j, plane);
      bool none = true;
      for (int64_t k = 0; k < kPlanes; ++k) none = none && column[k * plane + j] == 0;
      if (none) continue;
      // From a whole vector on; rows above take no part.
      const int64_t from = (j + 1) / kN * kN;
      divide(column + j + 1, plane, m - j - 1, pivot);
      for (int64_t k = 0; k < kPlanes; ++k) {
        T* to = multipliers + k * plane;
        for (int64_t i = from; i <= j; ++i) to[i] = 0;
        for (int64_t i = j + 1; i < plane; ++i) to[i] = column[k * plane + i];
      }
      for (int64_t c = j + 1; c < n; ++c) factors[c] = element(a + c * stride + j, plane);
      int64_t c = j + 1;
      for (; c + 4 <= n; c += 4)
        subtract<4>(a + c * stride + from, stride, factors + c, multipliers + from, plane, plane - from);
      for (; c < n; ++c)
        subtract<1>(a + c * stride + from, stride, factors + c, multipliers + from, plane, plane - from);
    }
  }

  static constexpr FactorKernels<S, T> table{substitute, cholesky, lu};
};

}  // namespace

const FactorTable& factor_kernels_table() {
  static constexpr FactorTable table{Blocks<float>::table, Blocks<double>::table,
                                     Blocks<cpu::Complex<float>>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
