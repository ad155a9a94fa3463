#include "mlx/cpu/isa/panel.h"

#include "mlx/cpu/isa/scalar.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// Loops over rows or columns that are worked on together are unrolled before anything else: sums that are
// chosen by a number which is not yet constant would live in memory.
template <class S>
struct Panels {
  using T = Real<S>;
  using E = typename ScalarOf<S>::Element;
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;                      // reals of a vector
  static constexpr int64_t kParts = sizeof(E) / sizeof(T);  // reals of a scalar

  static E* elements(S* p) { return reinterpret_cast<E*>(p); }
  static const E* elements(const S* p) { return reinterpret_cast<const E*>(p); }
  static T* reals(E* p) { return reinterpret_cast<T*>(p); }
  static const T* reals(const E* p) { return reinterpret_cast<const T*>(p); }

  template <int kRows>
  static void some_dots(const E* a, int64_t stride, const E* x, int64_t n, bool conjugated, E* dots) {
    ProductSum<E> sums[kRows];
    clear(sums);
    for (int64_t c = 0; c < kParts * n; c += kN) {
      const Line<E> vx = Line<E>::load(reals(x) + c);
#pragma GCC unroll 4
      for (int q = 0; q < kRows; ++q) sums[q].add(loadu<V>(reals(a + q * stride) + c), vx);
    }
#pragma GCC unroll 4
    for (int q = 0; q < kRows; ++q) dots[q] = sums[q].total(conjugated);
  }
  static void dots(const S* matrix, int64_t stride, int64_t rows, const S* vector, int64_t n, bool conjugated,
                   S* out) {
    const E *a = elements(matrix), *x = elements(vector);
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) some_dots<4>(a + i * stride, stride, x, n, conjugated, elements(out) + i);
    for (; i < rows; ++i) some_dots<1>(a + i * stride, stride, x, n, conjugated, elements(out) + i);
  }

  template <int kVectors, bool kUpdate>
  static void combine_part(T* a, int64_t stride, int64_t rows, const E* z, const T* u, const E* v,
                           bool conjugated, T* w) {
    WeighedSum<E> sums[kVectors];
    clear(sums);
    Line<E> turn[kVectors];
    if constexpr (kUpdate)
#pragma GCC unroll 4
      for (int p = 0; p < kVectors; ++p) turn[p] = Line<E>(-loadu<V>(u + p * kN));
    for (int64_t i = 0; i < rows; ++i) {
      const Factor<E> f(v[i]), g(kUpdate ? z[i] : E{});
#pragma GCC unroll 4
      for (int p = 0; p < kVectors; ++p) {
        T* at = a + i * kParts * stride + p * kN;
        V x = loadu<V>(at);
        if constexpr (kUpdate) {
          x = g.add(turn[p], x);
          storeu(at, x);
        }
        sums[p].add(f, x);
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < kVectors; ++p) storeu(w + p * kN, sums[p].total(conjugated));
  }
  template <bool kUpdate>
  static void combine_parts(E* a, int64_t stride, int64_t rows, int64_t columns, const E* z, const E* u,
                            const E* v, bool conjugated, E* w) {
    constexpr int64_t kAtATime = 4 * kN / kParts, kOne = kN / kParts;
    int64_t c = 0;
    const auto line = [&](int64_t at) { return kUpdate ? reals(u + at) : nullptr; };
    for (; c + kAtATime <= columns; c += kAtATime)
      combine_part<4, kUpdate>(reals(a + c), stride, rows, z, line(c), v, conjugated, reals(w + c));
    for (; c + kOne <= columns; c += kOne)
      combine_part<1, kUpdate>(reals(a + c), stride, rows, z, line(c), v, conjugated, reals(w + c));
    for (; c < columns; ++c) {
      E sum{};
      for (int64_t i = 0; i < rows; ++i) {
        if constexpr (kUpdate) a[i * stride + c] -= z[i] * u[c];
        sum += conj_if(conjugated, v[i]) * a[i * stride + c];
      }
      w[c] = sum;
    }
  }
  static void combine(S* matrix, int64_t stride, int64_t rows, int64_t columns, const S* z, const S* u,
                      const S* v, bool conjugated, S* w) {
    E* a = elements(matrix);
    if (z)
      combine_parts<true>(a, stride, rows, columns, elements(z), elements(u), elements(v), conjugated,
                          elements(w));
    else
      combine_parts<false>(a, stride, rows, columns, nullptr, nullptr, elements(v), conjugated, elements(w));
  }

  // Some rows at a time: each load of x, y and next serves all of them.
  template <int kRows, bool kBoth>
  static void update_some(E* a, int64_t stride, const E* f, const E* x, const E* g, const E* y, const E* next,
                          int64_t n, E* dots) {
    Factor<E> vf[kRows], vg[kRows];
    ProductSum<E> sums[kRows];
    clear(sums);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      vf[r] = Factor<E>(-f[r]);
      if constexpr (kBoth) vg[r] = Factor<E>(-g[r]);
    }
    for (int64_t i = 0; i < kParts * n; i += kN) {
      const Line<E> vx = Line<E>::load(reals(x) + i), vn = Line<E>::load(reals(next) + i),
                    vy = kBoth ? Line<E>::load(reals(y) + i) : vx;
      // Loads before stores: rows may be a multiple of the page apart.
      V v[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        v[r] = vf[r].add(vx, loadu<V>(reals(a + r * stride) + i));
        if constexpr (kBoth) v[r] = vg[r].add(vy, v[r]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        storeu(reals(a + r * stride) + i, v[r]);
        sums[r].add(v[r], vn);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) dots[r] = sums[r].total(false);
  }
  template <bool kBoth>
  static void update_rows(E* a, int64_t stride, int64_t rows, const E* f, const E* x, const E* g, const E* y,
                          const E* next, int64_t n, E* dots) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4)
      update_some<4, kBoth>(a + i * stride, stride, f + i, x, kBoth ? g + i : g, y, next, n, dots + i);
    for (; i < rows; ++i)
      update_some<1, kBoth>(a + i * stride, stride, f + i, x, kBoth ? g + i : g, y, next, n, dots + i);
  }
  static void update(S* a, int64_t stride, int64_t rows, const S* f, const S* x, const S* g, const S* y,
                     const S* next, int64_t n, S* dots) {
    if (g)
      update_rows<true>(elements(a), stride, rows, elements(f), elements(x), elements(g), elements(y),
                        elements(next), n, elements(dots));
    else
      update_rows<false>(elements(a), stride, rows, elements(f), elements(x), nullptr, nullptr,
                         elements(next), n, elements(dots));
  }

  static void hermitian_product(const S* matrix, int64_t stride, int64_t begin, int64_t end, int64_t at,
                                const S* vector, S* result) {
    constexpr int kRows = 4;
    const E *a = elements(matrix), *x = elements(vector);
    E* y = elements(result);
    for (int64_t r = begin; r < end; r += kRows) {
      const int64_t diagonal = r / kDiagonalBlock<S> * kDiagonalBlock<S>;
      const T* p = reals(a + r * stride);
      ProductSum<E> sums[kRows];
      clear(sums);
      Factor<E> factors[kRows];
#pragma GCC unroll 4
      for (int q = 0; q < kRows; ++q) factors[q] = Factor<E>(x[r + q]);
      for (int64_t c = kParts * at; c < kParts * diagonal; c += kN) {
        const Line<E> vx = Line<E>::load(reals(x) + c);
        WeighedSum<E> mirrored;
        clear(mirrored);
#pragma GCC unroll 4
        for (int q = 0; q < kRows; ++q) {
          const V v = loadu<V>(p + q * kParts * stride + c);
          sums[q].add(v, vx);
          mirrored.add(factors[q], v);
        }
        storeu(reals(y) + c, loadu<V>(reals(y) + c) + mirrored.mirrored());
      }
      for (int64_t c = kParts * diagonal; c < kParts * (diagonal + kDiagonalBlock<S>); c += kN) {
        const Line<E> vx = Line<E>::load(reals(x) + c);
#pragma GCC unroll 4
        for (int q = 0; q < kRows; ++q) sums[q].add(loadu<V>(p + q * kParts * stride + c), vx);
      }
#pragma GCC unroll 4
      for (int q = 0; q < kRows; ++q) y[r + q] += sums[q].total(false);
    }
  }

  // kColumns at a time: each load of v serves all of them.
  template <int kColumns>
  static void reflect_some(const E* v, int64_t n, T tau, E* columns, int64_t stride) {
    const T* p = reals(v);
    const int64_t whole = kParts * n / kN * kN;
    Factor<E> factors[kColumns];
    E dots[kColumns];
    {
      ProductSum<E> sums[kColumns];
      clear(sums);
      for (int64_t i = 0; i < whole; i += kN) {
        const V x = loadu<V>(p + i);
#pragma GCC unroll 4
        for (int k = 0; k < kColumns; ++k) sums[k].add(x, Line<E>::load(reals(columns + k * stride) + i));
      }
#pragma GCC unroll 4
      for (int k = 0; k < kColumns; ++k) {
        dots[k] = whole > 0 ? sums[k].total(true) : E{};
        for (int64_t t = whole / kParts; t < n; ++t) dots[k] += conj_if(true, v[t]) * columns[k * stride + t];
        dots[k] = tau * dots[k];
        factors[k] = Factor<E>(-dots[k]);
      }
    }
    for (int64_t i = 0; i < whole; i += kN) {
      const Line<E> x = Line<E>::load(p + i);
#pragma GCC unroll 4
      for (int k = 0; k < kColumns; ++k) {
        T* to = reals(columns + k * stride) + i;
        storeu(to, factors[k].add(x, loadu<V>(to)));
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < kColumns; ++k)
      for (int64_t t = whole / kParts; t < n; ++t) columns[k * stride + t] -= dots[k] * v[t];
  }
  static void reflect(const S* v, int64_t n, T tau, S* columns, int64_t stride, int64_t count) {
    int64_t k = 0;
    for (; k + 4 <= count; k += 4)
      reflect_some<4>(elements(v), n, tau, elements(columns) + k * stride, stride);
    for (; k < count; ++k) reflect_some<1>(elements(v), n, tau, elements(columns) + k * stride, stride);
  }

  static constexpr PanelKernels<S, T> table{dots, combine, update, hermitian_product, reflect};
};

}  // namespace

const PanelTable& panel_kernels_table() {
  static constexpr PanelTable table{Panels<float>::table, Panels<double>::table,
                                    Panels<cpu::Complex<float>>::table, Panels<cpu::Complex<double>>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
