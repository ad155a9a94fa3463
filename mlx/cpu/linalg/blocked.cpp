#include "mlx/cpu/linalg/blocked.h"

#include <algorithm>
#include <cmath>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/factor.h"
#include "mlx/cpu/isa/vectors.h"
#include "mlx/cpu/linalg/product.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kBlock = kSubstitution;
constexpr int64_t kPanel = kLuColumns;
constexpr int64_t kFew = 6;
constexpr int64_t kColumns = 128;  // of an item

template <class T>
void substitute(const T* a, int64_t row, int64_t column, bool conjugated, int64_t n, bool upper, bool unit,
                T* x, int64_t ldx, int64_t columns) {
  // An item has some 20 us of work.
  const int64_t grain = std::max(kColumns, (int64_t{1} << 18) / (n * n) / kColumns * kColumns);
  parallel_ranges(columns, grain, [&](int64_t begin, int64_t end) {
    factor<T>().substitute(a, row, column, conjugated, n, upper, unit, x + begin, ldx, end - begin);
  });
}

}  // namespace

template <class T>
void multiply_into(T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Operand<T> a, Operand<T> b,
                   double alpha, double beta) {
  if (m == 0 || n == 0) return;
  multiply_plain(sizeof(T) == 4 ? float32 : float64, c, ldc, m, n, k, a, b, alpha, beta);
}

namespace {

// The half that is solved first, what it does to the other, the other.
template <class T>
void solve_halves(const T* a, int64_t lda, int64_t n, bool upper, bool unit, T* x, int64_t ldx,
                  int64_t columns) {
  if (n <= kBlock) return substitute(a, lda, 1, false, n, upper, unit, x, ldx, columns);
  const int64_t half = (n / 2 + kBlock - 1) / kBlock * kBlock, first = upper ? half : 0,
                second = upper ? 0 : half;
  const int64_t known = upper ? n - half : half;
  solve_halves(a + first * (lda + 1), lda, known, upper, unit, x + first * ldx, ldx, columns);
  multiply_into<T>(x + second * ldx, ldx, n - known, columns, known, {a + second * lda + first, lda},
                   {x + first * ldx, ldx}, -1, 1);
  solve_halves(a + second * (lda + 1), lda, n - known, upper, unit, x + second * ldx, ldx, columns);
}

}  // namespace

template <class T>
void solve_triangle(const T* a, int64_t lda, int64_t n, bool upper, bool unit, T* x, int64_t ldx,
                    int64_t columns) {
  if (n <= kBlock) return substitute(a, lda, 1, false, n, upper, unit, x, ldx, columns);
  // Columns are independent of each other: threads need not meet.
  const int64_t grain = std::clamp(columns / 4 / kBlock * kBlock, kColumns, 4 * kColumns);
  parallel_ranges(columns, grain, [&](int64_t begin, int64_t end) {
    solve_halves(a, lda, n, upper, unit, x + begin, ldx, end - begin);
  });
}

template <class T>
bool cholesky(T* a, int64_t lda, int64_t n) {
  for (int64_t k = 0; k < n; k += kBlock) {
    const int64_t size = std::min(kBlock, n - k), right = n - k - size;
    T* block = a + k * lda + k;
    if (k > 0) multiply_into<T>(block, lda, size, n - k, k, {a + k, 1, lda, true}, {a + k, lda}, -1, 1);
    if (factor<T>().cholesky(block, size, lda) < size) return false;
    if (right > 0) substitute(block, 1, lda, true, size, false, false, block + size, lda, right);
  }
  return true;
}

template <class T>
void exchange_rows(T* a, int64_t lda, int64_t columns, const int64_t* pivots, int64_t begin, int64_t end) {
  const int64_t grain = std::max(kColumns, (int64_t{1} << 15) / std::max<int64_t>(1, end - begin));
  parallel_ranges(columns, grain, [&](int64_t first, int64_t last) {
    for (int64_t j = begin; j < end; ++j)
      if (pivots[j] != j)
        std::swap_ranges(a + j * lda + first, a + j * lda + last, a + pivots[j] * lda + first);
  });
}

// Row by row, where there are too few elements for vectors.
template <class T>
void eliminate(T* a, int64_t lda, int64_t m, int64_t n, int64_t* pivots) {
  const int64_t k = std::min(m, n);
  for (int64_t j = 0; j < k; ++j) {
    T* row = a + j * lda;
    int64_t p = j;
    Real<T> most = roughly(row[j]);
    for (int64_t i = j + 1; i < m; ++i) {
      const Real<T> size = roughly(a[i * lda + j]);
      if (size > most) most = size, p = i;
    }
    pivots[j] = p;
    if (p != j) std::swap_ranges(row, row + n, a + p * lda);
    if (roughly(row[j]) == 0) continue;
    const T inverse = T{1} / row[j];
    const bool exact = !std::isfinite(roughly(inverse));
    for (int64_t i = j + 1; i < m; ++i) {
      T* to = a + i * lda;
      const T f = exact ? to[j] / row[j] : to[j] * inverse;
      to[j] = f;
      for (int64_t c = j + 1; c < n; ++c) to[c] -= f * row[c];
    }
  }
}

// Toledo's recursion: the left half of the columns, what that does to the right half, the right half.
template <class T>
void lu(T* a, int64_t lda, int64_t m, int64_t n, int64_t* pivots) {
  const int64_t k = std::min(m, n);
  if (std::max(m, n) <= kFew) return eliminate(a, lda, m, n, pivots);
  if (k <= kPanel) {
    // Parts of complex numbers are columns of their own.
    using R = Real<T>;
    constexpr int64_t kEven = 64 / sizeof(R), kPlanes = kParts<T>;
    const int64_t stride = (m + kEven - 1) / kEven * kEven;
    Workspace space((k + 1) * kPlanes * stride * static_cast<int64_t>(sizeof(R)));
    R* columns = space.as<R>();
    const auto transpose = real_vectors<R>().transpose;
    transpose(reals(a), kPlanes * lda, m, kPlanes * k, columns, stride);
    for (int64_t j = 0; j < kPlanes * k; ++j)
      std::fill(columns + j * stride + m, columns + (j + 1) * stride, R{0});
    factor<T>().lu(columns, m, k, stride, pivots);
    transpose(columns, stride, kPlanes * k, m, reals(a), kPlanes * lda);
    exchange_rows(a + k, lda, n - k, pivots, 0, k);
    solve_triangle(a, lda, k, false, true, a + k, lda, n - k);
    if (m > k && n > k)
      multiply_into<T>(a + k * lda + k, lda, m - k, n - k, k, {a + k * lda, lda}, {a + k, lda}, -1, 1);
    return;
  }
  const int64_t half = (k / 2 + kPanel - 1) / kPanel * kPanel;
  lu(a, lda, m, half, pivots);
  T *right = a + half, *below = a + half * lda, *rest = below + half;
  exchange_rows(right, lda, n - half, pivots, 0, half);
  solve_triangle(a, lda, half, false, true, right, lda, n - half);
  multiply_into<T>(rest, lda, m - half, n - half, half, {below, lda}, {right, lda}, -1, 1);
  lu(rest, lda, m - half, n - half, pivots + half);
  exchange_rows(below, lda, half, pivots + half, 0, k - half);
  for (int64_t j = half; j < k; ++j) pivots[j] += half;
}

template void multiply_into<float>(float*, int64_t, int64_t, int64_t, int64_t, Operand<float>, Operand<float>,
                                   double, double);
template void multiply_into<double>(double*, int64_t, int64_t, int64_t, int64_t, Operand<double>,
                                    Operand<double>, double, double);
template void solve_triangle<float>(const float*, int64_t, int64_t, bool, bool, float*, int64_t, int64_t);
template void solve_triangle<double>(const double*, int64_t, int64_t, bool, bool, double*, int64_t, int64_t);
template void solve_triangle<C>(const C*, int64_t, int64_t, bool, bool, C*, int64_t, int64_t);
template bool cholesky<C>(C*, int64_t, int64_t);
template void exchange_rows<C>(C*, int64_t, int64_t, const int64_t*, int64_t, int64_t);
template void lu<C>(C*, int64_t, int64_t, int64_t, int64_t*);
template bool cholesky<float>(float*, int64_t, int64_t);
template bool cholesky<double>(double*, int64_t, int64_t);
template void exchange_rows<float>(float*, int64_t, int64_t, const int64_t*, int64_t, int64_t);
template void exchange_rows<double>(double*, int64_t, int64_t, const int64_t*, int64_t, int64_t);
template void lu<float>(float*, int64_t, int64_t, int64_t, int64_t*);
template void lu<double>(double*, int64_t, int64_t, int64_t, int64_t*);

}  // namespace mlx::core::cpu
