// eig. Of complex matrices in double: reflections to a Hessenberg matrix, QR steps with shifts to a
// triangular one (J. Francis, "The QR transformation", 1961), whose eigenvectors come by substitution.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/factor.h"
#include "mlx/cpu/linalg/complex.h"
#include "mlx/cpu/linalg/eig_real.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/linalg/schur.h"
#include "mlx/cpu/linalg/wy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kFew = 12;  // rows that blocks gain nothing for
constexpr double kEps = std::numeric_limits<double>::epsilon();

class Decomposition {
 public:
  // h is n x n, row-major and finite.
  Decomposition(std::vector<Z> h, int64_t n, bool vectors)
      : n_(n), vectors_(vectors), h_(std::move(h)), rotations_(n) {
    if (vectors) {
      q_.resize(n * n);
      for (int64_t i = 0; i < n; ++i) q_[i * n + i].re = 1;
    }
    for (int64_t k = 0; k + 2 < n; ++k) reflect(k);
    for (const Z& x : h_) norm_ = std::max(norm_, roughly(x));
    iterate();
  }
  Z value(int64_t k) const { return h_[k * n_ + k]; }

  // Row k is the vector of eigenvalue k: of length 1, its largest element positive.
  std::vector<Z> vectors() const {
    std::vector<Z> out(n_ * n_);
    if (n_ <= kFew) {
      for (int64_t k = 0; k < n_; ++k) vector(k, &out[k * n_]);
      return out;
    }
    // Of the triangle first, by substitution, with real and imaginary parts apart; then turned as the matrix
    // was.
    const PaddedMatrix<double> re(n_, n_), im(n_, n_), y_re(n_, n_), y_im(n_, n_);
    for (int64_t i = 0; i < n_; ++i)
      for (int64_t j = i; j < n_; ++j) {
        re.row(i)[j] = h_[i * n_ + j].re;
        im.row(i)[j] = h_[i * n_ + j].im;
      }
    parallel_ranges(n_, std::max<int64_t>(1, (1 << 16) / (n_ * n_)), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) substitute(re, im, k, y_re.row(k), y_im.row(k));
    });
    std::vector<Z> turned(n_ * n_);
    for (int64_t i = 0; i < n_ * n_; ++i) turned[i] = {-q_[i].im, q_[i].re};
    multiply_into<double>(&out[0].re, 2 * n_, n_, 2 * n_, n_, {y_re.row(0), y_re.stride}, {&q_[0].re, 2 * n_},
                          1, 0);
    multiply_into<double>(&out[0].re, 2 * n_, n_, 2 * n_, n_, {y_im.row(0), y_im.stride},
                          {&turned[0].re, 2 * n_}, 1, 1);
    for (int64_t k = 0; k < n_; ++k) normalize(&out[k * n_]);
    return out;
  }

 private:
  void substitute(const PaddedMatrix<double>& re, const PaddedMatrix<double>& im, int64_t k, double* x,
                  double* y) const {
    const auto dot = factor<double>().dot;
    x[k] = 1;
    for (int64_t i = k - 1; i >= 0; --i) {
      const int64_t at = i + 1, count = k - i;
      const double *a = re.row(i) + at, *b = im.row(i) + at;
      const Z sum{dot(a, x + at, count) - dot(b, y + at, count),
                  dot(a, y + at, count) + dot(b, x + at, count)};
      const Z found = sum / gap(k, i);
      x[i] = found.re;
      y[i] = found.im;
      if (const double large = roughly(found); large > 1e100)
        for (int64_t j = i; j <= k; ++j) x[j] /= large, y[j] /= large;
    }
  }
  void vector(int64_t k, Z* v) const {
    Z y[kFew];
    y[k].re = 1;
    for (int64_t i = k - 1; i >= 0; --i) {
      Z sum;
      for (int64_t j = i + 1; j <= k; ++j) sum = sum + h_[i * n_ + j] * y[j];
      y[i] = sum / gap(k, i);
      if (const double large = roughly(y[i]); large > 1e100)
        for (int64_t j = i; j <= k; ++j) y[j] = (1 / large) * y[j];
    }
    for (int64_t j = 0; j <= k; ++j)
      for (int64_t i = 0; i < n_; ++i) v[i] = v[i] + y[j] * q_[j * n_ + i];
    normalize(v);
  }
  Z gap(int64_t k, int64_t i) const {
    const Z gap = value(k) - value(i);
    if (roughly(gap) > kEps * norm_) return gap;
    return {std::max(kEps * norm_, std::numeric_limits<double>::min()), 0};
  }
  void normalize(Z* v) const {
    double squares = 0;
    Z top;
    for (int64_t i = 0; i < n_; ++i) {
      squares += squared(v[i]);
      // Among elements that are equal but for rounding, the first.
      if (squared(v[i]) > squared(top) * (1 + 1e-10)) top = v[i];
    }
    const double length = std::sqrt(squares), modulus = size(top);
    const Z turn = modulus > 0 ? (1 / (modulus * length)) * conj(top) : Z{1, 0};
    for (int64_t i = 0; i < n_; ++i) v[i] = turn * v[i];
  }

  // Clears column k below the subdiagonal.
  void reflect(int64_t k) {
    std::vector<Z> v(n_);
    double squares = 0;
    for (int64_t i = k + 1; i < n_; ++i) {
      v[i] = h_[i * n_ + k];
      squares += squared(v[i]);
    }
    if (squares - squared(v[k + 1]) < 1e-280) return;
    const double length = std::sqrt(squares), first = size(v[k + 1]);
    const Z direction = first > 0 ? (1 / first) * v[k + 1] : Z{1, 0};
    v[k + 1] = v[k + 1] + length * direction;
    const double factor = 1 / (length * (length + first));  // 2 / |v|^2
    std::vector<Z> w(n_);
    for (int64_t i = k + 1; i < n_; ++i)
      for (int64_t j = k; j < n_; ++j) w[j] = w[j] + conj(v[i]) * h_[i * n_ + j];
    for (int64_t i = k + 1; i < n_; ++i) {
      const Z f = factor * v[i];
      for (int64_t j = k; j < n_; ++j) h_[i * n_ + j] = h_[i * n_ + j] - f * w[j];
    }
    for (int64_t i = 0; i < n_; ++i) {
      Z sum;
      for (int64_t j = k + 1; j < n_; ++j) sum = sum + h_[i * n_ + j] * v[j];
      sum = factor * sum;
      for (int64_t j = k + 1; j < n_; ++j) h_[i * n_ + j] = h_[i * n_ + j] - sum * conj(v[j]);
    }
    for (int64_t i = k + 2; i < n_; ++i) h_[i * n_ + k] = {};
    if (!vectors_) return;
    std::fill(w.begin(), w.end(), Z{});
    for (int64_t j = k + 1; j < n_; ++j)  // row j of q is column j of Q
      for (int64_t i = 0; i < n_; ++i) w[i] = w[i] + v[j] * q_[j * n_ + i];
    for (int64_t j = k + 1; j < n_; ++j) {
      const Z f = factor * conj(v[j]);
      for (int64_t i = 0; i < n_; ++i) q_[j * n_ + i] = q_[j * n_ + i] - f * w[i];
    }
  }

  void iterate() {
    int64_t last = n_ - 1;
    for (int steps = 0; last > 0;) {
      int64_t first = last;
      for (; first > 0; --first) {
        Z& below = h_[first * n_ + first - 1];
        double near = roughly(value(first)) + roughly(value(first - 1));
        if (near == 0) near = norm_;
        if (roughly(below) <= kEps * near) {
          below = {};
          break;
        }
      }
      if (first == last) {
        --last;
        steps = 0;
        continue;
      }
      if (++steps > 300) throw NotConverged();
      step(first, last, shift(last, steps));
    }
  }

  // The eigenvalue of the last two rows and columns that is nearer to the last element; now and then another
  // number, in case the steps go round in circles.
  Z shift(int64_t last, int steps) const {
    const Z a = value(last - 1), b = h_[(last - 1) * n_ + last], c = h_[last * n_ + last - 1],
            d = value(last);
    if (steps % 10 == 0) return d + Z{0.75 * roughly(c), 0};
    const Z half = 0.5 * (a - d), r = root(half * half + b * c);
    const Z sum = half.re * r.re + half.im * r.im >= 0 ? half + r : half - r;
    return roughly(sum) == 0 ? d : d - b * c / sum;
  }

  // Multiplications from the left and the right commute: of the latter, what the next rotation is found from
  // is done at once, and the rest row by row at the end.
  void step(int64_t first, int64_t last, Z by) {
    const int64_t end = vectors_ ? n_ : last + 1, begin = vectors_ ? 0 : first;
    Z x = value(first) - by, y = h_[(first + 1) * n_ + first];
    int64_t k = first;
    for (; k < last; ++k) {
      const double ax = std::sqrt(squared(x)), length = std::sqrt(squared(x) + squared(y));
      if (length == 0) break;
      const double c = ax / length;
      const Z direction = ax > 0 ? (1 / ax) * x : Z{1, 0}, s = (1 / length) * (direction * conj(y));
      if (k > first) {
        h_[k * n_ + k - 1] = length * direction;
        h_[(k + 1) * n_ + k - 1] = {};
      }
      turn_rows(&h_[k * n_ + k], &h_[(k + 1) * n_ + k], end - k, c, s);
      turn(&h_[k], &h_[k + 1], k, std::min(last, k + 2) + 1, n_, c, conj(s));
      if (vectors_) turn_rows(&q_[k * n_], &q_[(k + 1) * n_], n_, c, conj(s));
      rotations_[k] = {c, conj(s)};
      if (k + 1 < last) {
        x = h_[(k + 1) * n_ + k];
        y = h_[(k + 2) * n_ + k];
      }
    }
    turn_columns(begin, first, k);
  }

  // Rotations first ... last - 1 of columns, of the rows above each. Several rows at a time, as those of one
  // row wait for each other.
  void turn_columns(int64_t begin, int64_t first, int64_t last) {
    constexpr int64_t kRows = 8;
    const auto all = [&](int64_t i, int64_t rows, int64_t from) {
      if (rows > 0 && from < last)
        factor<double>().rotate_columns(&h_[i * n_ + from].re, 2 * n_, rows, &rotations_[from].c,
                                        last - from);
    };
    if (begin < first) all(begin, first - begin, first);
    for (int64_t i = std::max(begin, first); i < last; i += kRows) {
      const int64_t rows = std::min(kRows, last - i), common = std::min(last, i + rows);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t k = i + r + 1; k < common; ++k) turn_pair(i + r, k);
      all(i, rows, common);
    }
  }
  void turn_pair(int64_t row, int64_t k) {
    const Rotation& t = rotations_[k];
    Z* p = &h_[row * n_ + k];
    const Z x = p[0], y = p[1];
    p[0] = t.c * x + t.s * y;
    p[1] = t.c * y - conj(t.s) * x;
  }
  static void turn_rows(Z* a, Z* b, int64_t n, double c, Z s) {
    factor<double>().rotate_complex(&a->re, &b->re, 2 * n, c, s.re, s.im);
  }
  static void turn(Z* a, Z* b, int64_t begin, int64_t end, int64_t stride, double c, Z s) {
    const Z back = conj(s);
    for (int64_t j = begin; j < end; ++j) {
      const Z x = a[j * stride], y = b[j * stride];
      a[j * stride] = c * x + s * y;
      b[j * stride] = c * y - back * x;
    }
  }

  struct Rotation {  // three reals for the kernels
    double c = 1;
    Z s;
  };

  int64_t n_;
  bool vectors_;
  std::vector<Z> h_, q_;
  std::vector<Rotation> rotations_;
  double norm_ = 0;
};

void check_finite(double x) {
  if (!std::isfinite(x)) throw invalid("linalg.eig", "the matrix has an element that is not finite");
}
complex64_t to_complex(Z x) { return complex64_t(static_cast<float>(x.re), static_cast<float>(x.im)); }

// Of one matrix, row-major: eigenvalues, and vectors of length 1, whose largest element is positive, as
// columns.
void decompose(const complex64_t* in, int64_t n, complex64_t* values, complex64_t* vectors) {
  std::vector<Z> h(n * n);
  // Squares neither overflow nor vanish: the largest element becomes about 1, by a power of two.
  double largest = 0;
  for (int64_t i = 0; i < n * n; ++i) {
    h[i] = {in[i].real(), in[i].imag()};
    check_finite(h[i].re + h[i].im);
    largest = std::max({largest, std::abs(h[i].re), std::abs(h[i].im)});
  }
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  for (Z& x : h) x = {std::ldexp(x.re, -exponent), std::ldexp(x.im, -exponent)};
  const Decomposition result(std::move(h), n, vectors != nullptr);
  for (int64_t k = 0; k < n; ++k) {
    const Z w = result.value(k);
    values[k] = to_complex({std::ldexp(w.re, exponent), std::ldexp(w.im, exponent)});
  }
  if (!vectors) return;
  const std::vector<Z> found = result.vectors();
  for (int64_t k = 0; k < n; ++k)
    for (int64_t i = 0; i < n; ++i) vectors[i * n + k] = to_complex(found[k * n + i]);
}

// The factor that makes a vector of length 1 and its largest element positive.
template <class T>
Z normal_factor(const T* re, const T* im, int64_t n) {
  constexpr double kEqual = sizeof(T) == 4 ? 1e-4 : 1e-10;
  double squares = 0, most = 0;
  Z top;
  for (int64_t i = 0; i < n; ++i) {
    const Z x{re[i], im ? im[i] : T{0}};
    const double size = squared(x);
    squares += size;
    // Among elements that are equal but for rounding, the first.
    if (size > most * (1 + kEqual)) most = size, top = x;
  }
  if (most == 0) return {1, 0};
  return (1 / (std::sqrt(most) * std::sqrt(squares))) * conj(top);
}

template <class T, class Work>
void decompose_in(const T* in, int64_t n, int exponent, complex64_t* values, complex64_t* vectors) {
  const PowerOfTwo scale(-exponent);
  const PaddedMatrix<Work> a(n, n), rows(vectors ? n : 0, n);
  for (int64_t i = 0; i < n; ++i) scale(in + i * n, n, a.row(i));
  const RealEigen<Work> w = real_eigen(a, n, vectors ? &rows : nullptr);
  for (int64_t k = 0; k < n; ++k)
    values[k] = to_complex({std::ldexp(double{w.re[k]}, exponent), std::ldexp(double{w.im[k]}, exponent)});
  if (!vectors) return;
  std::vector<Z> factors(n);
  for (int64_t k = 0; k < n; ++k)
    if (w.im[k] >= 0) factors[k] = normal_factor(rows.row(k), w.im[k] > 0 ? rows.row(k + 1) : nullptr, n);
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < n; first += kTile)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = first; k < std::min(n, first + kTile); ++k) {
        const Work* p = rows.row(k) + i;
        complex64_t& to = vectors[i * n + k];
        if (w.im[k] == 0) {
          to = to_complex({factors[k].re * double{*p}, 0});
        } else if (w.im[k] > 0) {
          to = to_complex(factors[k] * Z{*p, p[rows.stride]});
        } else {
          to = to_complex(conj(factors[k - 1] * Z{p[-rows.stride], *p}));
        }
      }
}

template <class T>
void decompose(const T* in, int64_t n, complex64_t* values, complex64_t* vectors) {
  const T largest = largest_modulus(in, n * n);
  check_finite(largest);
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<T>(n, [&]<class Work>() {
    if constexpr (sizeof(Work) == 4) {
      // Of elements of many magnitudes, products vanish in float.
      try {
        return decompose_in<T, Work>(in, n, exponent, values, vectors);
      } catch (const NotConverged&) {
      }
    }
    decompose_in<T, double>(in, n, exponent, values, vectors);
  });
}

void run_eig(const linalg::Eig& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) return;
  const auto one = [&]<class T>(int64_t i) {
    decompose(a.data<T>() + i * n * n, n, outputs[0].data<complex64_t>() + i * n,
              p.vectors ? outputs[1].data<complex64_t>() + i * n * n : nullptr);
  };
  if (a.dtype() == complex64)
    parallel_for(static_cast<int64_t>(a.size()) / (n * n),
                 [&](int64_t i) { one.template operator()<complex64_t>(i); });
  else
    each_matrix(a, 32, one);
}

const bool registered = kernels(Device::cpu).add<linalg::Eig>(run_eig);

}  // namespace
}  // namespace mlx::core::cpu
