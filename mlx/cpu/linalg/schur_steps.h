// What QR steps with many shifts have in common for real and complex matrices (K. Braman, R. Byers, R.
// Mathias, "The multishift QR algorithm" I and II, 2002): deflation in a window at the end, and what a window
// does to the rest of the matrix, which is products of matrices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/hessenberg.h"
#include "mlx/cpu/linalg/panel.h"
#include "mlx/cpu/linalg/rotations.h"

namespace mlx::core::cpu {

// Self is an iteration on a Hessenberg matrix h of S, n rows, and rows of z, which may be null. It has Shift,
// of which kEach eigenvalues are one; kSmall, rows of blocks that bulges one by one are faster for; kEnough,
// the percentage of a window that deflates where another window is tried at once; many(size), how many
// eigenvalues are the shifts of a step; window_of(first, last, window), the rows that a window takes;
// deflate, sweep, exceptional_shift(i, first) and shifts_of_end.
template <class Self, class S>
class SchurSteps {
 protected:
  SchurSteps(const PaddedMatrix<S>& h, int64_t n, const PaddedMatrix<S>* z) : h_(h), z_(z), n_(n) {}

  S& at(int64_t i, int64_t j) const { return h_.row(i)[j]; }
  // Rows and columns beyond the active block matter to vectors only.
  int64_t top(int64_t first) const { return z_ ? 0 : first; }
  int64_t right(int64_t last) const { return z_ ? n_ : last + 1; }

  // Returns how many eigenvalues were found.
  int64_t large_step(int64_t first, int64_t last, int64_t idle) {
    Self& self = static_cast<Self&>(*this);
    constexpr int64_t each = Self::kEach;
    const int64_t size = last - first + 1, wanted = Self::many(size);
    int64_t window = wanted * 3 / 2;
    if (idle >= 5) window *= 2;
    window = size <= Self::kSmall ? size : std::min(window, size / 2);  // smaller: worked on like this
    window = self.window_of(first, last, window);
    std::vector<typename Self::Shift> shifts;
    const int64_t found = self.deflate(first, last, window, shifts);
    // Where much was found, the next window will find more.
    if (found > 0 && 100 * found > Self::kEnough * window) return found;
    const int64_t end = last - found, rest = end - first + 1;
    if (rest <= each) return found;
    const int64_t count = wanted / each;
    if (idle % 6 == 5) {
      shifts.clear();
      for (int64_t i = end; i > first + each - 1 && static_cast<int64_t>(shifts.size()) < count; i -= each)
        shifts.push_back(self.exceptional_shift(i));
    } else if (static_cast<int64_t>(shifts.size()) <= count / 2) {
      shifts = self.shifts_of_end(end, std::min(rest, wanted));
    }
    const auto most = static_cast<size_t>(std::max<int64_t>(1, std::min(count, rest / (2 * each + 2))));
    if (shifts.size() > most) shifts.erase(shifts.begin(), shifts.end() - static_cast<int64_t>(most));
    if (!shifts.empty()) self.sweep(first, end, shifts);
    return found;
  }

  void copy_block(int64_t from, int64_t count, const PaddedMatrix<S>& to) const {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t left = std::max<int64_t>(0, i - 1);
      std::copy(h_.row(from + i) + from + left, h_.row(from + i) + from + count, to.row(i) + left);
    }
  }

  // A window whose Schur form is t, with vectors v, and of which the first `kept` rows have not deflated
  // takes its place again.
  void put_back(const PaddedMatrix<S>& t, const PaddedMatrix<S>& v, int64_t window, int64_t kept, S beside,
                int64_t first, int64_t last) {
    const int64_t from = last - window + 1;
    if (kept > 1) back_to_hessenberg(t, v, window, kept);
    if (from > first) at(from, from - 1) = kept == 0 ? S{0} : beside * conj(v.row(0)[0]);
    for (int64_t i = 0; i < window; ++i) {
      const int64_t left = std::max<int64_t>(0, i - 1);
      std::copy(t.row(i) + left, t.row(i) + window, h_.row(from + i) + from + left);
    }
    turn_rest(v, from, window, first, last);
  }

  // f(kind, begin, end) for pieces of the three parts beside a window: columns [end, right), rows
  // [top, begin) and columns of z.
  enum class Beside { columns, rows, z };
  template <class F>
  void each_piece(int64_t begin, int64_t end, int64_t first, int64_t last, int64_t work, F&& f) const {
    constexpr int64_t kPiece = 128;  // rows or columns of an item
    const int64_t from[3] = {end, top(first), 0}, to[3] = {right(last), begin, z_ ? n_ : 0};
    const auto pieces = [&](int i) { return to[i] > from[i] ? (to[i] - from[i] + kPiece - 1) / kPiece : 0; };
    const int64_t all = pieces(0) + pieces(1) + pieces(2);
    const auto one = [&](int64_t item) {
      for (int i = 0; i < 3; ++i) {
        if (item < pieces(i)) {
          const int64_t start = from[i] + item * kPiece;
          return f(static_cast<Beside>(i), start, std::min(to[i], start + kPiece));
        }
        item -= pieces(i);
      }
    };
    if (all * work < 1024)
      for (int64_t i = 0; i < all; ++i) one(i);
    else
      parallel_for(all, one);
  }

  // What a unitary matrix of rows and columns from ... from + count - 1, columns of which are rows of u, does
  // to the rest.
  void turn_rest(const PaddedMatrix<S>& u, int64_t from, int64_t count, int64_t first, int64_t last) {
    const auto one = [&](Beside where, int64_t begin, int64_t end) {
      const bool of_rows = where == Beside::rows;
      const int64_t rows = of_rows ? end - begin : count, columns = of_rows ? count : end - begin;
      const PaddedMatrix<S>& m = where == Beside::z ? *z_ : h_;
      S* to = of_rows ? m.row(begin) + from : m.row(from) + begin;
      Workspace space(rows * columns * static_cast<int64_t>(sizeof(S)));
      S* out = space.as<S>();
      if (of_rows)
        multiply_into<S>(out, columns, rows, columns, count, {to, m.stride}, {u.row(0), 1, u.stride}, 1, 0);
      else
        multiply_into<S>(out, columns, rows, columns, count,
                         {u.row(0), u.stride, 1, where == Beside::columns}, {to, m.stride}, 1, 0);
      for (int64_t i = 0; i < rows; ++i)
        std::copy(out + i * columns, out + (i + 1) * columns, to + i * m.stride);
    };
    each_piece(from, from + count, first, last, count * count / 16, one);
  }

 private:
  // Rows and columns [0, kept) of t, beside which the spike is, to Hessenberg form with one element beside.
  static void back_to_hessenberg(const PaddedMatrix<S>& t, const PaddedMatrix<S>& v, int64_t window,
                                 int64_t kept) {
    const PaddedMatrix<S> lines(3, std::max(window, kept));
    S *sums = lines.row(0), *factors = lines.row(1), *x = lines.row(2);
    // Rows [from, kept) and columns [begin, end) of m become the reflection of them.
    const auto reflect_from_left = [&](const S* vector, int64_t from, Real<S> tau, bool conjugated,
                                       const PaddedMatrix<S>& m, int64_t begin, int64_t end) {
      if (begin >= end || tau == 0) return;
      for (int64_t i = from; i < kept; ++i) factors[i] = conjugated ? conj(vector[i]) : vector[i];
      panels<S>().combine(m.row(from) + begin, m.stride, kept - from, end - begin, nullptr, nullptr,
                          factors + from, true, sums);
      for (int64_t i = from; i < kept; ++i) {
        S* row = m.row(i) + begin;
        const S f = tau * factors[i];
        for (int64_t j = 0; j < end - begin; ++j) row[j] -= f * sums[j];
      }
    };
    for (int64_t i = 0; i < kept; ++i) x[i] = conj(v.row(i)[0]);
    const Real<S> spike = find_reflection(x, kept).tau;
    reflect_from_left(x, 0, spike, false, t, 0, window);
    for (int64_t i = 0; i < kept && spike != 0; ++i) {
      S sum{0};
      for (int64_t j = 0; j < kept; ++j) sum += t.row(i)[j] * x[j];
      sum = spike * sum;
      for (int64_t j = 0; j < kept; ++j) t.row(i)[j] -= sum * conj(x[j]);
    }
    reflect_from_left(x, 0, spike, true, v, 0, window);  // columns of V, which are its rows
    const PaddedMatrix<S> part(kept, kept), vectors(kept, kept);
    std::vector<Real<S>> tau(kept);
    for (int64_t i = 0; i < kept; ++i) std::copy(t.row(i), t.row(i) + kept, part.row(i));
    to_hessenberg(part, kept, tau.data(), vectors);
    for (int64_t i = 0; i < kept; ++i) std::copy(part.row(i), part.row(i) + kept, t.row(i));
    for (int64_t k = 0; k + 2 < kept; ++k) {
      reflect_from_left(vectors.row(k), k + 1, tau[k], false, t, kept, window);
      reflect_from_left(vectors.row(k), k + 1, tau[k], true, v, 0, window);
    }
  }

 protected:
  const PaddedMatrix<S>& h_;
  const PaddedMatrix<S>* z_;
  const int64_t n_;
};

}  // namespace mlx::core::cpu
