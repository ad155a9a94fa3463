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
constexpr double kVanishing = 1e-140;  // beside 1, the size of matrices: squares of less may be 0
constexpr int64_t kLeaf = 32;

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
    const int64_t leaves = int64_t{1} << levels;
    const auto border = [&](int64_t i, int64_t parts) { return i * n_ / parts; };
    for (int64_t i = 1; i < leaves; ++i) {
      const int64_t at = border(i, leaves);
      const double joint = std::abs(e_[at - 1]);
      d_[at - 1] -= joint;
      d_[at] -= joint;
    }
    parallel_for(leaves, [&](int64_t i) { leaf(border(i, leaves), border(i + 1, leaves)); });
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

  // QL steps with implicit shifts (Bowdler, Martin, Reinsch, Wilkinson, "The QR and QL algorithms for
  // symmetric matrices", 1968).
  void leaf(int64_t low, int64_t high) {
    const int64_t n = high - low;
    const PaddedMatrix<double> q(n, n);
    for (int64_t i = 0; i < n; ++i) q.row(i)[i] = 1;
    double* d = &d_[low];
    std::vector<double> e(e_.begin() + low, e_.begin() + high);
    double c_of[kLeaf], s_of[kLeaf];
    int32_t at[kLeaf];
    for (int64_t l = 0, steps = 0; l < n;) {
      int64_t m = l;
      while (m + 1 < n && std::abs(e[m]) > kFine<T> * (std::abs(d[m]) + std::abs(d[m + 1])) + kVanishing) ++m;
      if (m == l) {
        ++l;
        steps = 0;
        continue;
      }
      if (++steps > 100) throw std::runtime_error("[linalg.eigh] the iteration did not converge");
      double g = (d[l + 1] - d[l]) / (2 * e[l]), s = 1, c = 1, p = 0;
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::sqrt(g * g + 1), g));
      int64_t i = m - 1, count = 0;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i], squares = f * f + g * g, r = std::sqrt(squares);
        e[i + 1] = r;
        if (squares < 1e-290) {  // the matrix falls into two parts here
          d[i + 1] -= p;
          break;
        }
        const double inverse = r * (1 / squares);  // the division does not wait for the root
        s = f * inverse;
        c = g * inverse;
        g = d[i + 1] - p;
        const double t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        c_of[count] = c;
        s_of[count] = s;
        at[count++] = static_cast<int32_t>(i);
      }
      if (i < l) {
        d[l] -= p;
        e[l] = g;
      }
      e[m] = 0;
      factor<double>().rotate(q.row(0), q.stride, q.stride, c_of, s_of, at, count);
    }
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
        new_first[j] = factor<double>().dot(line, top.data(), k) * scale;
        new_last[j] = factor<double>().dot(line, bottom.data(), k) * scale;
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
