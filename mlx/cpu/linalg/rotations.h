// Rotations of neighbouring vectors, collected until there are enough to be worth a pass over the vectors;
// and Householder reflections.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/isa/panel.h"
#include "mlx/cpu/isa/vectors.h"
#include "mlx/cpu/linalg/complex.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

// How exactly, in double, values are found that become T in the end: 1 / 1000 of the distance of two floats.
template <class T>
constexpr double kFine = sizeof(T) == 4 ? 1e-10 : std::numeric_limits<double>::epsilon();

// Zeros at first. Rows begin on cache lines and are whole vectors long: loops may begin at even(column),
// where what they find before their column are zeros of another operand.
template <class T>
class PaddedMatrix {
 public:
  PaddedMatrix(int64_t rows, int64_t columns)
      : rows(rows), stride((columns + kEven - 1) / kEven * kEven), memory_(rows * stride * sizeof(T)) {
    std::fill(memory_.as<T>(), memory_.as<T>() + rows * stride, T{0});
  }
  static int64_t even(int64_t column) { return column / kEven * kEven; }
  T* row(int64_t i) const { return memory_.as<T>() + i * stride; }
  const int64_t rows, stride;

 private:
  static constexpr int64_t kEven = 64 / sizeof(T);
  Workspace memory_;
};

template <class From, class To>
void convert_line(const From* from, int64_t n, To* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
}

// Of the rows of a matrix, those of complex numbers as reals; null: nothing is done.
template <class T>
class Rotations {
 public:
  // `step`: how many are added, at most, before anybody asks whether it is full.
  template <class S>
  Rotations(const PaddedMatrix<S>* vectors, int64_t step)
      : vectors_(vectors ? reals(vectors->row(0)) : nullptr),
        stride_(vectors ? kParts<S> * vectors->stride : 0),
        many_(std::min<int64_t>(8192, 2 * step * step)) {
    if (!vectors) return;
    for (Batch* b : {&next_, &ready_}) {
      b->c.resize(many_ + step);
      b->s.resize(many_ + step);
      b->at.resize(many_ + step);
    }
  }

  // Vectors i and i + 1: x, y <- c x - s y, s x + c y.
  void add(int64_t i, double c, double s) {
    if (!vectors_) return;
    const int64_t k = next_.count++;
    next_.c[k] = static_cast<T>(c);
    next_.s[k] = static_cast<T>(s);
    next_.at[k] = static_cast<int32_t>(i);
  }
  // There are enough to be worth a pass over the vectors.
  bool full() const { return next_.count >= many_; }

  // What was added since the last time is to be applied, in parts that are independent of each other.
  void turn_over() {
    std::swap(ready_, next_);
    next_.count = 0;
  }
  int64_t parts() const { return ready_.count == 0 ? 0 : (stride_ + kPart - 1) / kPart; }
  void apply(int64_t part) const {
    const int64_t begin = part * kPart, columns = std::min(kPart, stride_ - begin);
    real_vectors<T>().rotate(vectors_ + begin, stride_, columns, ready_.c.data(), ready_.s.data(),
                             ready_.at.data(), ready_.count);
  }

 private:
  static constexpr int64_t kPart = 64;
  struct Batch {
    std::vector<T> c, s;
    std::vector<int32_t> at;
    int64_t count = 0;
  };
  T* vectors_;
  int64_t stride_, many_;
  Batch next_, ready_;
};

// Applies what `produce` adds to the rotations while it is at work on the next batch. It returns, with one of
// them full, true; or false at the end.
template <class T, class F>
void apply_while(F&& produce, std::initializer_list<Rotations<T>*> all) {
  for (bool more = produce();;) {
    int64_t parts = more ? 1 : 0;
    for (Rotations<T>* r : all) {
      r->turn_over();
      parts += r->parts();
    }
    if (parts == 0) return;
    bool after = false;
    parallel_for(parts, [&](int64_t item) {
      if (more && item-- == 0) {
        after = produce();
        return;
      }
      for (const Rotations<T>* r : all) {
        if (item < r->parts()) return r->apply(item);
        item -= r->parts();
      }
    });
    more = after;
  }
}

// 1 - tau v v^H that maps x, of n elements, on beta times the first unit vector. v, with v[0] = 1, takes x's
// place. Of matrices of about 1: elements whose squares have lost digits are as good as 0.
template <class S>
struct Reflection {
  Real<S> tau{};
  S beta{};
};
template <class T>
Reflection<T> find_reflection(T* x, int64_t n) {
  const double squares = n > 1 ? real_vectors<T>().squares(x + 1, n - 1) : 0, alpha = x[0];
  x[0] = 1;
  if (squares < 1e-280) return {0, static_cast<T>(alpha)};
  const double beta = -std::copysign(std::sqrt(alpha * alpha + squares), alpha);
  const double scale = 1 / (alpha - beta);
  for (int64_t i = 1; i < n; ++i) x[i] = static_cast<T>(x[i] * scale);
  return {static_cast<T>((beta - alpha) / beta), static_cast<T>(beta)};
}
template <class T>
Reflection<Complex<T>> find_reflection(Complex<T>* x, int64_t n) {
  const double rest = n > 1 ? real_vectors<T>().squares(&x[1].re, 2 * (n - 1)) : 0;
  const Z alpha{x[0].re, x[0].im};
  x[0] = {1, 0};
  if (rest < 1e-280) return {0, {static_cast<T>(alpha.re), static_cast<T>(alpha.im)}};
  const double first = size(alpha), length = std::sqrt(first * first + rest);
  const Z direction = first > 0 ? (1 / first) * alpha : Z{1, 0}, beta = -length * direction;
  const Z scale = Z{1, 0} / ((first + length) * direction);
  for (int64_t i = 1; i < n; ++i) {
    const Z y = Z{x[i].re, x[i].im} * scale;
    x[i] = {static_cast<T>(y.re), static_cast<T>(y.im)};
  }
  return {static_cast<T>((first + length) / length), {static_cast<T>(beta.re), static_cast<T>(beta.im)}};
}

// Rows of z become columns 0 ... count - 1 of the product of reflections 0 ... k - 1; the vector of
// reflection i is row i of v, zero before element i + offset.
template <class S, class Work>
void accumulate(const PaddedMatrix<S>& z, int64_t count, int64_t k, int64_t offset, const Real<Work>* tau,
                const PaddedMatrix<Work>& vectors) {
  constexpr int64_t kGroup = 8;
  const PaddedMatrix<S> v(k, vectors.stride);
  for (int64_t i = 0; i < k; ++i) convert_line(vectors.row(i), vectors.stride, v.row(i));
  for (int64_t i = 0; i < count; ++i) z.row(i)[i] = S{1};
  const int64_t grain = std::max<int64_t>(kGroup, (1 << 14) / z.stride / kGroup * kGroup);
  parallel_ranges(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += kGroup) {
      const int64_t some = std::min(kGroup, end - j);
      // Reflections further down leave these unit vectors alone.
      for (int64_t i = std::min(k, j + some - offset) - 1; i >= 0; --i) {
        const int64_t at = PaddedMatrix<S>::even(i + offset);
        if (tau[i] != 0)
          panels<S>().reflect(v.row(i) + at, z.stride - at, static_cast<Real<S>>(tau[i]), z.row(j) + at,
                              z.stride, some);
      }
    }
  });
}

// What rounding in many rotations did to the lengths of vectors.
template <class S>
void normalize(const PaddedMatrix<S>& z, int64_t count) {
  using T = Real<S>;
  const int64_t length = kParts<S> * z.stride;
  for (int64_t i = 0; i < count; ++i) {
    T* row = reals(z.row(i));
    const T scale =
        static_cast<T>(1 / std::sqrt(static_cast<double>(real_vectors<T>().dot(row, row, length))));
    for (int64_t j = 0; j < length; ++j) row[j] *= scale;
  }
}

// Multiplies by 2^exponent.
class PowerOfTwo {
 public:
  explicit PowerOfTwo(int exponent) : exponent_(exponent), factor_(std::ldexp(1.0, exponent)) {}
  double operator()(double x) const {
    return std::abs(exponent_) < 1000 ? x * factor_ : std::ldexp(x, exponent_);
  }
  template <class T, class Work>
  void operator()(const T* x, int64_t n, Work* to) const {
    if (std::abs(exponent_) < 1000)
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<Work>(static_cast<double>(x[i]) * factor_);
    else
      for (int64_t i = 0; i < n; ++i)
        to[i] = static_cast<Work>(std::ldexp(static_cast<double>(x[i]), exponent_));
  }

 private:
  int exponent_;
  double factor_;
};

}  // namespace mlx::core::cpu
