#include "mlx/cpu/isa/eigen.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// d - x, or d^2 - x^2.
template <bool kSquares, class V>
V difference(V d, V x) {
  if constexpr (kSquares) {
    return (d - x) * (d + x);
  } else {
    return d - x;
  }
}

template <bool kSquares>
void secular(const double* d, const double* z, int64_t n, double origin, double eta, double* sum,
             double* slope) {
  const D o = splat<D>(origin), e = splat<D>(eta);
  D s{}, t{};
  int64_t i = 0;
  for (; i + kD <= n; i += kD) {
    const D one = splat<D>(1.0) / (difference<kSquares>(loadu<D>(d + i), o) - e),
            term = loadu<D>(z + i) * one;
    s += term;
    t = fma(term, one, t);
  }
  double a = sum_across(s), b = sum_across(t);
  for (; i < n; ++i) {
    const double one = 1 / (difference<kSquares>(d[i], origin) - eta), term = z[i] * one;
    a += term;
    b += term * one;
  }
  *sum = a;
  *slope = b;
}

template <bool kSquares>
void ratios(const double* d, int64_t n, double origin, double eta, double other, double* w) {
  const D o = splat<D>(origin), e = splat<D>(eta), x = splat<D>(other);
  int64_t i = 0;
  for (; i + kD <= n; i += kD) {
    const D v = loadu<D>(d + i);
    storeu(w + i, loadu<D>(w + i) * ((difference<kSquares>(v, o) - e) / difference<kSquares>(v, x)));
  }
  for (; i < n; ++i) w[i] *= (difference<kSquares>(d[i], origin) - eta) / difference<kSquares>(d[i], other);
}

template <bool kSquares>
double quotients(const double* d, const double* z, int64_t n, double origin, double eta, double* x) {
  const D o = splat<D>(origin), e = splat<D>(eta);
  D s{};
  int64_t i = 0;
  for (; i + kD <= n; i += kD) {
    const D q = loadu<D>(z + i) / (difference<kSquares>(loadu<D>(d + i), o) - e);
    storeu(x + i, q);
    s = fma(q, q, s);
  }
  double squares = sum_across(s);
  for (; i < n; ++i) {
    x[i] = z[i] / (difference<kSquares>(d[i], origin) - eta);
    squares += x[i] * x[i];
  }
  return squares;
}

}  // namespace

const EigenKernels& eigen_kernels_table() {
  static constexpr EigenKernels table{{secular<false>, ratios<false>, quotients<false>},
                                      {secular<true>, ratios<true>, quotients<true>}};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
