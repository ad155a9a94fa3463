#include "mlx/cpu/isa/small_matrices.h"

#include "mlx/cpu/isa/scalar.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// A number of rows that is known when this is compiled; int64_t is one that is not.
template <int N>
using Fixed = std::integral_constant<int64_t, N>;
template <class Rows>
constexpr int64_t kMost = kLaneMatrix;
template <int N>
constexpr int64_t kMost<Fixed<N>> = N;

template <class S>
struct Small {
  using T = Real<S>;
  using E = typename ScalarOf<S>::Element;
  using V = Vec<T>;
  using W = Wide<E>;
  static constexpr int kN = kLanes<T>;
  static constexpr int64_t kParts = W::kPlanes;

  static W constant(T x) {
    W w{};
    w.re += x;
    return w;
  }
  static W identity(int64_t row, int64_t column) { return constant(T(row == column ? 1 : 0)); }
  // Elements of kN matrices; lanes beyond `count` are identities, which are fit for everything.
  static void load(const S* from, int64_t count, int64_t rows, int64_t columns, W* to) {
    const int64_t size = rows * columns;
    if (count < kN)
      for (int64_t e = 0; e < size; ++e) to[e] = identity(e / columns, e % columns);
    const T* parts = reinterpret_cast<const T*>(from);
    T* lanes = reinterpret_cast<T*>(to);
    for (int64_t m = 0; m < count; ++m)
      for (int64_t e = 0; e < kParts * size; ++e) lanes[e * kN + m] = parts[m * kParts * size + e];
  }
  static void store(const W* from, int64_t count, int64_t size, S* to) {
    const T* lanes = reinterpret_cast<const T*>(from);
    T* parts = reinterpret_cast<T*>(to);
    for (int64_t m = 0; m < count; ++m)
      for (int64_t e = 0; e < kParts * size; ++e) parts[m * kParts * size + e] = lanes[e * kN + m];
  }

  // Elimination with the largest pivots of each lane; rows of x are exchanged and reduced as well. A pivot
  // of 0 leaves its column as it is.
  template <class Rows>
  static void eliminate(Rows rows, W* a, W* x, int64_t columns, V* pivots) {
    const int64_t n = rows;
    for (int64_t j = 0; j < n; ++j) {
      V most = size(a[j * n + j]), at = splat<V>(T(j));
      for (int64_t i = j + 1; i < n; ++i) {
        const V here = size(a[i * n + j]);
        at = here > most ? splat<V>(T(i)) : at;
        most = here > most ? here : most;
      }
      if (pivots) pivots[j] = at;
      for (int64_t i = j + 1; i < n; ++i) {
        const auto chosen = at == splat<V>(T(i));
        for (int64_t c = 0; c < n; ++c) exchange(chosen, a[j * n + c], a[i * n + c]);
        for (int64_t c = 0; c < columns; ++c) exchange(chosen, x[j * columns + c], x[i * columns + c]);
      }
      const W pivot = a[j * n + j];
      const auto none = is_zero(pivot);
      for (int64_t i = j + 1; i < n; ++i) {
        const W f = choose(none, W{}, a[i * n + j] / pivot);
        a[i * n + j] = choose(none, a[i * n + j], f);
        for (int64_t c = j + 1; c < n; ++c) a[i * n + c] = a[i * n + c] - f * a[j * n + c];
        for (int64_t c = 0; c < columns; ++c)
          x[i * columns + c] = x[i * columns + c] - f * x[j * columns + c];
      }
    }
  }
  template <class M>
  static void exchange(M chosen, W& x, W& y) {
    const W old = x;
    x = choose(chosen, y, x);
    y = choose(chosen, old, y);
  }

  template <class Rows>
  static int64_t solve(Rows rows, const S* from, const S* b, S* to, int64_t count, int64_t columns) {
    const int64_t n = rows;
    W a[kMost<Rows> * kMost<Rows>], x[kMost<Rows> * kSmallColumns];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(at(from, m * n * n), some, n, n, a);
      if (b)
        load(at(b, m * n * columns), some, n, columns, x);
      else
        for (int64_t e = 0; e < n * n; ++e) x[e] = identity(e / n, e % n);
      eliminate(rows, a, x, columns, nullptr);
      auto singular = is_zero(a[0]);
      for (int64_t i = 1; i < n; ++i) singular |= is_zero(a[i * n + i]);
      for (int64_t lane = 0; lane < some; ++lane)
        for (int64_t i = 0; singular[lane] && i < n; ++i)
          if (is_zero(a[i * n + i])[lane]) return (m + lane) * n + i;
      for (int64_t i = n - 1; i >= 0; --i)
        for (int64_t c = 0; c < columns; ++c) {
          W sum = x[i * columns + c];
          for (int64_t j = i + 1; j < n; ++j) sum = sum - a[i * n + j] * x[j * columns + c];
          x[i * columns + c] = sum / a[i * n + i];
        }
      store(x, some, n * columns, at(to, m * n * columns));
    }
    return count * n;
  }
  // Of complex numbers nothing is known here but their size.
  static S* at(S* p, int64_t i) { return reinterpret_cast<S*>(reinterpret_cast<T*>(p) + kParts * i); }
  static const S* at(const S* p, int64_t i) {
    return reinterpret_cast<const S*>(reinterpret_cast<const T*>(p) + kParts * i);
  }

  template <class Rows>
  static int64_t cholesky(Rows rows, const S* from, S* to, int64_t count, bool upper) {
    const int64_t n = rows;
    W a[kMost<Rows> * kMost<Rows>];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(at(from, m * n * n), some, n, n, a);
      // Column j of L is row j of U, conjugated: where they are read from and written to.
      const int64_t row = upper ? 1 : n, column = upper ? n : 1;
      const auto product = [&](int64_t i, int64_t j, int64_t k) {
        return a[i * row + k * column] * conj(a[j * row + k * column]);
      };
      for (int64_t j = 0; j < n; ++j) {
        V d = a[j * n + j].re;
        for (int64_t k = 0; k < j; ++k) d -= product(j, j, k).re;
        const auto bad = !((d > 0) & (d - d == 0));
        for (int64_t lane = 0; lane < some; ++lane)
          if (bad[lane]) return (m + lane) * n + j;
        for (int lane = 0; lane < kN; ++lane) d[lane] = root(d[lane]);
        W pivot{};
        pivot.re = d;
        a[j * n + j] = pivot;
        for (int64_t i = j + 1; i < n; ++i) {
          W sum = a[i * row + j * column];
          for (int64_t k = 0; k < j; ++k) sum = sum - product(i, j, k);
          a[i * row + j * column] = by_real(sum, d);
          a[j * row + i * column] = W{};
        }
      }
      store(a, some, n * n, at(to, m * n * n));
    }
    return count * n;
  }
  static W by_real(W x, V d) {
    x.re /= d;
    if constexpr (kPair<E>) x.im /= d;
    return x;
  }

  template <class Rows>
  static void lu(Rows rows, S* matrices, int64_t count, uint32_t* pivots) {
    const int64_t n = rows;
    W a[kMost<Rows> * kMost<Rows>];
    V found[kMost<Rows>];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(at(matrices, m * n * n), some, n, n, a);
      eliminate(rows, a, nullptr, 0, found);
      store(a, some, n * n, at(matrices, m * n * n));
      for (int64_t lane = 0; lane < some; ++lane)
        for (int64_t j = 0; j < n; ++j) pivots[(m + lane) * n + j] = static_cast<uint32_t>(found[j][lane]);
    }
  }

  // f(rows), where there are few a number that is known when this is compiled.
  template <int N = 1, class F>
  static auto of_rows(int64_t n, const F& f) {
    if (n == N) return f(Fixed<N>{});
    if constexpr (N < kSmallMatrix)
      return of_rows<N + 1>(n, f);
    else
      return f(n);
  }
  static int64_t solve_any(const S* a, const S* b, S* x, int64_t count, int64_t n, int64_t columns) {
    return of_rows(n, [&](auto rows) { return solve(rows, a, b, x, count, columns); });
  }
  static int64_t cholesky_any(const S* a, S* out, int64_t count, int64_t n, bool upper) {
    return of_rows(n, [&](auto rows) { return cholesky(rows, a, out, count, upper); });
  }
  static void lu_any(S* a, int64_t count, int64_t n, uint32_t* pivots) {
    of_rows(n, [&](auto rows) { lu(rows, a, count, pivots); });
  }
  static constexpr SmallKernels<S> table{solve_any, cholesky_any, lu_any};
};

}  // namespace

const SmallTable& small_kernels_table() {
  static constexpr SmallTable table{Small<float>::table, Small<double>::table,
                                    Small<cpu::Complex<float>>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
