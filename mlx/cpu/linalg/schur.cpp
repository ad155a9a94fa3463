// Small blocks by double QR steps (J. Francis, "The QR transformation", 1961/62). Large ones by steps with
// many shifts, whose bulges travel together and whose reflections reach the rest of the matrix as products of
// matrices, and by deflation of all that has converged in a window at the end (K. Braman, R. Byers, R.
// Mathias, "The multishift QR algorithm" I and II, 2002).
#include "mlx/cpu/linalg/schur.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mlx/cpu/isa/schur.h"
#include "mlx/cpu/linalg/schur_block.h"
#include "mlx/cpu/linalg/schur_steps.h"

namespace mlx::core::cpu {
namespace {

// The shifts one and other, or one +- i sqrt(square).
template <class T>
struct Shifts {
  T one = 0, other = 0, square = 0;
};

template <class T>
class Iteration : SchurSteps<Iteration<T>, T> {
  using Steps = SchurSteps<Iteration<T>, T>;
  friend Steps;
  using Steps::at, Steps::top, Steps::right, Steps::large_step, Steps::copy_block, Steps::put_back,
      Steps::turn_rest, Steps::h_, Steps::n_;

 public:
  Iteration(const PaddedMatrix<T>& h, int64_t n, const PaddedMatrix<T>* z)
      : Steps(h, n, z), form_{h, z, n, z ? z->stride : 0} {}

  void run() {
    int64_t last = n_ - 1;
    for (int64_t steps = 0, idle = 0; last >= 0;) {
      const int64_t first = first_of_block(last), size = last - first + 1;
      int64_t found = 0;
      if (size <= 2) {
        if (size == 2) form_.standardize_block(first, top(first), right(last));
        found = size;
      } else if (n_ <= kSmall) {
        if (++steps > 30 * std::max<int64_t>(10, n_)) throw NotConverged();
        small_step(first, last, ++idle);
      } else {
        if (++steps > 30 * std::max<int64_t>(10, n_)) throw NotConverged();
        found = large_step(first, last, idle++);
      }
      if (found > 0) idle = 0;
      last -= found;
    }
  }

 private:
  static constexpr T kEps = std::numeric_limits<T>::epsilon();
  static constexpr T kLeast = std::numeric_limits<T>::min() / kEps;

  using Shift = Shifts<T>;
  static constexpr int64_t kEach = 2, kSmall = 88, kEnough = 14;

  // M. Ahues, F. Tisseur, "A new deflation criterion for the QR algorithm", 1997.
  bool negligible(int64_t i) const {
    const T below = std::abs(at(i, i - 1));
    if (below <= kLeast) return true;
    T near = std::abs(at(i - 1, i - 1)) + std::abs(at(i, i));
    if (near == 0) {
      if (i >= 2) near += std::abs(at(i - 1, i - 2));
      if (i + 1 < n_) near += std::abs(at(i + 1, i));
    }
    if (below > kEps * near) return false;
    const T above = std::abs(at(i - 1, i)), more = std::max(below, above), less = std::min(below, above);
    const T own = std::abs(at(i, i)), gap = std::abs(at(i - 1, i - 1) - at(i, i)), most = std::max(own, gap),
            least = std::min(own, gap), sum = most + more;
    return less * (more / sum) <= std::max(kLeast, kEps * (least * (most / sum)));
  }
  int64_t first_of_block(int64_t last) const {
    for (int64_t i = last; i > 0; --i)
      if (negligible(i)) {
        at(i, i - 1) = 0;
        return i;
      }
    return 0;
  }

  static Shifts<T> eigenvalues(T a, T b, T c, T d) {
    const T scale = std::abs(a) + std::abs(b) + std::abs(c) + std::abs(d);
    if (scale == 0) return {};
    a /= scale, b /= scale, c /= scale, d /= scale;
    const T half = (a - d) / 2, square = half * half + b * c, middle = (a + d) / 2;
    if (square < 0) return {middle * scale, middle * scale, -square * scale * scale};
    const T root = std::sqrt(square), far = half + std::copysign(root, half);
    // a + ..., or by the product where that cancels.
    const T one = d + far, other = far == 0 ? d : d - b * c / far;
    return {one * scale, other * scale, 0};
  }

  void small_step(int64_t first, int64_t last, int64_t idle) {
    Shifts<T> s;
    if (idle % 10 == 0) {  // in case the steps go round in circles
      const bool above = idle % 20 == 10;
      const T size = above ? std::abs(at(first + 1, first)) + std::abs(at(first + 2, first + 1))
                           : std::abs(at(last, last - 1)) + std::abs(at(last - 1, last - 2));
      const T middle = T(0.75) * size + (above ? at(first, first) : at(last, last));
      s = {middle, middle, T(0.4375) * size * size};
    } else {
      s = eigenvalues(at(last - 1, last - 1), at(last - 1, last), at(last, last - 1), at(last, last));
      if (s.square == 0) {
        const bool nearer = std::abs(s.one - at(last, last)) <= std::abs(s.other - at(last, last));
        (nearer ? s.other : s.one) = nearer ? s.one : s.other;
      }
    }
    int64_t begin = last - 2;
    while (begin > first && !starts_at(begin, s)) --begin;
    const PaddedMatrix<T>& h = h_;
    schur<T>().step(h.row(0), h.stride, first, begin, last, top(first), right(last), s.one, s.other, s.square,
                    form_.z ? form_.z->row(0) : nullptr, form_.z ? form_.z->stride : 0, form_.length);
  }
  // What a bulge that begins at row i would do to the row above is negligible.
  bool starts_at(int64_t i, const Shifts<T>& s) const {
    const T c = at(i + 1, i), scale = std::abs(at(i, i) - s.other) + std::abs(c) + std::sqrt(s.square);
    if (scale == 0) return false;
    const T below = c / scale,
            x = (at(i, i) - s.one) * ((at(i, i) - s.other) / scale) + s.square / scale + below * at(i, i + 1);
    const T y = below * (at(i, i) - s.one + at(i + 1, i + 1) - s.other), z = below * at(i + 2, i + 1);
    const T near = std::abs(at(i - 1, i - 1)) + std::abs(at(i, i)) + std::abs(at(i + 1, i + 1));
    return std::abs(at(i, i - 1)) * (std::abs(y) + std::abs(z)) <= kEps * std::abs(x) * near;
  }

  // How many eigenvalues are the shifts of a step.
  static int64_t many(int64_t size) {
    return size < 150 ? 16 : size < 400 ? 24 : size < 1200 ? 32 : size < 3000 ? 64 : 128;
  }

  // Not through the middle of a pair.
  int64_t window_of(int64_t first, int64_t last, int64_t window) const {
    const bool more = window + 1 < last - first + 1 && std::abs(at(last - window + 1, last - window)) >
                                                           std::abs(at(last - window, last - window - 1));
    return more ? window + 1 : window;
  }
  Shifts<T> exceptional_shift(int64_t i) const {
    const T below = std::abs(at(i, i - 1)) + std::abs(at(i - 1, i - 2)), middle = T(0.75) * below + at(i, i);
    return {middle, middle, T(0.4375) * below * below};
  }

  // The eigenvalues of blocks [0, count), in pairs.
  static std::vector<Shifts<T>> pairs(const SchurForm<T>& form, int64_t count) {
    std::vector<Shifts<T>> out;
    bool single = false;
    T waiting = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (form.pair(i)) {
        const T part = imaginary_part(form.h, i);
        out.push_back({form.at(i, i), form.at(i, i), part * part});
        ++i;
      } else if (single) {
        out.push_back({waiting, form.at(i, i), 0});
        single = false;
      } else {
        waiting = form.at(i, i);
        single = true;
      }
    }
    if (single) out.push_back({waiting, waiting, 0});
    return out;
  }
  std::vector<Shifts<T>> shifts_of_end(int64_t end, int64_t count) const {
    const PaddedMatrix<T> part(count, count);
    copy_block(end - count + 1, count, part);
    to_schur_form<T>(part, count, nullptr);
    return pairs({part, nullptr, count, 0}, count);
  }

  // Aggressive early deflation: in the Schur form of the last rows and columns, what is beside the block
  // becomes a spike, a column of which elements at the end are negligible. Others wait above as shifts.
  int64_t deflate(int64_t first, int64_t last, int64_t window, std::vector<Shifts<T>>& shifts) {
    const int64_t from = last - window + 1;
    const T beside = from == first ? 0 : at(from, from - 1);
    const PaddedMatrix<T> t(window, window), v(window, window);
    copy_block(from, window, t);
    for (int64_t i = 0; i < window; ++i) v.row(i)[i] = 1;
    to_schur_form(t, window, &v);
    const SchurForm<T> form{t, &v, window, v.stride};
    const auto spike = [&](int64_t i) { return std::abs(beside * v.row(i)[0]); };
    int64_t kept = window;
    for (int64_t waiting = 0; waiting < kept;) {
      const bool pair = kept >= 2 && t.row(kept - 1)[kept - 2] != 0;
      const int64_t rows = pair ? 2 : 1, begin = kept - rows;
      T size = std::abs(t.row(kept - 1)[kept - 1]) + (pair ? imaginary_part(t, begin) : T{0});
      if (size == 0) size = std::abs(beside);
      const T most = pair ? std::max(spike(begin), spike(begin + 1)) : spike(begin);
      if (most <= std::max(kLeast, kEps * size))
        kept = begin;
      else
        waiting = std::min(kept, lift(form, begin, waiting, rows) + rows);
    }
    shifts = pairs(form, kept);
    if (kept == window && beside != 0) return 0;
    put_back(t, v, window, kept, beside, first, last);
    return window - kept;
  }
  // The block at `begin` changes places with those above, up to row `to`. Returns where it came to rest.
  static int64_t lift(const SchurForm<T>& form, int64_t begin, int64_t to, int64_t rows) {
    while (begin > to) {
      const int64_t above = begin >= 2 && form.at(begin - 1, begin - 2) != 0 ? 2 : 1;
      // What a block of two rows became may be two of one.
      const int64_t mine = rows == 2 && form.at(begin + 1, begin) != 0 ? 2 : 1;
      if (!form.exchange(begin - above, above, mine)) break;
      if (rows == 2 && mine == 1 && !form.exchange(begin - above + 1, above, 1)) break;
      begin -= above;
    }
    return begin;
  }

  // All bulges through rows [first, last]: window by window.
  void sweep(int64_t first, int64_t last, const std::vector<Shifts<T>>& shifts) {
    const PaddedMatrix<T>& h = h_;
    const auto bulges = static_cast<int64_t>(shifts.size());
    std::vector<T> one(bulges), other(bulges), squares(bulges);
    for (int64_t i = 0; i < bulges; ++i) {
      one[i] = shifts[i].one;
      other[i] = shifts[i].other;
      squares[i] = shifts[i].square;
    }
    const int64_t stride = 3 * bulges;
    for (int64_t from = first - 1 - 3 * (bulges - 1); from + 1 < last; from += stride) {
      const int64_t to = std::min(from + stride, last - 1);
      const int64_t begin = std::max(first, from + 1), end = std::min(last, to - 1 + 3 * (bulges - 1) + 3),
                    count = end - begin + 1, base = begin - 1;
      const PaddedMatrix<T> part(count + 5, count + 2 + kBulgePadding), u(count + 1, count);
      // The row below as well, where it is the block's.
      const int64_t bottom = std::min(last, end + 1), left = std::max<int64_t>(0, base);
      for (int64_t i = begin; i <= bottom; ++i)
        std::copy(h.row(i) + left, h.row(i) + end + 1, part.row(i - base) + left - base);
      for (int64_t i = 0; i < count; ++i) u.row(i)[i] = 1;
      Chase<T> c;
      c.h = part.row(0), c.stride = part.stride;
      c.from = from - base, c.to = to - base;
      c.begin = first - base, c.end = last - base;
      c.rows = count + 2, c.columns = count + 1;
      c.bulges = bulges;
      c.one = one.data(), c.other = other.data(), c.squares = squares.data();
      c.u = u.row(0), c.u_stride = u.stride, c.u_size = count, c.shift = 1;
      schur<T>().chase(c);
      for (int64_t i = begin; i <= bottom; ++i)
        std::copy(part.row(i - base) + left - base, part.row(i - base) + end + 1 - base, h.row(i) + left);
      turn_rest(u, begin, count, first, last);
    }
  }

  const SchurForm<T> form_;
};

}  // namespace

template <class T>
void to_schur_form(const PaddedMatrix<T>& h, int64_t n, const PaddedMatrix<T>* z) {
  Iteration<T>(h, n, z).run();
}
template void to_schur_form<float>(const PaddedMatrix<float>&, int64_t, const PaddedMatrix<float>*);
template void to_schur_form<double>(const PaddedMatrix<double>&, int64_t, const PaddedMatrix<double>*);

}  // namespace mlx::core::cpu
