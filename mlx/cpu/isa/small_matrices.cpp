#include "mlx/cpu/isa/small_matrices.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

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
  template <int N>
  static void eliminate(V* a, V* x, int64_t columns, V* pivots) {
    for (int j = 0; j < N; ++j) {
      V most = magnitude(a[j * N + j]), at = splat<V>(T(j));
      for (int i = j + 1; i < N; ++i) {
        const V size = magnitude(a[i * N + j]);
        at = size > most ? splat<V>(T(i)) : at;
        most = size > most ? size : most;
      }
      if (pivots) pivots[j] = at;
      for (int i = j + 1; i < N; ++i) {
        const auto chosen = at == splat<V>(T(i));
        for (int c = 0; c < N; ++c) exchange(chosen, a[j * N + c], a[i * N + c]);
        for (int64_t c = 0; c < columns; ++c) exchange(chosen, x[j * columns + c], x[i * columns + c]);
      }
      const V pivot = a[j * N + j];
      for (int i = j + 1; i < N; ++i) {
        const V f = pivot == 0 ? V{} : a[i * N + j] / pivot;
        a[i * N + j] = pivot == 0 ? a[i * N + j] : f;
        for (int c = j + 1; c < N; ++c) a[i * N + c] -= f * a[j * N + c];
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

  template <int N>
  static int64_t solve(const T* from, const T* b, T* to, int64_t count, int64_t columns) {
    V a[N * N], x[N * kSmallColumns];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(from + m * N * N, some, N, N, a);
      if (b)
        load(b + m * N * columns, some, N, columns, x);
      else
        for (int e = 0; e < N * N; ++e) x[e] = splat<V>(T(e / N == e % N ? 1 : 0));
      eliminate<N>(a, x, columns, nullptr);
      auto singular = a[0] == 0;
      for (int i = 1; i < N; ++i) singular |= a[i * N + i] == 0;
      for (int64_t lane = 0; lane < some; ++lane)
        for (int i = 0; singular[lane] && i < N; ++i)
          if (a[i * N + i][lane] == 0) return (m + lane) * N + i;
      for (int i = N - 1; i >= 0; --i)
        for (int64_t c = 0; c < columns; ++c) {
          V sum = x[i * columns + c];
          for (int j = i + 1; j < N; ++j) sum -= a[i * N + j] * x[j * columns + c];
          x[i * columns + c] = sum / a[i * N + i];
        }
      store(x, some, N * columns, to + m * N * columns);
    }
    return count * N;
  }

  template <int N>
  static int64_t cholesky(const T* from, T* to, int64_t count, bool upper) {
    V a[N * N];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(from + m * N * N, some, N, N, a);
      // Column j of L is row j of U: where they are read from and written to.
      const int row = upper ? 1 : N, column = upper ? N : 1;
      for (int j = 0; j < N; ++j) {
        V d = a[j * N + j];
        for (int k = 0; k < j; ++k) d -= a[j * row + k * column] * a[j * row + k * column];
        const auto bad = !((d > 0) & (d - d == 0));
        for (int64_t lane = 0; lane < some; ++lane)
          if (bad[lane]) return (m + lane) * N + j;
        for (int lane = 0; lane < kN; ++lane) d[lane] = root(d[lane]);
        a[j * N + j] = d;
        for (int i = j + 1; i < N; ++i) {
          V sum = a[i * row + j * column];
          for (int k = 0; k < j; ++k) sum -= a[i * row + k * column] * a[j * row + k * column];
          a[i * row + j * column] = sum / d;
          a[j * row + i * column] = V{};
        }
      }
      store(a, some, N * N, to + m * N * N);
    }
    return count * N;
  }
  static T root(T x) {
    if constexpr (sizeof(T) == 4)
      return __builtin_sqrtf(x);
    else
      return __builtin_sqrt(x);
  }

  template <int N>
  static void lu(T* matrices, int64_t count, uint32_t* pivots) {
    V a[N * N], found[N];
    for (int64_t m = 0; m < count; m += kN) {
      const int64_t some = count - m < kN ? count - m : kN;
      load(matrices + m * N * N, some, N, N, a);
      eliminate<N>(a, nullptr, 0, found);
      store(a, some, N * N, matrices + m * N * N);
      for (int64_t lane = 0; lane < some; ++lane)
        for (int j = 0; j < N; ++j) pivots[(m + lane) * N + j] = static_cast<uint32_t>(found[j][lane]);
    }
  }

  // f.operator()<N>() for a number of rows that is known when this is compiled.
  template <int N = 1, class F>
  static auto of_rows(int64_t n, const F& f) {
    if constexpr (N < kSmallMatrix)
      if (n > N) return of_rows<N + 1>(n, f);
    return f.template operator()<N>();
  }
  static int64_t solve_any(const T* a, const T* b, T* x, int64_t count, int64_t n, int64_t columns) {
    return of_rows(n, [&]<int N>() { return solve<N>(a, b, x, count, columns); });
  }
  static int64_t cholesky_any(const T* a, T* out, int64_t count, int64_t n, bool upper) {
    return of_rows(n, [&]<int N>() { return cholesky<N>(a, out, count, upper); });
  }
  static void lu_any(T* a, int64_t count, int64_t n, uint32_t* pivots) {
    of_rows(n, [&]<int N>() { lu<N>(a, count, pivots); });
  }
  static constexpr SmallKernels<T> table{solve_any, cholesky_any, lu_any};
};

}  // namespace

const SmallTable& small_kernels_table() {
  static constexpr SmallTable table{Small<float>::table, Small<double>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
