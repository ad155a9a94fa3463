#include "mlx/cpu/isa/small_matrices.h"

#include "mlx/cpu/isa/reduce_impl.h"

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

template <class T>
struct Small {
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;
  static V magnitude(V x) { return x < 0 ? -x : x; }

  // Elements of kN matrices; lanes beyond `count` are identities, which are fit for everything.
  static void load(const T* from, int64_t count, int64_t rows, int64_t columns, V* to) {
    const int64_t size = rows * columns;
    if (count < kN)
      for (int64_t e = 0; e < size; ++e) to[e] = splat<V>(T(e / columns == e % columns ? 1 : 0));
    T* lanes = reinterpret_cast<T*>(to);
    for (int64_t m = 0; m < count; ++m)
      for (int64_t e = 0; e < size; ++e) lanes[e * kN + m] = from[m * size + e];
  }
  static void store(const V* from, int64_t count, int64_t size, T* to) {
    const T* lanes = reinterpret_cast<const T*>(from);
    for (int64_t m = 0; m < count; ++m)
      for (int64_t e = 0; e < size; ++e) to[m * size + e] = lanes[e * kN + m];
  }

  // Elimination with the largest pivots of each lane; rows of x are exchanged and reduced as well. A pivot
  // of 0 leaves its column as it is.
  template <class Rows>
  static void eliminate(Rows rows, V* a, V* x, int64_t columns, V* pivots) {
    const int64_t n = rows;
    for (int64_t j = 0; j < n; ++j) {
      V most = magnitude(a[j * n + j]), at = splat<V>(T(j));
      for (int64_t i = j + 1; i < n; ++i) {
        const V size = magnitude(a[i * n + j]);
        at = size > most ? splat<V>(T(i)) : at;
        most = size > most ? size : most;
      }
      if (pivots) pivots[j] = at;
      for (int64_t i = j + 1; i < n; ++i) {
        const auto chosen = at == splat<V>(T(i));
        for (int64_t c = 0; c < n; ++c) exchange(chosen, a[j * n + c], a[i * n + c]);
        for (int64_t c = 0; c < columns; ++c) exchange(chosen, x[j * columns + c], x[i * columns + c]);
      }
      const V pivot = a[j * n + j];
      for (int64_t i = j + 1; i < n; ++i) {
        const V f = pivot == 0 ? V{} : a[i * n + j] / pivot;
        a[i * n + j] = pivot == 0 ? a[i * n + j] : f;
        for (int64_t c = j + 1; c < n; ++c) a[i * n + c] -= f * a[j * n + c];
        for (int64_t c = 0; c < columns; ++c) x[i * columns + c] -= f * x[j * columns + c];
      }
    }
  }
  template <class M>
  static void exchange(M chosen, V& x, V& y) {
    const V old = x;
    x = chosen ? y : x;
    y = chosen ? old : y;
  }

  template <class Rows>
  static int64_t solve(Rows rows, const T* from, const T* b, T* to, int64_t count, int64_t columns) {
    const int64_t n = rows;
    V a[kMost<Rows> * kMost<Rows>], x[kMost<Rows> * kSmallColumns];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(from + m * n * n, some, n, n, a);
      if (b)
        load(b + m * n * columns, some, n, columns, x);
      else
        for (int64_t e = 0; e < n * n; ++e) x[e] = splat<V>(T(e / n == e % n ? 1 : 0));
      eliminate(rows, a, x, columns, nullptr);
      auto singular = a[0] == 0;
      for (int64_t i = 1; i < n; ++i) singular |= a[i * n + i] == 0;
      for (int64_t lane = 0; lane < some; ++lane)
        for (int64_t i = 0; singular[lane] && i < n; ++i)
          if (a[i * n + i][lane] == 0) return (m + lane) * n + i;
      for (int64_t i = n - 1; i >= 0; --i)
        for (int64_t c = 0; c < columns; ++c) {
          V sum = x[i * columns + c];
          for (int64_t j = i + 1; j < n; ++j) sum -= a[i * n + j] * x[j * columns + c];
          x[i * columns + c] = sum / a[i * n + i];
        }
      store(x, some, n * columns, to + m * n * columns);
    }
    return count * n;
  }

  template <class Rows>
  static int64_t cholesky(Rows rows, const T* from, T* to, int64_t count, bool upper) {
    const int64_t n = rows;
    V a[kMost<Rows> * kMost<Rows>];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(from + m * n * n, some, n, n, a);
      // Column j of L is row j of U: where they are read from and written to.
      const int64_t row = upper ? 1 : n, column = upper ? n : 1;
      for (int64_t j = 0; j < n; ++j) {
        V d = a[j * n + j];
        for (int64_t k = 0; k < j; ++k) d -= a[j * row + k * column] * a[j * row + k * column];
        const auto bad = !((d > 0) & (d - d == 0));
        for (int64_t lane = 0; lane < some; ++lane)
          if (bad[lane]) return (m + lane) * n + j;
        for (int lane = 0; lane < kN; ++lane) d[lane] = root(d[lane]);
        a[j * n + j] = d;
        for (int64_t i = j + 1; i < n; ++i) {
          V sum = a[i * row + j * column];
          for (int64_t k = 0; k < j; ++k) sum -= a[i * row + k * column] * a[j * row + k * column];
          a[i * row + j * column] = sum / d;
          a[j * row + i * column] = V{};
        }
      }
      store(a, some, n * n, to + m * n * n);
    }
    return count * n;
  }
  static T root(T x) {
    if constexpr (sizeof(T) == 4)
      return __builtin_sqrtf(x);
    else
      return __builtin_sqrt(x);
  }

  template <class Rows>
  static void lu(Rows rows, T* matrices, int64_t count, uint32_t* pivots) {
    const int64_t n = rows;
    V a[kMost<Rows> * kMost<Rows>], found[kMost<Rows>];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(matrices + m * n * n, some, n, n, a);
      eliminate(rows, a, nullptr, 0, found);
      store(a, some, n * n, matrices + m * n * n);
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
  static int64_t solve_any(const T* a, const T* b, T* x, int64_t count, int64_t n, int64_t columns) {
    return of_rows(n, [&](auto rows) { return solve(rows, a, b, x, count, columns); });
  }
  static int64_t cholesky_any(const T* a, T* out, int64_t count, int64_t n, bool upper) {
    return of_rows(n, [&](auto rows) { return cholesky(rows, a, out, count, upper); });
  }
  static void lu_any(T* a, int64_t count, int64_t n, uint32_t* pivots) {
    of_rows(n, [&](auto rows) { lu(rows, a, count, pivots); });
  }
  static constexpr SmallKernels<T> table{solve_any, cholesky_any, lu_any};
};

}  // namespace

const SmallTable& small_kernels_table() {
  static constexpr SmallTable table{Small<float>::table, Small<double>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
