// Blocks of 1 x 1 and 2 x 2 on the diagonal of a real Schur form: their standard form, and their exchange.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "mlx/cpu/isa/schur.h"
#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

template <class T>
struct Turn {
  T c = 1, s = 0;  // x, y <- c x + s y, c y - s x
};

// The rotation from both sides after which c = 0, or a = d and b c < 0. (Z. Bai, J. Demmel, "On swapping
// diagonal blocks in real Schur form", 1993, and LAPACK's dlanv2.)
template <class T>
Turn<T> standardize(T& a, T& b, T& c, T& d) {
  constexpr T eps = std::numeric_limits<T>::epsilon();
  if (c == 0) return {};
  if (b == 0) {
    std::swap(a, d);
    b = -c;
    c = 0;
    return {0, 1};
  }
  if (a == d && std::signbit(b) != std::signbit(c)) return {};
  const T gap = a - d, half = gap / 2, most = std::max(std::abs(b), std::abs(c)),
          least = std::copysign(T{1}, b) * std::copysign(T{1}, c) * std::min(std::abs(b), std::abs(c)),
          scale = std::max(std::abs(half), most), z = half / scale * half + most / scale * least;
  if (z >= 4 * eps) {  // two real eigenvalues
    const T root = half + std::copysign(std::sqrt(scale) * std::sqrt(z), half), length = std::hypot(c, root);
    const Turn<T> turn{root / length, c / length};
    a = d + root;
    d -= most / root * least;
    b -= c;
    c = 0;
    return turn;
  }
  // Complex ones, or real ones that are nearly equal: equal elements on the diagonal.
  const T sum = b + c, length = std::hypot(sum, gap);
  Turn<T> turn;
  turn.c = std::sqrt((1 + std::abs(sum) / length) / 2);
  turn.s = -half / (length * turn.c) * std::copysign(T{1}, sum);
  const T aa = a * turn.c + b * turn.s, bb = b * turn.c - a * turn.s, cc = c * turn.c + d * turn.s,
          dd = d * turn.c - c * turn.s;
  a = aa * turn.c + cc * turn.s;
  b = bb * turn.c + dd * turn.s;
  c = cc * turn.c - aa * turn.s;
  d = dd * turn.c - bb * turn.s;
  const T middle = (a + d) / 2;
  a = d = middle;
  if (c == 0) return turn;
  if (b == 0) {
    b = -c;
    c = 0;
    return {-turn.s, turn.c};
  }
  if (std::signbit(b) != std::signbit(c)) return turn;
  // Real after all.
  const T rb = std::sqrt(std::abs(b)), rc = std::sqrt(std::abs(c)), p = std::copysign(rb * rc, c),
          f = 1 / std::sqrt(std::abs(b + c)), c1 = rb * f, s1 = rc * f;
  a = middle + p;
  d = middle - p;
  b -= c;
  c = 0;
  return {turn.c * c1 - turn.s * s1, turn.c * s1 + turn.s * c1};
}

// A Schur form that is being made: rotations from both sides, of rows [top, ...] and columns [..., right).
template <class T>
struct SchurForm {
  const PaddedMatrix<T>& h;
  const PaddedMatrix<T>* z;
  int64_t n;  // rows and columns that exist; z's rows are `length` long
  int64_t length;

  T& at(int64_t i, int64_t j) const { return h.row(i)[j]; }

  // Rows and columns i and i + 1 but for the block of both.
  void rotate(int64_t i, Turn<T> t, int64_t top, int64_t right) const {
    schur<T>().turn(h.row(i) + i + 2, h.row(i + 1) + i + 2, right - i - 2, t.c, t.s);
    for (int64_t r = top; r < i; ++r) {
      T* p = h.row(r) + i;
      const T x = p[0], y = p[1];
      p[0] = t.c * x + t.s * y;
      p[1] = t.c * y - t.s * x;
    }
    if (z) schur<T>().turn(z->row(i), z->row(i + 1), length, t.c, t.s);
  }
  void standardize_block(int64_t i, int64_t top, int64_t right) const {
    const Turn<T> t = standardize(at(i, i), at(i, i + 1), at(i + 1, i), at(i + 1, i + 1));
    if (t.s != 0 || t.c != 1) rotate(i, t, top, right);
  }
  bool pair(int64_t i) const { return i + 1 < n && at(i + 1, i) != 0; }

  // The blocks at i, of `first` rows, and below it, of `second`, change places. False where rounding would
  // spoil the form.
  bool exchange(int64_t i, int64_t first, int64_t second) const {
    if (first == 1 && second == 1) {
      const T a = at(i, i), d = at(i + 1, i + 1), x = at(i, i + 1), y = d - a, r = std::hypot(x, y);
      if (r == 0) return true;
      rotate(i, {x / r, y / r}, 0, n);
      at(i, i) = d;
      at(i + 1, i + 1) = a;
      return true;
    }
    return exchange_pairs(i, first, second);
  }

 private:
  // With A X - X B = C of the blocks A and B and what is right of A, columns of (-X, 1) span the invariant
  // subspace of B, which is to be first.
  bool exchange_pairs(int64_t i, int64_t p, int64_t q) const {
    const int64_t m = p + q;
    T d[4][4], x[2][2], largest = 0;
    for (int64_t r = 0; r < m; ++r)
      for (int64_t c = 0; c < m; ++c) {
        d[r][c] = at(i + r, i + c);
        largest = std::max(largest, std::abs(d[r][c]));
      }
    if (!solve_between(d, p, q, x)) return false;
    // Columns of Q: reflections of (-X, 1).
    T basis[4][2] = {}, turn[4][4] = {};
    for (int64_t c = 0; c < q; ++c) {
      for (int64_t r = 0; r < p; ++r) basis[r][c] = -x[r][c];
      basis[p + c][c] = 1;
    }
    for (int64_t r = 0; r < m; ++r) turn[r][r] = 1;
    for (int64_t c = 0; c < q; ++c) {
      T squares = 0;
      for (int64_t r = c; r < m; ++r) squares += basis[r][c] * basis[r][c];
      const T beta = -std::copysign(std::sqrt(squares), basis[c][c]);
      if (beta == 0) return false;
      T v[4] = {};
      v[c] = 1;
      for (int64_t r = c + 1; r < m; ++r) v[r] = basis[r][c] / (basis[c][c] - beta);
      const T tau = (beta - basis[c][c]) / beta;
      for (int64_t k = c; k < q; ++k) {
        T sum = 0;
        for (int64_t r = c; r < m; ++r) sum += v[r] * basis[r][k];
        for (int64_t r = c; r < m; ++r) basis[r][k] -= tau * sum * v[r];
      }
      for (int64_t r = 0; r < m; ++r) {
        T sum = 0;
        for (int64_t k = c; k < m; ++k) sum += turn[r][k] * v[k];
        for (int64_t k = c; k < m; ++k) turn[r][k] -= tau * sum * v[k];
      }
    }
    T half[4][4], found[4][4];
    for (int64_t r = 0; r < m; ++r)
      for (int64_t c = 0; c < m; ++c) {
        half[r][c] = 0;
        for (int64_t k = 0; k < m; ++k) half[r][c] += turn[k][r] * d[k][c];
      }
    for (int64_t r = 0; r < m; ++r)
      for (int64_t c = 0; c < m; ++c) {
        found[r][c] = 0;
        for (int64_t k = 0; k < m; ++k) found[r][c] += half[r][k] * turn[k][c];
      }
    const T limit = std::max(10 * std::numeric_limits<T>::epsilon() * largest, std::numeric_limits<T>::min());
    for (int64_t r = q; r < m; ++r)
      for (int64_t c = 0; c < q; ++c) {
        if (!(std::abs(found[r][c]) <= limit)) return false;
        found[r][c] = 0;
      }
    for (int64_t r = 0; r < m; ++r) std::copy(found[r], found[r] + m, h.row(i + r) + i);
    T packed[16];
    for (int64_t r = 0; r < m; ++r) std::copy(turn[r], turn[r] + m, packed + r * m);
    schur<T>().turn_rows(h.row(i) + i + m, h.stride, n - i - m, m, packed);
    schur<T>().turn_columns(h.row(0) + i, h.stride, i, m, packed);
    if (z) schur<T>().turn_rows(z->row(i), z->stride, length, m, packed);
    if (q == 2) standardize_block(i, 0, n);
    if (p == 2) standardize_block(i + q, 0, n);
    return true;
  }
  // A X - X B = C: at most four equations, by elimination with pivots of rows and columns.
  static bool solve_between(const T (&d)[4][4], int64_t p, int64_t q, T (&x)[2][2]) {
    const int64_t m = p * q;
    T a[4][5] = {};
    int64_t order[4] = {0, 1, 2, 3};
    for (int64_t r = 0; r < p; ++r)
      for (int64_t c = 0; c < q; ++c) {
        T* equation = a[r * q + c];
        for (int64_t k = 0; k < p; ++k) equation[k * q + c] += d[r][k];
        for (int64_t k = 0; k < q; ++k) equation[r * q + k] -= d[p + k][p + c];
        equation[4] = d[r][p + c];
      }
    for (int64_t k = 0; k < m; ++k) {
      int64_t row = k, column = k;
      for (int64_t r = k; r < m; ++r)
        for (int64_t c = k; c < m; ++c)
          if (std::abs(a[r][c]) > std::abs(a[row][column])) row = r, column = c;
      if (a[row][column] == 0) return false;
      std::swap_ranges(a[k], a[k] + 5, a[row]);
      for (int64_t r = 0; r < m; ++r) std::swap(a[r][k], a[r][column]);
      std::swap(order[k], order[column]);
      for (int64_t r = k + 1; r < m; ++r) {
        const T f = a[r][k] / a[k][k];
        for (int64_t c = k; c < m; ++c) a[r][c] -= f * a[k][c];
        a[r][4] -= f * a[k][4];
      }
    }
    T found[4];
    for (int64_t k = m - 1; k >= 0; --k) {
      T sum = a[k][4];
      for (int64_t c = k + 1; c < m; ++c) sum -= a[k][c] * found[c];
      found[k] = sum / a[k][k];
      if (!std::isfinite(found[k])) return false;
    }
    for (int64_t k = 0; k < m; ++k) x[order[k] / q][order[k] % q] = found[k];
    return true;
  }
};

}  // namespace mlx::core::cpu
