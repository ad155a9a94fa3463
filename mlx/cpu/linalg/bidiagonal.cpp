// Divide and conquer (M. Gu, S. Eisenstat, "A divide-and-conquer algorithm for the bidiagonal SVD", 1995). A
// part has rows [low, high) and columns [low, high], one more than rows: what is left of the last column by
// the vectors of the singular values is that of a vector more, which the matrix maps to 0. The middle row
// joins two parts,
//
//     [ B1           ]          [ 0     d          0          ]
//     [ alpha   beta ]  ->      [ r  alpha l1  beta f2        ]
//     [           B2 ]          [       d1         d2         ]
//
// with the last elements l1 of vectors of B1 and the first f2 of those of B2: a row and a diagonal. Only
// these elements decide about values; they are kept in double.
#include "mlx/cpu/linalg/bidiagonal.h"

#include <algorithm>
#include <numeric>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/eigen.h"
#include "mlx/cpu/linalg/blocked.h"
#include "mlx/cpu/linalg/secular.h"

namespace mlx::core::cpu {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kVanishing = 1e-50;  // beside 1: fourth powers of gaps occur
constexpr int64_t kLeaf = 32;

// x, y <- c x + s y, c y - s x
template <class T>
void turn(T* x, T* y, int64_t n, double c, double s) {
  const T ct = static_cast<T>(c), st = static_cast<T>(s);
  for (int64_t i = 0; i < n; ++i) {
    const T old = x[i];
    x[i] = ct * x[i] + st * y[i];
    y[i] = ct * y[i] - st * old;
  }
}

template <class T>
class Divided {
 public:
  Divided(const std::vector<double>& d, const std::vector<double>& e, const PaddedMatrix<T>& u,
          const PaddedMatrix<T>& v)
      : d_(d), e_(e), u_(u), v_(v), n_(static_cast<int64_t>(d.size())), first_(n_ + 1), last_(n_ + 1) {
    e_[n_ - 1] = 0;
  }

  std::vector<double> run() {
    divide(0, n_, 0);
    parallel_for(static_cast<int64_t>(leaves_.size()),
                 [&](int64_t i) { leaf(leaves_[i].low, leaves_[i].high); });
    for (size_t depth = levels_.size(); depth-- > 0;) {
      const std::vector<Part>& parts = levels_[depth];
      const auto one = [&](int64_t i) {
        merge(parts[i].low, middle_of(parts[i].low, parts[i].high), parts[i].high);
      };
      if (parts.size() >= 4)
        parallel_for(static_cast<int64_t>(parts.size()), one);
      else
        for (size_t i = 0; i < parts.size(); ++i) one(static_cast<int64_t>(i));
    }
    return std::move(d_);
  }

 private:
  struct Part {
    int64_t low, high;
  };
  static int64_t middle_of(int64_t low, int64_t high) { return low + (high - low) / 2; }

  void divide(int64_t low, int64_t high, size_t depth) {
    if (high - low <= kLeaf) return leaves_.push_back({low, high});
    if (levels_.size() == depth) levels_.emplace_back();
    levels_[depth].push_back({low, high});
    const int64_t middle = middle_of(low, high);
    divide(low, middle, depth + 1);
    divide(middle + 1, high, depth + 1);
  }

  void leaf(int64_t low, int64_t high) {
    const int64_t n = high - low;
    double* d = &d_[low];
    std::vector<double> e(e_.begin() + low, e_.begin() + high);
    const PaddedMatrix<double> q(n, n), w(n + 1, n + 1);
    for (int64_t i = 0; i < n; ++i) q.row(i)[i] = 1;
    for (int64_t i = 0; i <= n; ++i) w.row(i)[i] = 1;
    if (e[n - 1] != 0) {
      // The column more is cleared by rotations from the right, which leave a lower bidiagonal matrix; others
      // from the left make it an upper one again.
      const auto sweep = [&](const PaddedMatrix<double>& vectors, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const double r = std::hypot(d[i], e[i]), c = r > 0 ? d[i] / r : 1, s = r > 0 ? e[i] / r : 0;
          d[i] = r;
          e[i] = 0;
          if (i + 1 < n) {
            e[i] = s * d[i + 1];
            d[i + 1] *= c;
          }
          turn(vectors.row(i), vectors.row(i + 1), vectors.stride, c, s);
        }
      };
      sweep(w, n);
      sweep(q, n - 1);
    }
    e[n - 1] = 0;
    Rotations<double> left(&q, n), right(&w, n);
    BidiagonalSteps steps(d, e.data(), n);
    apply_while<double>(
        [&] {
          while (!steps.done()) {
            steps.advance(left, right);
            if (right.full()) return true;
          }
          return false;
        },
        {&left, &right});
    for (int64_t i = 0; i <= n; ++i) {
      const double sign = i < n && std::signbit(d[i]) ? -1 : 1;
      if (i < n) d[i] *= sign;
      first_[low + i] = sign * w.row(i)[0];
      last_[low + i] = sign * w.row(i)[n];
      for (int64_t j = 0; j <= n; ++j) v_.row(low + i)[low + j] = static_cast<T>(sign * w.row(i)[j]);
      for (int64_t j = 0; j < n && i < n; ++j) u_.row(low + i)[low + j] = static_cast<T>(q.row(i)[j]);
    }
  }

  void merge(int64_t low, int64_t middle, int64_t high) {
    const int64_t n = high - low;
    const double alpha = d_[middle], beta = e_[middle];
    // The vectors more of both parts: a combination has all of the joint, the other nothing.
    const double a = alpha * last_[middle], b = beta * first_[high];
    double r = std::hypot(a, b), c = 1, s = 0;
    std::vector<double> z(n);
    std::vector<char> kind(n);  // 0: zero right of the middle, 2: left of it, 1: neither
    double largest = std::max(std::abs(alpha), std::abs(beta));
    for (int64_t i = low; i < high; ++i) {
      if (i == middle) continue;
      kind[i - low] = i < middle ? 0 : 2;
      z[i - low] = i < middle ? alpha * last_[i] : beta * first_[i];
      (i < middle ? last_ : first_)[i] = 0;
      largest = std::max(largest, d_[i]);
    }
    const double small = 8 * kEps * largest;
    if (r > small)
      c = a / r, s = b / r;
    else
      r = small;
    join_null_vectors(low, middle, high, c, s);
    z[middle - low] = r;
    kind[middle - low] = 1;
    d_[middle] = 0;
    std::vector<int64_t> sorted;
    for (int64_t i = low; i < high; ++i)
      if (i != middle) sorted.push_back(i);
    std::sort(sorted.begin(), sorted.end(), [&](int64_t i, int64_t j) { return d_[i] < d_[j]; });

    Found found{{middle}, {0}, {r}, {}};
    deflate(low, high, sorted, z, small, kind, found);
    // Beside a matrix of about 1, this is 0; its squares would be.
    if (largest > kVanishing) join(low, middle, high, found, kind);
  }

  void join_null_vectors(int64_t low, int64_t middle, int64_t high, double c, double s) {
    T *x = v_.row(middle), *y = v_.row(high);
    for (int64_t j = low; j <= middle; ++j) {
      y[j] = static_cast<T>(-s) * x[j];
      x[j] *= static_cast<T>(c);
    }
    for (int64_t j = middle + 1; j <= high; ++j) {
      x[j] = static_cast<T>(s) * y[j];
      y[j] *= static_cast<T>(c);
    }
    first_[high] = -s * first_[middle];
    first_[middle] *= c;
    last_[middle] = s * last_[high];
    last_[high] *= c;
    u_.row(middle)[middle] = 1;
  }

  struct Found {  // the part whose singular values change
    std::vector<int64_t> at;
    std::vector<double> d, z;
    std::vector<int64_t> settled;
  };

  void deflate(int64_t low, int64_t high, const std::vector<int64_t>& sorted, std::vector<double>& z,
               double small, std::vector<char>& kind, Found& found) {
    int64_t before = -1;
    const auto keep = [&](int64_t i) {
      found.at.push_back(i);
      // Above the 0 that is first.
      found.d.push_back(found.d.size() == 1 ? std::max(d_[i], small / 2) : d_[i]);
      found.z.push_back(z[i - low]);
    };
    for (int64_t i : sorted) {
      if (std::abs(z[i - low]) <= small) {
        found.settled.push_back(i);
        continue;
      }
      if (before >= 0) {
        if (d_[i] - d_[before] <= small) {
          double &mine = z[i - low], &other = z[before - low];
          const double length = std::hypot(mine, other), c = mine / length, s = -other / length;
          mine = length;
          other = 0;
          turn(&first_[before], &first_[i], 1, c, s);
          turn(&last_[before], &last_[i], 1, c, s);
          turn(v_.row(before) + low, v_.row(i) + low, high - low + 1, c, s);
          turn(u_.row(before) + low, u_.row(i) + low, high - low, c, s);
          if (kind[before - low] != kind[i - low]) kind[before - low] = kind[i - low] = 1;
          found.settled.push_back(before);
        } else {
          keep(before);
        }
      }
      before = i;
    }
    if (before >= 0) keep(before);
  }

  void join(int64_t low, int64_t middle, int64_t high, const Found& found, const std::vector<char>& kind) {
    const auto k = static_cast<int64_t>(found.at.size()),
               settled = static_cast<int64_t>(found.settled.size());
    const GapKernels& kernels = eigen_kernels().of_squares;
    const double* d = found.d.data();
    double all = 0;
    for (double x : found.z) all += x * x;
    std::vector<double> parts(k), near(k), front(k), back(k), new_first(k), new_last(k);
    for (int64_t i = 0; i < k; ++i) {
      parts[i] = found.z[i] * found.z[i] / all;
      front[i] = first_[found.at[i]];
      back[i] = last_[found.at[i]];
    }
    std::vector<Root> roots(k);
    const int64_t grain = std::max<int64_t>(1, (1 << 14) / k);
    parallel_ranges(k, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        roots[j] = secular_root(d, parts.data(), k, j, all, true, kFine<T>);
    });
    nearby_update(d, k, roots.data(), true, near.data());
    for (int64_t i = 0; i < k; ++i) near[i] = std::copysign(near[i], found.z[i]);

    // In groups by kind, of which products use what is not zero.
    std::vector<int64_t> place(k), count(4);
    for (int64_t i = 0; i < k; ++i) ++count[kind[found.at[i] - low] + 1];
    std::partial_sum(count.begin(), count.end(), count.begin());
    const int64_t upper = count[2], from = count[1], lower = k - from;
    for (int64_t i = 0; i < k; ++i) place[i] = count[kind[found.at[i] - low]]++;

    const int64_t width = high - low, left = middle - low,
                  right = width - left;  // left: of U; V has one more
    Workspace space((2 * k * k + upper * (left + 1) + lower * right + settled * (2 * width + 1)) *
                    static_cast<int64_t>(sizeof(T)));
    T *turn_u = space.as<T>(), *turn_v = turn_u + k * k, *some = turn_v + k * k,
      *others = some + upper * (left + 1), *aside = others + lower * right;
    std::vector<T> of_middle(k);
    parallel_ranges(k, grain, [&](int64_t begin, int64_t end) {
      Workspace line_space(k * static_cast<int64_t>(sizeof(double)));
      double* line = line_space.as<double>();
      for (int64_t j = begin; j < end; ++j) {
        const double scale =
            1 / std::sqrt(kernels.quotients(d, near.data(), k, roots[j].origin, roots[j].eta, line));
        new_first[j] = real_vectors<double>().dot(line, front.data(), k) * scale;
        new_last[j] = real_vectors<double>().dot(line, back.data(), k) * scale;
        for (int64_t i = 0; i < k; ++i) turn_v[j * k + place[i]] = static_cast<T>(line[i] * scale);
        for (int64_t i = 1; i < k; ++i) line[i] *= d[i];
        line[0] = -1;
        const double of_u = 1 / std::sqrt(real_vectors<double>().dot(line, line, k));
        for (int64_t i = 0; i < k; ++i) turn_u[j * k + place[i]] = static_cast<T>(line[i] * of_u);
        of_middle[j] = static_cast<T>(-of_u);
      }
    });
    std::vector<double> kept(3 * settled);
    for (int64_t i = 0; i < settled; ++i) {
      const int64_t at = found.settled[i];
      T* to = aside + i * (2 * width + 1);
      std::copy(u_.row(at) + low, u_.row(at) + high, to);
      std::copy(v_.row(at) + low, v_.row(at) + high + 1, to + width);
      kept[3 * i] = d_[at], kept[3 * i + 1] = first_[at], kept[3 * i + 2] = last_[at];
    }
    const auto product = [&](const PaddedMatrix<T>& vectors, const T* by, int64_t border, int64_t begin,
                             int64_t end) {
      const int64_t wide = border - low, rest = end - begin;
      for (int64_t i = 0; i < k; ++i) {
        const T* row = vectors.row(found.at[i]);
        if (place[i] < upper) std::copy(row + low, row + border, some + place[i] * wide);
        if (place[i] >= from) std::copy(row + begin, row + end, others + (place[i] - from) * rest);
      }
      multiply_into<T>(vectors.row(low) + low, vectors.stride, k, wide, upper, {by, k}, {some, wide}, 1, 0);
      multiply_into<T>(vectors.row(low) + begin, vectors.stride, k, rest, lower, {by + from, k},
                       {others, rest}, 1, 0);
    };
    product(v_, turn_v, middle + 1, middle + 1, high + 1);
    product(u_, turn_u, middle, middle + 1, high);
    for (int64_t j = 0; j < k; ++j) {
      u_.row(low + j)[middle] = of_middle[j];
      d_[low + j] = roots[j].root_of_square();
      first_[low + j] = new_first[j];
      last_[low + j] = new_last[j];
    }
    for (int64_t i = 0; i < settled; ++i) {
      const int64_t to = low + k + i;
      const T* row = aside + i * (2 * width + 1);
      std::copy(row, row + width, u_.row(to) + low);
      std::copy(row + width, row + 2 * width + 1, v_.row(to) + low);
      d_[to] = kept[3 * i], first_[to] = kept[3 * i + 1], last_[to] = kept[3 * i + 2];
    }
  }

  std::vector<double> d_, e_;
  const PaddedMatrix<T>&u_, &v_;
  const int64_t n_;
  std::vector<double> first_, last_;  // elements of the vectors of a part
  std::vector<Part> leaves_;
  std::vector<std::vector<Part>> levels_;
};

}  // namespace

template <class T>
std::vector<double> bidiagonal_vectors(const std::vector<double>& d, const std::vector<double>& e,
                                       const PaddedMatrix<T>& u, const PaddedMatrix<T>& v) {
  return Divided<T>(d, e, u, v).run();
}
template std::vector<double> bidiagonal_vectors<float>(const std::vector<double>&, const std::vector<double>&,
                                                       const PaddedMatrix<float>&,
                                                       const PaddedMatrix<float>&);
template std::vector<double> bidiagonal_vectors<double>(const std::vector<double>&,
                                                        const std::vector<double>&,
                                                        const PaddedMatrix<double>&,
                                                        const PaddedMatrix<double>&);

}  // namespace mlx::core::cpu
