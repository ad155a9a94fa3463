// cholesky, lu, solve, inv, solve_triangular: of each matrix of a batch, in parallel; of a single large one,
// in blocks on all threads.
#include <algorithm>
#include <numeric>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/small_matrices.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

// to[j, i] = conj(from[i, j]) for j <= i, and zeros elsewhere, where from's rows and columns are n apart.
template <class T>
void copy_flipped_triangle(const T* from, T* to, int64_t n) {
  constexpr int64_t kTile = 32;
  const int64_t tiles = (n + kTile - 1) / kTile;
  parallel_ranges(tiles, std::max<int64_t>(1, 65536 / (n * kTile)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t * kTile, last = std::min(n, first + kTile);
      for (int64_t i = first; i < last; ++i) std::fill(to + i * n, to + i * n + first, T{0});
      for (int64_t at = first; at < n; at += kTile)
        for (int64_t j = first; j < last; ++j)
          for (int64_t i = at; i < std::min(n, at + kTile); ++i)
            to[j * n + i] = i >= j ? conj(from[i * n + j]) : T{0};
    }
  });
}
// The same of an upper triangle: to[i, j] = conj(from[j, i]) for j <= i.
template <class T>
void copy_flipped_upper(const T* from, T* to, int64_t n) {
  constexpr int64_t kTile = 32;
  const int64_t tiles = (n + kTile - 1) / kTile;
  parallel_ranges(tiles, std::max<int64_t>(1, 65536 / (n * kTile)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t * kTile, last = std::min(n, first + kTile);
      for (int64_t at = 0; at < last; at += kTile)
        for (int64_t i = first; i < last; ++i)
          for (int64_t j = at; j < std::min(last, at + kTile); ++j)
            to[i * n + j] = j <= i ? conj(from[j * n + i]) : T{0};
      for (int64_t i = first; i < last; ++i) std::fill(to + i * n + last, to + (i + 1) * n, T{0});
    }
  });
}

bool small_matrices(const array& a) {
  const int64_t n = a.shape(-1);
  return in_lanes(n, static_cast<int64_t>(a.size()) / (n * n));
}
// f.operator()<T>(begin, count) for pieces of a batch of small square matrices.
template <class F>
void each_small_piece(const array& a, F&& f) {
  const int64_t n = a.shape(-1), batch = static_cast<int64_t>(a.size()) / (n * n);
  const int64_t grain = std::max(kSmallGroup, (1 << 15) / (n * n * n + 8) / kSmallGroup * kSmallGroup);
  parallel_ranges(batch, grain, [&](int64_t begin, int64_t end) {
    a.dtype() == float64     ? f.template operator()<double>(begin, end - begin)
    : a.dtype() == complex64 ? f.template operator()<C>(begin, end - begin)
                             : f.template operator()<float>(begin, end - begin);
  });
}
[[noreturn]] void not_definite() { throw invalid("linalg.cholesky", "the matrix is not positive definite"); }
[[noreturn]] void is_singular(const char* op, int64_t pivot, int64_t n) {
  throw invalid(op, "the matrix is singular: pivot ", pivot, " of ", n, " is 0");
}

void run_cholesky(const linalg::Cholesky& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (small_matrices(a))
    return each_small_piece(a, [&]<class T>(int64_t begin, int64_t count) {
      const int64_t at = begin * n * n;
      if (small<T>().cholesky(a.data<T>() + at, out.data<T>() + at, count, n, p.upper) < count * n)
        not_definite();
    });
  each_matrix(a, 1, [&]<class T>(int64_t item) {
    const T* from = a.data<T>() + item * n * n;
    T* to = out.data<T>() + item * n * n;
    const Workspace other(p.upper ? 0 : n * n * static_cast<int64_t>(sizeof(T)));
    T* u = p.upper ? to : other.as<T>();
    if (p.upper) {
      for (int64_t i = 0; i < n; ++i) {
        std::fill(to + i * n, to + i * n + i, T{0});
        std::copy(from + i * n + i, from + (i + 1) * n, to + i * n + i);
      }
    } else {
      copy_flipped_triangle(from, u, n);
    }
    if (!cholesky(u, n, n)) not_definite();
    if (p.upper)
      for (int64_t i = 0; i < n; ++i) std::fill(to + i * n, to + i * n + i, T{0});
    else
      copy_flipped_upper(u, to, n);
  });
}

void run_lu(const linalg::LU&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  copy_to(inputs[0], outputs[0].data<void>());
  const int64_t m = inputs[0].shape(-2), n = inputs[0].shape(-1), k = std::min(m, n);
  if (m == 0) return;
  if (n == 0) {
    auto* rows = outputs[2].data<uint32_t>();
    for (size_t i = 0; i < outputs[2].size(); ++i) rows[i] = static_cast<uint32_t>(i % m);
    return;
  }
  auto *pivots = outputs[1].data<uint32_t>(), *rows = outputs[2].data<uint32_t>();
  const auto place_rows = [&](int64_t item, uint32_t* order) {
    std::iota(order, order + m, 0);
    for (int64_t j = 0; j < k; ++j) std::swap(order[j], order[pivots[item * k + j]]);
    for (int64_t i = 0; i < m; ++i) rows[item * m + order[i]] = static_cast<uint32_t>(i);
  };
  if (m == n && small_matrices(inputs[0]))
    return each_small_piece(outputs[0], [&]<class T>(int64_t begin, int64_t count) {
      small<T>().lu(outputs[0].data<T>() + begin * n * n, count, n, pivots + begin * n);
      uint32_t order[kLaneMatrix];
      for (int64_t item = begin; item < begin + count; ++item) place_rows(item, order);
    });
  each_matrix(outputs[0], 1, [&]<class T>(int64_t item) {
    const Workspace space(k * static_cast<int64_t>(sizeof(int64_t)) +
                          m * static_cast<int64_t>(sizeof(uint32_t)));
    auto* found = space.as<int64_t>();
    lu(outputs[0].data<T>() + item * m * n, n, m, n, found);
    for (int64_t j = 0; j < k; ++j) pivots[item * k + j] = static_cast<uint32_t>(found[j]);
    place_rows(item, reinterpret_cast<uint32_t*>(found + k));
  });
}

template <class T>
void check_diagonal(const char* op, const T* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (roughly(a[i * n + i]) == 0) is_singular(op, i, n);
}

template <class T>
void solve_small(const char* op, const T* a, const T* b, T* x, int64_t count, int64_t n, int64_t columns) {
  const int64_t regular = small<T>().solve(a, b, x, count, n, columns);
  if (regular < count * n) is_singular(op, regular % n, n);
}

// x <- a^-1 x; a is used up.
template <class T>
void solve_in_place(const char* op, T* a, int64_t n, T* x, int64_t columns) {
  const Workspace space(n * static_cast<int64_t>(sizeof(int64_t)));
  int64_t* pivots = space.as<int64_t>();
  lu(a, n, n, n, pivots);
  check_diagonal(op, a, n);
  exchange_rows(x, columns, columns, pivots, 0, n);
  solve_triangle(a, n, n, false, true, x, columns, columns);
  solve_triangle(a, n, n, true, false, x, columns, columns);
}

void run_solve(const linalg::Solve&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  copy_to(inputs[1], out.data<void>());
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0]);
  const int64_t n = out.shape(-2), columns = out.shape(-1);
  if (small_matrices(a) && columns <= kSmallColumns)
    return each_small_piece(a, [&]<class T>(int64_t begin, int64_t count) {
      T* x = out.data<T>() + begin * n * columns;
      solve_small("linalg.solve", a.data<T>() + begin * n * n, x, x, count, n, columns);
    });
  each_matrix(a, 1, [&]<class T>(int64_t item) {
    const T* from = a.data<T>() + item * n * n;
    const Workspace space(n * n * static_cast<int64_t>(sizeof(T)));
    T* used = space.as<T>();
    std::copy(from, from + n * n, used);
    solve_in_place("linalg.solve", used, n, out.data<T>() + item * n * columns, columns);
  });
}

void run_inverse(const linalg::Inverse&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array a = row_contiguous(inputs[0]);
  const int64_t n = out.shape(-1);
  if (small_matrices(a))
    return each_small_piece(a, [&]<class T>(int64_t begin, int64_t count) {
      const int64_t at = begin * n * n;
      solve_small<T>("linalg.inv", a.data<T>() + at, nullptr, out.data<T>() + at, count, n, n);
    });
  each_matrix(a, 1, [&]<class T>(int64_t item) {
    const T* from = a.data<T>() + item * n * n;
    T* to = out.data<T>() + item * n * n;
    const Workspace space(n * n * static_cast<int64_t>(sizeof(T)));
    T* used = space.as<T>();
    std::copy(from, from + n * n, used);
    std::fill(to, to + n * n, T{0});
    for (int64_t i = 0; i < n; ++i) to[i * n + i] = T{1};
    solve_in_place("linalg.inv", used, n, to, n);
  });
}

void run_solve_triangular(const linalg::TriangularSolve& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  copy_to(inputs[1], out.data<void>());
  const array a = row_contiguous(inputs[0]);
  const int64_t n = out.shape(-2), columns = out.shape(-1);
  if (out.size() == 0) return;
  each_matrix(a, 1, [&]<class T>(int64_t item) {
    const T* one = a.data<T>() + item * n * n;
    for (int64_t i = 0; i < n; ++i)
      if (roughly(one[i * n + i]) == 0)
        throw invalid("linalg.solve_triangular", "the matrix is singular: element ", i,
                      " of its diagonal is 0");
    solve_triangle(one, n, n, p.upper, false, out.data<T>() + item * n * columns, columns, columns);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::Cholesky>(run_cholesky) &&
                        kernels(Device::cpu).add<linalg::LU>(run_lu) &&
                        kernels(Device::cpu).add<linalg::Solve>(run_solve) &&
                        kernels(Device::cpu).add<linalg::Inverse>(run_inverse) &&
                        kernels(Device::cpu).add<linalg::TriangularSolve>(run_solve_triangular);

}  // namespace
}  // namespace mlx::core::cpu
