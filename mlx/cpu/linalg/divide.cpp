// Eigenvalues and vectors of tridiagonal matrices: two halves and what joins them, of rank one (J. Cuppen, "A
// divide and conquer method for the symmetric tridiagonal eigenproblem", 1981). Vectors are those of a matrix
// nearby that has the eigenvalues found, and so orthogonal (M. Gu, S. Eisenstat, "A divide-and-conquer
// algorithm for the symmetric tridiagonal eigenproblem", 1995); joining them is a product of matrices. Values
// are found in double: for them only the first and last elements of vectors are needed, which are kept in
// double beside the vectors.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/eigen.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/secular.h"
#include "mlx/cpu/linalg/tridiagonal.h"

namespace mlx::core::cpu {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kVanishing = 1e-140;       // beside 1, the size of matrices: squares of less may be 0
constexpr int64_t kLeaf = 32, kAlone = 24;  // rows of a leaf, at most; of one without another

// QL steps with implicit shifts (Bowdler, Martin, Reinsch, Wilkinson, "The QR and QL algorithms for symmetric
// matrices", 1968), in parts: several rotations of several matrices may be under way at a time.
class Leaf {
 public:
  Leaf(double* d, const double* e, int64_t n, double fine)
      : d_(d), e_(e, e + n), n_(n), fine_(fine), q_(n, n) {
    for (int64_t i = 0; i < n; ++i) q_.row(i)[i] = 1;
  }
  const PaddedMatrix<double>& vectors() const { return q_; }

  // Begins a step; false where all is done.
  bool begin() {
    for (; l_ < n_; ++l_, steps_ = 0) {
      m_ = l_;
      while (m_ + 1 < n_ && std::abs(e_[m_]) > fine_ * (std::abs(d_[m_]) + std::abs(d_[m_ + 1])) + kVanishing)
        ++m_;
      if (m_ == l_) continue;
      if (++steps_ > 100) throw std::runtime_error("[linalg.eigh] the iteration did not converge");
      const double g = (d_[l_ + 1] - d_[l_]) / (2 * e_[l_]);
      at_ = {.g = d_[m_] - d_[l_] + e_[l_] / (g + std::copysign(std::sqrt(g * g + 1), g)), .i = m_ - 1};
      return true;
    }
    return false;
  }
  int64_t left() const { return at_.i - l_ + 1; }

  struct State {
    double g = 0, s = 1, c = 1, p = 0;
    int64_t i = 0;
  };
  State state() const { return at_; }
  void state(const State& s) { at_ = s; }
  // The next rotation of a step; false where the matrix falls into two parts.
  bool rotate(State& x) {
    const int64_t i = x.i;
    const double f = x.s * e_[i], b = x.c * e_[i], squares = f * f + x.g * x.g, r = std::sqrt(squares);
    e_[i + 1] = r;
    if (squares < 1e-290) {
      d_[i + 1] -= x.p;
      return false;
    }
    const double inverse = r * (1 / squares);  // the division does not wait for the root
    x.s = f * inverse;
    x.c = x.g * inverse;
    x.g = d_[i + 1] - x.p;
    const double t = (d_[i] - x.g) * x.s + 2 * x.c * b;
    x.p = x.s * t;
    d_[i + 1] = x.g + x.p;
    x.g = x.c * t - b;
    const int64_t k = m_ - 1 - i;
    c_of_[k] = x.c;
    s_of_[k] = x.s;
    row_[k] = static_cast<int32_t>(i);
    --x.i;
    return true;
  }
  void end() {
    if (at_.i < l_) {
      d_[l_] -= at_.p;
      e_[l_] = at_.g;
    }
    e_[m_] = 0;
    real_vectors<double>().rotate(q_.row(0), q_.stride, q_.stride, c_of_, s_of_, row_, m_ - 1 - at_.i);
  }

 private:
  double* d_;
  std::vector<double> e_;
  int64_t n_, l_ = 0, m_ = 0, steps_ = 0;
  double fine_;
  State at_;
  double c_of_[kLeaf], s_of_[kLeaf];
  int32_t row_[kLeaf];
  const PaddedMatrix<double> q_;
};

void solve(Leaf& one, Leaf& other) {
  bool first = one.begin(), second = other.begin();
  while (first || second) {
    Leaf::State x = one.state(), y = other.state();
    const int64_t count = first && second ? std::min(one.left(), other.left())
                          : first         ? one.left()
                                          : other.left();
    bool whole_x = true, whole_y = true;
    if (first && second)
      for (int64_t k = 0; k < count && whole_x && whole_y; ++k) {
        whole_x = one.rotate(x);
        whole_y = other.rotate(y);
      }
    else if (first)
      for (int64_t k = 0; k < count && whole_x; ++k) whole_x = one.rotate(x);
    else
      for (int64_t k = 0; k < count && whole_y; ++k) whole_y = other.rotate(y);
    one.state(x);
    other.state(y);
    const auto proceed = [](Leaf& leaf, bool& more, bool whole) {
      if (!more || (whole && leaf.left() > 0)) return;
      leaf.end();
      more = leaf.begin();
    };
    proceed(one, first, whole_x);
    proceed(other, second, whole_y);
  }
}

template <class T>
class Divided {
 public:
  Divided(Tridiagonal t, const PaddedMatrix<T>& z)
      : d_(std::move(t.d)),
        e_(std::move(t.e)),
        z_(z),
        n_(static_cast<int64_t>(d_.size())),
        first_(n_),
        last_(n_),
        order_(n_) {}

  void run() {
    int levels = 0;
    while ((n_ >> levels) > kLeaf) ++levels;
    if (n_ > kAlone) levels = std::max(levels, 1);
    const int64_t leaves = int64_t{1} << levels;
    const auto border = [&](int64_t i, int64_t parts) { return i * n_ / parts; };
    for (int64_t i = 1; i < leaves; ++i) {
      const int64_t at = border(i, leaves);
      const double joint = std::abs(e_[at - 1]);
      d_[at - 1] -= joint;
      d_[at] -= joint;
    }
    // Two at a time, as the steps of one wait for each other.
    parallel_for((leaves + 1) / 2, [&](int64_t pair) {
      const int64_t low = border(2 * pair, leaves), middle = border(2 * pair + 1, leaves),
                    high = 2 * pair + 2 <= leaves ? border(2 * pair + 2, leaves) : middle;
      Leaf one(&d_[low], &e_[low], middle - low, kFine<T>),
          other(d_.data() + middle, e_.data() + middle, high - middle, kFine<T>);
      solve(one, other);
      leaf(low, middle, one.vectors());
      if (high > middle) leaf(middle, high, other.vectors());
    });
    for (int64_t parts = leaves / 2; parts >= 1; parts /= 2) {
      const auto one = [&](int64_t i) {
        merge(border(2 * i, 2 * parts), border(2 * i + 1, 2 * parts), border(2 * i + 2, 2 * parts));
      };
      if (parts >= 4)
        parallel_for(parts, one);
      else
        for (int64_t i = 0; i < parts; ++i) one(i);
    }
  }
  std::vector<double> values() const {
    std::vector<double> out(n_);
    for (int64_t j = 0; j < n_; ++j) out[j] = d_[order_[j]];
    return out;
  }
  std::vector<int64_t> order() && { return std::move(order_); }

 private:
  void sort(int64_t low, int64_t high) {
    std::iota(order_.begin() + low, order_.begin() + high, low);
    std::stable_sort(order_.begin() + low, order_.begin() + high,
                     [&](int64_t i, int64_t j) { return d_[i] < d_[j]; });
  }

  void leaf(int64_t low, int64_t high, const PaddedMatrix<double>& q) {
    const int64_t n = high - low;
    for (int64_t i = 0; i < n; ++i) {
      first_[low + i] = q.row(i)[0];
      last_[low + i] = q.row(i)[n - 1];
      for (int64_t j = 0; j < n; ++j) z_.row(low + i)[low + j] = static_cast<T>(q.row(i)[j]);
    }
    sort(low, high);
  }

  struct Found {              // of a merge, the part whose eigenvalues change
    std::vector<int64_t> at;  // rows
    std::vector<double> d, z;
    std::vector<int64_t> settled;
  };

  void merge(int64_t low, int64_t middle, int64_t high) {
    const int64_t n = high - low;
    const double joint = e_[middle - 1];
    // T = diag + |joint| u u^T; u is (0 ... 0 1 s 0 ... 0), s the sign.
    std::vector<double> z(n);
    for (int64_t i = low; i < high; ++i) {
      z[i - low] = (i < middle ? last_[i] : std::copysign(1.0, joint) * first_[i]) * std::sqrt(0.5);
      (i < middle ? last_ : first_)[i] = 0;
    }
    const double rho = 2 * std::abs(joint);
    std::vector<int64_t> sorted(n);
    std::merge(order_.begin() + low, order_.begin() + middle, order_.begin() + middle, order_.begin() + high,
               sorted.begin(), [&](int64_t i, int64_t j) { return d_[i] < d_[j]; });
    std::vector<char> kind(n);  // 0: zero below the joint, 2: above, 1: neither
    for (int64_t i = low; i < high; ++i) kind[i - low] = i < middle ? 0 : 2;
    Found found = deflate(low, high, sorted, z, rho, kind);
    const auto k = static_cast<int64_t>(found.at.size());
    if (k == 0) {
      sort(low, high);
      return;
    }
    // In groups by kind, of which products use what is not zero.
    std::vector<int64_t> place(k), count(4);
    for (int64_t i = 0; i < k; ++i) ++count[kind[found.at[i] - low] + 1];
    std::partial_sum(count.begin(), count.end(), count.begin());
    const int64_t upper_end = count[2], lower_begin = count[1];
    for (int64_t i = 0; i < k; ++i) place[i] = count[kind[found.at[i] - low]]++;
    join(low, middle, high, rho, found, place, upper_end, lower_begin);
    sort(low, high);
  }

  // Eigenvalues with a vanishing part of z stay, and of two that are nearly equal one does after a rotation.
  Found deflate(int64_t low, int64_t high, const std::vector<int64_t>& sorted, std::vector<double>& z,
                double rho, std::vector<char>& kind) {
    double largest = 0, largest_z = 0;
    for (int64_t i : sorted) {
      largest = std::max(largest, std::abs(d_[i]));
      largest_z = std::max(largest_z, std::abs(z[i - low]));
    }
    const double small = 8 * kEps * std::max(largest, largest_z);
    Found found;
    int64_t before = -1;
    const auto keep = [&](int64_t i) {
      found.at.push_back(i);
      found.d.push_back(d_[i]);
      found.z.push_back(z[i - low]);
    };
    for (int64_t i : sorted) {
      double& mine = z[i - low];
      if (rho * std::abs(mine) <= small) {
        found.settled.push_back(i);
        continue;
      }
      if (before >= 0) {
        double& other = z[before - low];
        const double length = std::hypot(mine, other), c = mine / length, s = -other / length;
        if (std::abs((d_[i] - d_[before]) * c * s) <= small) {
          mine = length;
          other = 0;
          turn(before, i, c, s, low, high, kind);
          const double a = d_[before], b = d_[i];
          d_[before] = a * c * c + b * s * s;
          d_[i] = a * s * s + b * c * c;
          found.settled.push_back(before);
          before = i;
          continue;
        }
        keep(before);
      }
      before = i;
    }
    if (before >= 0) keep(before);
    return found;
  }
  // Rows i and j become c x + s y, c y - s x.
  void turn(int64_t i, int64_t j, double c, double s, int64_t low, int64_t high, std::vector<char>& kind) {
    const auto both = [&](double& x, double& y) {
      const double old = x;
      x = c * x + s * y;
      y = c * y - s * old;
    };
    both(first_[i], first_[j]);
    both(last_[i], last_[j]);
    if (kind[i - low] != kind[j - low]) kind[i - low] = kind[j - low] = 1;
    const T ct = static_cast<T>(c), st = static_cast<T>(s);
    T *x = z_.row(i), *y = z_.row(j);
    for (int64_t l = low; l < high; ++l) {
      const T old = x[l];
      x[l] = ct * x[l] + st * y[l];
      y[l] = ct * y[l] - st * old;
    }
  }

  void join(int64_t low, int64_t middle, int64_t high, double rho, Found& found,
            const std::vector<int64_t>& place, int64_t upper_end, int64_t lower_begin) {
    const auto k = static_cast<int64_t>(found.at.size());
    const GapKernels& kernels = eigen_kernels().plain;
    double all = 0;
    for (double x : found.z) all += x * x;
    std::vector<double> parts(k), near(k), top(k), bottom(k);
    for (int64_t i = 0; i < k; ++i) {
      parts[i] = found.z[i] * found.z[i] / all;
      top[i] = first_[found.at[i]];
      bottom[i] = last_[found.at[i]];
    }
    std::vector<Root> roots(k);
    const double* d = found.d.data();
    const int64_t grain = std::max<int64_t>(1, (1 << 14) / k);
    parallel_ranges(k, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        roots[j] = secular_root(d, parts.data(), k, j, rho * all, false, kFine<T>);
    });
    nearby_update(d, k, roots.data(), false, near.data());
    for (int64_t i = 0; i < k; ++i) near[i] = std::copysign(near[i], found.z[i]);

    const int64_t above = middle - low, below = high - middle, rest = k - lower_begin;
    const int64_t settled = static_cast<int64_t>(found.settled.size()), width = high - low;
    Workspace space((k * k + upper_end * above + rest * below + settled * width) *
                    static_cast<int64_t>(sizeof(T)));
    T *turn = space.as<T>(), *upper = turn + k * k, *lower = upper + upper_end * above,
      *aside = lower + rest * below;
    std::vector<double> new_first(k), new_last(k);
    parallel_ranges(k, grain, [&](int64_t begin, int64_t end) {
      Workspace line_space(k * static_cast<int64_t>(sizeof(double)));
      double* line = line_space.as<double>();
      for (int64_t j = begin; j < end; ++j) {
        const double squares = kernels.quotients(d, near.data(), k, roots[j].origin, roots[j].eta, line);
        const double scale = 1 / std::sqrt(squares);
        new_first[j] = real_vectors<double>().dot(line, top.data(), k) * scale;
        new_last[j] = real_vectors<double>().dot(line, bottom.data(), k) * scale;
        for (int64_t i = 0; i < k; ++i) turn[j * k + place[i]] = static_cast<T>(line[i] * scale);
      }
    });
    for (int64_t i = 0; i < k; ++i) {
      const T* row = z_.row(found.at[i]);
      if (place[i] < upper_end) std::copy(row + low, row + middle, upper + place[i] * above);
      if (place[i] >= lower_begin)
        std::copy(row + middle, row + high, lower + (place[i] - lower_begin) * below);
    }
    std::vector<double> kept(3 * settled);
    for (int64_t i = 0; i < settled; ++i) {
      const int64_t at = found.settled[i];
      std::copy(z_.row(at) + low, z_.row(at) + high, aside + i * width);
      kept[3 * i] = d_[at], kept[3 * i + 1] = first_[at], kept[3 * i + 2] = last_[at];
    }
    multiply_into<T>(z_.row(low) + low, z_.stride, k, above, upper_end, {turn, k}, {upper, above}, 1, 0);
    multiply_into<T>(z_.row(low) + middle, z_.stride, k, below, rest, {turn + lower_begin, k}, {lower, below},
                     1, 0);
    for (int64_t j = 0; j < k; ++j) {
      d_[low + j] = roots[j].value();
      first_[low + j] = new_first[j];
      last_[low + j] = new_last[j];
    }
    for (int64_t i = 0; i < settled; ++i) {
      const int64_t to = low + k + i;
      std::copy(aside + i * width, aside + (i + 1) * width, z_.row(to) + low);
      d_[to] = kept[3 * i], first_[to] = kept[3 * i + 1], last_[to] = kept[3 * i + 2];
    }
  }

  std::vector<double> d_, e_;
  const PaddedMatrix<T>& z_;
  const int64_t n_;
  std::vector<double> first_, last_;  // elements of the vectors of a part
  std::vector<int64_t> order_;        // of each part, ascending
};

}  // namespace

template <class T>
std::vector<double> tridiagonal_vectors(Tridiagonal t, const PaddedMatrix<T>& z,
                                        std::vector<int64_t>& order) {
  Divided<T> divided(std::move(t), z);
  divided.run();
  std::vector<double> values = divided.values();
  order = std::move(divided).order();
  return values;
}
template std::vector<double> tridiagonal_vectors<float>(Tridiagonal, const PaddedMatrix<float>&,
                                                        std::vector<int64_t>&);
template std::vector<double> tridiagonal_vectors<double>(Tridiagonal, const PaddedMatrix<double>&,
                                                         std::vector<int64_t>&);

}  // namespace mlx::core::cpu
