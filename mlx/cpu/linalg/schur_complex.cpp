// As real matrices (schur.cpp), with what is simpler: a bulge has one shift and is a rotation of two rows,
// and the blocks that deflation exchanges are numbers. What rotations of a window do to the rest is done by
// the same rotations, a part at a time that stays in the cache: products of matrices would take three times
// the operations.
#include "mlx/cpu/linalg/schur_complex.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/hessenberg.h"
#include "mlx/cpu/linalg/schur.h"
#include "mlx/cpu/linalg/wy.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kSmall = 130;  // rows of blocks that bulges one by one are faster for
constexpr int64_t kPiece = 128;  // rows or columns of an item
constexpr int64_t kPart = 32;    // columns that rotations go through at a time

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kLeast = std::numeric_limits<double>::min() / kEps;

// x, y <- c x + s y, c y - conj(s) x; three reals for the kernels.
struct Rotation {
  double c = 1;
  Z s;
  Rotation conjugate() const { return {c, conj(s)}; }
};
// That makes y 0, and x `onto`. Beside a matrix of about 1, numbers whose squares have lost digits are 0.
Rotation rotation_of(Z x, Z y, Z& onto) {
  constexpr double kVanishing = 1e-280;
  const double square = squared(x), all = square + squared(y), product = square * all;
  if (product > kVanishing) {
    const double inverse = 1 / std::sqrt(product);
    onto = (all * inverse) * x;
    return {square * inverse, inverse * (x * conj(y))};
  }
  onto = x;
  if (all < kVanishing) return {};
  const double length = std::sqrt(all), first = square < kVanishing ? 0 : std::sqrt(square);
  const Z direction = first > 0 ? (1 / first) * x : Z{1, 0};
  onto = length * direction;
  return {first / length, (1 / length) * (direction * conj(y))};
}
void rotate(Z& x, Z& y, const Rotation& t) {
  const Z a = x, b = y;
  x = t.c * a + t.s * b;
  y = t.c * b - conj(t.s) * a;
}
void rotate_rows(Z* x, Z* y, int64_t n, const Rotation& t) {
  if (n > 0) factor<double>().rotate_complex(&x->re, &y->re, 2 * n, t.c, t.s.re, t.s.im);
}

// Rotations of neighbouring rows: row, row + 1, ... or of columns.
struct Run {
  int64_t row = 0;
  std::vector<Rotation> turns;  // of columns; conjugate ones of rows
  int64_t count() const { return static_cast<int64_t>(turns.size()); }
};

class Iteration {
 public:
  Iteration(const PaddedMatrix<Z>& h, int64_t n, const PaddedMatrix<Z>* z) : h_(h), z_(z), n_(n) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = std::max<int64_t>(0, i - 1); j < n; ++j) norm_ = std::max(norm_, roughly(at(i, j)));
  }

  void run() {
    int64_t last = n_ - 1;
    for (int64_t steps = 0, idle = 0; last > 0;) {
      const int64_t first = first_of_block(last);
      int64_t found = 0;
      if (first == last)
        found = 1;
      else if (++steps > 60 * std::max<int64_t>(10, n_))
        throw NotConverged();
      else if (n_ <= kSmall)
        small_step(first, last, shift(last, ++idle));
      else
        found = large_step(first, last, idle++);
      if (found > 0) idle = 0;
      last -= found;
    }
  }

 private:
  Z& at(int64_t i, int64_t j) const { return h_.row(i)[j]; }
  // Rows and columns beyond the active block matter to vectors only.
  int64_t top(int64_t first) const { return z_ ? 0 : first; }
  int64_t right(int64_t last) const { return z_ ? n_ : last + 1; }

  int64_t first_of_block(int64_t last) const {
    for (int64_t i = last; i > 0; --i) {
      double near = roughly(at(i, i)) + roughly(at(i - 1, i - 1));
      if (near == 0) near = norm_;
      if (roughly(at(i, i - 1)) <= std::max(kLeast, kEps * near)) {
        at(i, i - 1) = {};
        return i;
      }
    }
    return 0;
  }

  // The eigenvalue of the last two rows and columns that is nearer to the last element; now and then another
  // number, in case the steps go round in circles.
  Z shift(int64_t last, int64_t idle) const {
    const Z a = at(last - 1, last - 1), b = at(last - 1, last), c = at(last, last - 1), d = at(last, last);
    if (idle % 10 == 0) return d + Z{0.75 * roughly(c), 0};
    const Z half = 0.5 * (a - d), r = root(half * half + b * c);
    const Z sum = half.re * r.re + half.im * r.im >= 0 ? half + r : half - r;
    return roughly(sum) == 0 ? d : d - b * c / sum;
  }

  void small_step(int64_t first, int64_t last, Z by) {
    runs_.resize(1);
    chase(first, last, top(first), right(last) - 1, first - 1, last - 1, by, runs_[0], z_);
  }

  static int64_t many(int64_t size) {
    return size < 200 ? 16 : size < 400 ? 24 : size < 1200 ? 48 : size < 3000 ? 64 : 128;
  }

  // Returns how many eigenvalues were found.
  int64_t large_step(int64_t first, int64_t last, int64_t idle) {
    const int64_t size = last - first + 1, wanted = many(size);
    int64_t window = wanted * 3 / 2;
    if (idle >= 5) window *= 2;
    window = size <= kSmall ? size : std::min(window, size / 2);
    std::vector<Z> shifts;
    const int64_t found = deflate(first, last, window, shifts);
    // Where much was found, the next window will find more.
    if (found > 0 && 100 * found > 30 * window) return found;
    const int64_t end = last - found, rest = end - first + 1;
    if (rest <= 1) return found;
    if (idle % 6 == 5) {
      shifts.clear();
      for (int64_t i = end; i > first && static_cast<int64_t>(shifts.size()) < wanted; --i)
        shifts.push_back(at(i, i) + Z{0.75 * roughly(at(i, i - 1)), 0});
    } else if (static_cast<int64_t>(shifts.size()) <= wanted / 2) {
      shifts = shifts_of_end(end, std::min(rest, wanted));
    }
    const auto most = static_cast<size_t>(std::max<int64_t>(1, std::min(wanted, rest / 4)));
    if (shifts.size() > most) shifts.erase(shifts.begin(), shifts.end() - static_cast<int64_t>(most));
    if (!shifts.empty()) sweep(first, end, shifts);
    return found;
  }

  std::vector<Z> shifts_of_end(int64_t end, int64_t count) const {
    const PaddedMatrix<Z> part(count, count);
    copy_block(end - count + 1, count, part);
    to_triangle(part, count, nullptr);
    std::vector<Z> out(count);
    for (int64_t i = 0; i < count; ++i) out[i] = part.row(i)[i];
    return out;
  }
  void copy_block(int64_t from, int64_t count, const PaddedMatrix<Z>& to) const {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t left = std::max<int64_t>(0, i - 1);
      std::copy(h_.row(from + i) + from + left, h_.row(from + i) + from + count, to.row(i) + left);
    }
  }

  // Aggressive early deflation: in the triangle of the last rows and columns, what is beside the block
  // becomes a spike, a column of which elements at the end are negligible. Others wait above as shifts.
  int64_t deflate(int64_t first, int64_t last, int64_t window, std::vector<Z>& shifts) {
    const int64_t from = last - window + 1;
    const Z beside = from == first ? Z{} : at(from, from - 1);
    const PaddedMatrix<Z> t(window, window), v(window, window);
    copy_block(from, window, t);
    for (int64_t i = 0; i < window; ++i) v.row(i)[i].re = 1;
    to_triangle(t, window, &v);
    int64_t kept = window;
    for (int64_t waiting = 0; waiting < kept;) {
      double near = roughly(t.row(kept - 1)[kept - 1]);
      if (near == 0) near = roughly(beside);
      if (roughly(beside * v.row(kept - 1)[0]) <= std::max(kLeast, kEps * near)) {
        --kept;
      } else {
        for (int64_t i = kept - 1; i > waiting; --i) exchange(t, v, window, i - 1);
        ++waiting;
      }
    }
    shifts.resize(kept);
    for (int64_t i = 0; i < kept; ++i) shifts[i] = t.row(i)[i];
    if (kept == window && roughly(beside) != 0) return 0;
    if (kept == 0) {
      if (from > first) at(from, from - 1) = {};
    } else {
      if (kept > 1) back_to_hessenberg(t, v, window, kept);
      if (from > first) at(from, from - 1) = beside * conj(v.row(0)[0]);
    }
    for (int64_t i = 0; i < window; ++i) {
      const int64_t left = std::max<int64_t>(0, i - 1);
      std::copy(t.row(i) + left, t.row(i) + window, h_.row(from + i) + from + left);
    }
    turn_rest(v, from, window, first, last);
    return window - kept;
  }
  // Elements i and i + 1 of the diagonal change places.
  static void exchange(const PaddedMatrix<Z>& t, const PaddedMatrix<Z>& v, int64_t n, int64_t i) {
    Z *p = t.row(i), *q = t.row(i + 1), unused;
    const Z upper = p[i], lower = q[i + 1];
    const Rotation r = rotation_of(p[i + 1], lower - upper, unused), back = r.conjugate();
    rotate_rows(p + i + 2, q + i + 2, n - i - 2, r);
    for (int64_t j = 0; j < i; ++j) rotate(t.row(j)[i], t.row(j)[i + 1], back);
    p[i] = lower;
    q[i + 1] = upper;
    rotate_rows(v.row(i), v.row(i + 1), n, back);
  }

  // Rows and columns [0, kept) of t, beside which the spike is, to Hessenberg form with one element beside.
  static void back_to_hessenberg(const PaddedMatrix<Z>& t, const PaddedMatrix<Z>& v, int64_t window,
                                 int64_t kept) {
    const PaddedMatrix<Z> part(kept, kept), vectors(kept, kept), q(kept, kept);
    std::vector<Z> x(kept), sums(kept);
    for (int64_t i = 0; i < kept; ++i) {
      x[i] = conj(v.row(i)[0]);
      std::copy(t.row(i), t.row(i) + kept, part.row(i));
    }
    const double tau = find_reflection(x.data(), kept).tau;
    // Rows y of m, which are columns, become the reflection of them; columns of m, its rows the conjugates.
    const auto reflect_each = [&](const PaddedMatrix<Z>& m, bool rows_of_matrix) {
      for (int64_t i = 0; i < kept; ++i) {
        Z* y = m.row(i);
        Z sum;
        for (int64_t j = 0; j < kept; ++j) sum += (rows_of_matrix ? x[j] : conj(x[j])) * y[j];
        sum = tau * sum;
        for (int64_t j = 0; j < kept; ++j) y[j] -= sum * (rows_of_matrix ? conj(x[j]) : x[j]);
      }
    };
    for (int64_t i = 0; i < kept; ++i)
      for (int64_t j = 0; j < kept; ++j) sums[j] += conj(x[i]) * part.row(i)[j];
    for (int64_t i = 0; i < kept; ++i)
      for (int64_t j = 0; j < kept; ++j) part.row(i)[j] -= tau * x[i] * sums[j];
    reflect_each(part, true);
    std::vector<double> factors(kept);
    to_hessenberg(part, kept, factors.data(), vectors);
    for (int64_t i = 0; i < kept; ++i) q.row(i)[i].re = 1;
    apply_product(q.row(0), q.stride, kept, kept, vectors.row(0), vectors.stride, factors.data(),
                  std::max<int64_t>(0, kept - 2), 1, true);
    reflect_each(q, false);
    for (int64_t i = 0; i < kept; ++i) std::copy(part.row(i), part.row(i) + kept, t.row(i));
    multiply_rows(q, kept, t.row(0) + kept, t.stride, window - kept, true);
    multiply_rows(q, kept, v.row(0), v.stride, window, false);
  }
  // The first rows of m become u times them, or conj(u).
  static void multiply_rows(const PaddedMatrix<Z>& u, int64_t count, Z* m, int64_t stride, int64_t columns,
                            bool conjugated) {
    if (columns == 0) return;
    Workspace space(count * columns * static_cast<int64_t>(sizeof(Z)));
    Z* out = space.as<Z>();
    multiply_into<Z>(out, columns, count, columns, count, {u.row(0), u.stride, 1, conjugated}, {m, stride}, 1,
                     0);
    for (int64_t i = 0; i < count; ++i) std::copy(out + i * columns, out + (i + 1) * columns, m + i * stride);
  }

  // f(kind, begin, end) for pieces of the three parts beside a window: columns [end, right), rows
  // [top, begin) and columns of z.
  enum class Beside { columns, rows, z };
  template <class F>
  void each_piece(int64_t begin, int64_t end, int64_t first, int64_t last, int64_t work, F&& f) const {
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
  void turn_rest(const PaddedMatrix<Z>& u, int64_t from, int64_t count, int64_t first, int64_t last) {
    each_piece(
        from, from + count, first, last, count * count / 16, [&](Beside where, int64_t begin, int64_t end) {
          if (where == Beside::columns)
            return multiply_rows(u, count, h_.row(from) + begin, h_.stride, end - begin, true);
          if (where == Beside::z)
            return multiply_rows(u, count, z_->row(from) + begin, z_->stride, end - begin, false);
          const int64_t rows = end - begin;
          Workspace space(rows * count * static_cast<int64_t>(sizeof(Z)));
          Z *out = space.as<Z>(), *to = h_.row(begin) + from;
          multiply_into<Z>(out, count, rows, count, count, {to, h_.stride}, {u.row(0), 1, u.stride}, 1, 0);
          for (int64_t i = 0; i < rows; ++i)
            std::copy(out + i * count, out + (i + 1) * count, to + i * h_.stride);
        });
  }

  // All bulges, two rows apart, through rows [first, last]: window by window, in each the foremost first. A
  // bulge at position k is a rotation of rows and columns k + 1 and k + 2 that clears column k, and at
  // k = first - 1 one that makes it.
  void sweep(int64_t first, int64_t last, const std::vector<Z>& shifts) {
    const auto bulges = static_cast<int64_t>(shifts.size());
    const int64_t stride = std::max<int64_t>(16, 2 * bulges);
    runs_.resize(bulges);
    for (int64_t from = first - 1 - 2 * (bulges - 1); from + 1 < last; from += stride) {
      const int64_t to = std::min(from + stride, last - 1);
      const int64_t begin = std::max(first, from + 1), end = std::min(last, to - 1 + 2 * (bulges - 1) + 2);
      for (int64_t b = 0; b < bulges; ++b) {
        const int64_t ahead = 2 * (bulges - 1 - b);
        chase(first, last, begin, end, std::max(first - 1, from + ahead), std::min(last - 1, to + ahead),
              shifts[b], runs_[b], nullptr);
      }
      each_piece(begin, end + 1, first, last, stride * bulges / 4,
                 [&](Beside where, int64_t a, int64_t e) { turn_piece(where, a, e); });
    }
  }
  void turn_piece(Beside where, int64_t begin, int64_t end) const {
    if (where == Beside::rows) {
      turn_transposed(begin, end);
      return;
    }
    const PaddedMatrix<Z>& m = where == Beside::z ? *z_ : h_;
    for (int64_t c = begin; c < end; c += kPart) {
      const int64_t width = std::min(kPart, end - c);
      for (const Run& r : runs_)
        for (int64_t i = 0; i < r.count(); ++i)
          rotate_rows(m.row(r.row + i) + c, m.row(r.row + i + 1) + c, width,
                      where == Beside::z ? r.turns[i] : r.turns[i].conjugate());
    }
  }

  // Rows [begin, end) of h, with columns as vectors.
  void turn_transposed(int64_t begin, int64_t end) const {
    int64_t left = n_, right = 0;
    for (const Run& r : runs_) {
      if (r.count() == 0) continue;
      left = std::min(left, r.row);
      right = std::max(right, r.row + r.count() + 1);
    }
    if (left >= right) return;
    const PaddedMatrix<Z> tile(right - left, kPart);
    for (int64_t first = begin; first < end; first += kPart) {
      const int64_t rows = std::min(kPart, end - first);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = left; j < right; ++j) tile.row(j - left)[i] = at(first + i, j);
      for (const Run& r : runs_)
        for (int64_t k = 0; k < r.count(); ++k)
          rotate_rows(tile.row(r.row + k - left), tile.row(r.row + k + 1 - left), rows, r.turns[k]);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = left; j < right; ++j) at(first + i, j) = tile.row(j - left)[i];
    }
  }

  // A bulge from position k to `to` inside of rows and columns [begin, end], and all rows of z.
  // Multiplications from the left and the right commute: of the latter, what the next rotation is found from
  // is done at once, and the rest row by row at the end.
  void chase(int64_t first, int64_t last, int64_t begin, int64_t end, int64_t k, int64_t to, Z shift,
             Run& run, const PaddedMatrix<Z>* z) const {
    run.row = k + 1;
    run.turns.resize(std::max<int64_t>(0, to - k));
    for (Rotation& turn : run.turns) {
      Z *p = h_.row(k + 1), *q = h_.row(k + 2), onto;
      const bool starts = k < first;
      const Rotation t =
          starts ? rotation_of(p[k + 1] - shift, q[k + 1], onto) : rotation_of(p[k], q[k], onto);
      if (!starts) {
        p[k] = onto;
        q[k] = {};
      }
      rotate_rows(p + k + 1, q + k + 1, end - k, t);
      const Rotation back = t.conjugate();
      for (int64_t i = k + 1; i <= std::min(last, k + 3); ++i) rotate(at(i, k + 1), at(i, k + 2), back);
      if (z) rotate_rows(z->row(k + 1), z->row(k + 2), n_, back);
      turn = back;
      ++k;
    }
    turn_columns(begin, run);
  }
  // Rotations of columns, of the rows above each. Several rows at a time, as those of one row wait for each
  // other.
  void turn_columns(int64_t begin, const Run& run) const {
    constexpr int64_t kRows = 8;
    const int64_t last = run.row + run.count();
    const auto all = [&](int64_t i, int64_t rows, int64_t from) {
      if (rows > 0 && from < last)
        factor<double>().rotate_columns(&at(i, from).re, 2 * h_.stride, rows, &run.turns[from - run.row].c,
                                        last - from);
    };
    all(begin, run.row - begin, run.row);
    for (int64_t i = run.row; i < last; i += kRows) {
      const int64_t rows = std::min(kRows, last - i), common = std::min(last, i + rows);
      for (int64_t r = i; r < i + rows; ++r)
        for (int64_t k = r + 1; k < common; ++k) rotate(at(r, k), at(r, k + 1), run.turns[k - run.row]);
      all(i, rows, common);
    }
  }

  const PaddedMatrix<Z>& h_;
  const PaddedMatrix<Z>* z_;
  const int64_t n_;
  double norm_ = 0;
  std::vector<Run> runs_;  // of the bulges, the foremost first
};

}  // namespace

void to_triangle(const PaddedMatrix<Z>& h, int64_t n, const PaddedMatrix<Z>* z) { Iteration(h, n, z).run(); }

}  // namespace mlx::core::cpu
