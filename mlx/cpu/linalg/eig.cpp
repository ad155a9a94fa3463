// eig: what goes in is made about 1, and what comes out of length 1.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/linalg/eig_complex.h"
#include "mlx/cpu/linalg/eig_real.h"
#include "mlx/cpu/linalg/linalg.h"
#include "mlx/cpu/linalg/schur.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

void check_finite(double x) {
  if (!std::isfinite(x)) throw invalid("linalg.eig", "the matrix has an element that is not finite");
}
complex64_t to_complex(Z x) { return complex64_t(static_cast<float>(x.re), static_cast<float>(x.im)); }

// The factor that makes a vector of length 1 and its largest element positive.
// Elements are `step` apart.
template <class T>
Z normal_factor(const T* re, const T* im, int64_t n, int64_t step = 1) {
  constexpr double kEqual = sizeof(T) == 4 ? 1e-4 : 1e-10;
  double squares = 0, most = 0;
  Z top;
  for (int64_t i = 0; i < n; ++i) {
    const Z x{re[i * step], im ? im[i * step] : T{0}};
    const double size = squared(x);
    squares += size;
    // Among elements that are equal but for rounding, the first.
    if (size > most * (1 + kEqual)) most = size, top = x;
  }
  if (most == 0) return {1, 0};
  return (1 / (std::sqrt(most) * std::sqrt(squares))) * conj(top);
}

// vectors[i, k] = f(k, i), in tiles, as what f reads has k as rows.
template <class F>
void store_columns(complex64_t* vectors, int64_t n, F&& f) {
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < n; first += kTile)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = first; k < std::min(n, first + kTile); ++k) vectors[i * n + k] = to_complex(f(k, i));
}

template <class T, class Work>
void decompose_real(const T* in, int64_t n, int exponent, complex64_t* values, complex64_t* vectors) {
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
  store_columns(vectors, n, [&](int64_t k, int64_t i) {
    const Work* p = rows.row(k) + i;
    if (w.im[k] == 0) return Z{factors[k].re * double{*p}, 0};
    if (w.im[k] > 0) return factors[k] * Z{*p, p[rows.stride]};
    return conj(factors[k - 1] * Z{p[-rows.stride], *p});
  });
}
template <class Work>
void decompose_complex(const C* in, int64_t n, int exponent, complex64_t* values, complex64_t* vectors) {
  const PowerOfTwo scale(-exponent), back(exponent);
  const PaddedMatrix<Work> a(n, n), rows(vectors ? n : 0, n);
  for (int64_t i = 0; i < n; ++i) scale(reals(in + i * n), 2 * n, reals(a.row(i)));
  const std::vector<Work> w = complex_eigen<Real<Work>>(a, n, vectors ? &rows : nullptr);
  for (int64_t k = 0; k < n; ++k) values[k] = to_complex({back(w[k].re), back(w[k].im)});
  if (!vectors) return;
  std::vector<Z> factors(n);
  for (int64_t k = 0; k < n; ++k) {
    const Work* row = rows.row(k);
    factors[k] = normal_factor(&row->re, &row->im, n, 2);
  }
  store_columns(vectors, n, [&](int64_t k, int64_t i) { return factors[k] * convert<Z>(rows.row(k)[i]); });
}

template <class S>
void decompose(const S* in, int64_t n, complex64_t* values, complex64_t* vectors) {
  const Real<S> largest = largest_modulus(in, n * n);
  check_finite(largest);
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  in_working_type<S>(n, [&]<class Work>() {
    const auto run = [&]<class As>() {
      if constexpr (kComplex<S>)
        decompose_complex<As>(in, n, exponent, values, vectors);
      else
        decompose_real<S, As>(in, n, exponent, values, vectors);
    };
    if constexpr (sizeof(Real<Work>) == 4) {
      // Of elements of many magnitudes, products vanish in float.
      try {
        return run.template operator()<Work>();
      } catch (const NotConverged&) {
      }
    }
    run.template operator()<std::conditional_t<kComplex<S>, Z, double>>();
  });
}

void run_eig(const linalg::Eig& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) return;
  each_matrix(a, 32, [&]<class S>(int64_t i) {
    decompose(a.data<S>() + i * n * n, n, outputs[0].data<complex64_t>() + i * n,
              p.vectors ? outputs[1].data<complex64_t>() + i * n * n : nullptr);
  });
}

const bool registered = kernels(Device::cpu).add<linalg::Eig>(run_eig);

}  // namespace
}  // namespace mlx::core::cpu
