// As real matrices (schur.cpp), with what is simpler: a bulge has one shift and is a rotation of two rows,
// and the blocks that deflation exchanges are numbers. What rotations of a window do to the rest is done by
// the same rotations, a part at a time that stays in the cache: products of matrices would take three times
// the operations.
#include "mlx/cpu/linalg/schur_complex.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mlx/cpu/linalg/schur.h"
#include "mlx/cpu/linalg/schur_steps.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kPart = 32;  // columns that rotations go through at a time

// x, y <- c x + s y, c y - conj(s) x; three reals for the kernels.
template <class T>
struct Rotation {
  T c = 1;
  Complex<T> s;
  Rotation conjugate() const { return {c, conj(s)}; }
};
// That makes y 0, and x `onto`. Beside a matrix of about 1, numbers whose squares have lost digits in double
// are 0.
template <class T>
Rotation<T> rotation_of(Complex<T> from, Complex<T> clear, Complex<T>& onto) {
  constexpr double kVanishing = 1e-280;
  const Z x = convert<Z>(from), y = convert<Z>(clear);
  const double square = squared(x), all = square + squared(y), product = square * all;
  const auto rotation = [&](double c, Z s, Z to) {
    onto = convert<Complex<T>>(to);
    return Rotation<T>{static_cast<T>(c), convert<Complex<T>>(s)};
  };
  if (product > kVanishing) {
    const double inverse = 1 / std::sqrt(product);
    return rotation(square * inverse, inverse * (x * conj(y)), (all * inverse) * x);
  }
  if (all < kVanishing) return rotation(1, {}, x);
  const double length = std::sqrt(all), first = square < kVanishing ? 0 : std::sqrt(square);
  const Z direction = first > 0 ? (1 / first) * x : Z{1, 0};
  return rotation(first / length, (1 / length) * (direction * conj(y)), length * direction);
}
template <class T>
void rotate(Complex<T>& x, Complex<T>& y, const Rotation<T>& t) {
  const Complex<T> a = x, b = y;
  x = t.c * a + t.s * b;
  y = t.c * b - conj(t.s) * a;
}
template <class T>
void rotate_rows(Complex<T>* x, Complex<T>* y, int64_t n, const Rotation<T>& t) {
  if (n > 0) real_vectors<T>().rotate_complex(reals(x), reals(y), 2 * n, t.c, t.s.re, t.s.im);
}

// Rotations of neighbouring rows: row, row + 1, ... or of columns.
template <class T>
struct Run {
  int64_t row = 0;
  std::vector<Rotation<T>> turns;  // of columns; conjugate ones of rows
  int64_t count() const { return static_cast<int64_t>(turns.size()); }
};

template <class T>
class Iteration : SchurSteps<Iteration<T>, Complex<T>> {
  using S = Complex<T>;
  using Steps = SchurSteps<Iteration<T>, S>;
  friend Steps;
  using Steps::at, Steps::top, Steps::right, Steps::large_step, Steps::copy_block, Steps::put_back,
      Steps::each_piece, Steps::h_, Steps::z_, Steps::n_;
  using typename Steps::Beside;

 public:
  Iteration(const PaddedMatrix<S>& h, int64_t n, const PaddedMatrix<S>* z) : Steps(h, n, z) {
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
  static constexpr T kEps = std::numeric_limits<T>::epsilon();
  static constexpr T kLeast = std::numeric_limits<T>::min() / kEps;
  using Shift = S;
  static constexpr int64_t kEach = 1, kSmall = 130, kEnough = 30;

  int64_t first_of_block(int64_t last) const {
    for (int64_t i = last; i > 0; --i) {
      T near = roughly(at(i, i)) + roughly(at(i - 1, i - 1));
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
  S shift(int64_t last, int64_t idle) const {
    const S a = at(last - 1, last - 1), b = at(last - 1, last), c = at(last, last - 1), d = at(last, last);
    if (idle % 10 == 0) return d + S{T(0.75) * roughly(c), 0};
    const S half = T(0.5) * (a - d), r = root(half * half + b * c);
    const S sum = half.re * r.re + half.im * r.im >= 0 ? half + r : half - r;
    return roughly(sum) == 0 ? d : d - b * c / sum;
  }

  void small_step(int64_t first, int64_t last, S by) {
    runs_.resize(1);
    chase(first, last, top(first), right(last) - 1, first - 1, last - 1, by, runs_[0], z_);
  }

  static int64_t many(int64_t size) {
    return size < 200 ? 16 : size < 400 ? 24 : size < 1200 ? 48 : size < 3000 ? 64 : 128;
  }

  static int64_t window_of(int64_t, int64_t, int64_t window) { return window; }
  S exceptional_shift(int64_t i) const { return at(i, i) + S{T(0.75) * roughly(at(i, i - 1)), 0}; }
  std::vector<S> shifts_of_end(int64_t end, int64_t count) const {
    const PaddedMatrix<S> part(count, count);
    copy_block(end - count + 1, count, part);
    to_triangle<T>(part, count, nullptr);
    std::vector<S> out(count);
    for (int64_t i = 0; i < count; ++i) out[i] = part.row(i)[i];
    return out;
  }

  // Aggressive early deflation: in the triangle of the last rows and columns, what is beside the block
  // becomes a spike, a column of which elements at the end are negligible. Others wait above as shifts.
  int64_t deflate(int64_t first, int64_t last, int64_t window, std::vector<S>& shifts) {
    const int64_t from = last - window + 1;
    const S beside = from == first ? S{} : at(from, from - 1);
    const PaddedMatrix<S> t(window, window), v(window, window);
    copy_block(from, window, t);
    for (int64_t i = 0; i < window; ++i) v.row(i)[i].re = 1;
    to_triangle<T>(t, window, &v);
    int64_t kept = window;
    for (int64_t waiting = 0; waiting < kept;) {
      T near = roughly(t.row(kept - 1)[kept - 1]);
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
    put_back(t, v, window, kept, beside, first, last);
    return window - kept;
  }
  // Elements i and i + 1 of the diagonal change places.
  static void exchange(const PaddedMatrix<S>& t, const PaddedMatrix<S>& v, int64_t n, int64_t i) {
    S *p = t.row(i), *q = t.row(i + 1), unused;
    const S upper = p[i], lower = q[i + 1];
    const Rotation<T> r = rotation_of(p[i + 1], lower - upper, unused), back = r.conjugate();
    rotate_rows(p + i + 2, q + i + 2, n - i - 2, r);
    for (int64_t j = 0; j < i; ++j) rotate(t.row(j)[i], t.row(j)[i + 1], back);
    p[i] = lower;
    q[i + 1] = upper;
    rotate_rows(v.row(i), v.row(i + 1), n, back);
  }

  // All bulges, two rows apart, through rows [first, last]: window by window, in each the foremost first. A
  // bulge at position k is a rotation of rows and columns k + 1 and k + 2 that clears column k, and at
  // k = first - 1 one that makes it.
  void sweep(int64_t first, int64_t last, const std::vector<S>& shifts) {
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
    const PaddedMatrix<S>& m = where == Beside::z ? *z_ : h_;
    for (int64_t c = begin; c < end; c += kPart) {
      const int64_t width = std::min(kPart, end - c);
      for (const Run<T>& r : runs_)
        for (int64_t i = 0; i < r.count(); ++i)
          rotate_rows(m.row(r.row + i) + c, m.row(r.row + i + 1) + c, width,
                      where == Beside::z ? r.turns[i] : r.turns[i].conjugate());
    }
  }

  // Rows [begin, end) of h, with columns as vectors.
  void turn_transposed(int64_t begin, int64_t end) const {
    int64_t left = n_, right = 0;
    for (const Run<T>& r : runs_) {
      if (r.count() == 0) continue;
      left = std::min(left, r.row);
      right = std::max(right, r.row + r.count() + 1);
    }
    if (left >= right) return;
    const PaddedMatrix<S> tile(right - left, kPart);
    for (int64_t first = begin; first < end; first += kPart) {
      const int64_t rows = std::min(kPart, end - first);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = left; j < right; ++j) tile.row(j - left)[i] = at(first + i, j);
      for (const Run<T>& r : runs_)
        for (int64_t k = 0; k < r.count(); ++k)
          rotate_rows(tile.row(r.row + k - left), tile.row(r.row + k + 1 - left), rows, r.turns[k]);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = left; j < right; ++j) at(first + i, j) = tile.row(j - left)[i];
    }
  }

  // A bulge from position k to `to` inside of rows and columns [begin, end], and all rows of z.
  // Multiplications from the left and the right commute: of the latter, what the next rotation is found from
  // is done at once, and the rest row by row at the end.
  void chase(int64_t first, int64_t last, int64_t begin, int64_t end, int64_t k, int64_t to, S shift,
             Run<T>& run, const PaddedMatrix<S>* z) const {
    run.row = k + 1;
    run.turns.resize(std::max<int64_t>(0, to - k));
    for (Rotation<T>& turn : run.turns) {
      S *p = h_.row(k + 1), *q = h_.row(k + 2), onto;
      const bool starts = k < first;
      const Rotation<T> t =
          starts ? rotation_of(p[k + 1] - shift, q[k + 1], onto) : rotation_of(p[k], q[k], onto);
      if (!starts) {
        p[k] = onto;
        q[k] = {};
      }
      rotate_rows(p + k + 1, q + k + 1, end - k, t);
      const Rotation<T> back = t.conjugate();
      for (int64_t i = k + 1; i <= std::min(last, k + 3); ++i) rotate(at(i, k + 1), at(i, k + 2), back);
      if (z) rotate_rows(z->row(k + 1), z->row(k + 2), n_, back);
      turn = back;
      ++k;
    }
    turn_columns(begin, run);
  }
  // Rotations of columns, of the rows above each. Several rows at a time, as those of one row wait for each
  // other.
  void turn_columns(int64_t begin, const Run<T>& run) const {
    constexpr int64_t kRows = 8;
    const int64_t last = run.row + run.count();
    const auto all = [&](int64_t i, int64_t rows, int64_t from) {
      if (rows > 0 && from < last)
        real_vectors<T>().rotate_columns(&at(i, from).re, 2 * h_.stride, rows, &run.turns[from - run.row].c,
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

  T norm_ = 0;
  std::vector<Run<T>> runs_;  // of the bulges, the foremost first
};

}  // namespace

template <class T>
void to_triangle(const PaddedMatrix<Complex<T>>& h, int64_t n, const PaddedMatrix<Complex<T>>* z) {
  Iteration<T>(h, n, z).run();
}
template void to_triangle<float>(const PaddedMatrix<C>&, int64_t, const PaddedMatrix<C>*);
template void to_triangle<double>(const PaddedMatrix<Z>&, int64_t, const PaddedMatrix<Z>*);

}  // namespace mlx::core::cpu
