// Reflections and what reductions of matrices in panels spend their time in. S: float, double, or complex
// numbers of them.
#pragma once

#include <cstdint>
#include <type_traits>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

template <class T>
struct Complex;  // mlx/cpu/linalg/complex.h

template <class S>
constexpr int64_t kDiagonalBlock = 64 / sizeof(S);
template <class T>
constexpr int64_t kDiagonalBlock<Complex<T>> = 32 / sizeof(T);

template <class S, class T>
struct PanelKernels {
  // dots[i] = row i of a, or of its conjugate, . x; n is a multiple of 64 bytes.
  void (*dots)(const S* a, int64_t stride, int64_t rows, const S* x, int64_t n, bool conjugated, S* dots);
  // a[i][c] <- a[i][c] - z[i] u[c]; w[c] = sum_i v[i] a[i][c], of the new elements, or with conj(v[i]). z and
  // u may be null.
  void (*combine)(S* a, int64_t stride, int64_t rows, int64_t columns, const S* z, const S* u, const S* v,
                  bool conjugated, S* w);
  // Rows i of a, `stride` apart: row <- row - f[i] x - g[i] y; dots[i] = row . next, of the new row. g and y
  // may be null. n is a multiple of 64 bytes.
  void (*update)(S* a, int64_t stride, int64_t rows, const S* f, const S* x, const S* g, const S* y,
                 const S* next, int64_t n, S* dots);
  // y += A x for a Hermitian A, rows [begin, end) of its lower triangle and what mirrors them, columns from
  // `at` on. Rows come in blocks of kDiagonalBlock<S>, which `begin`, `end` and `at` are multiples of; of the
  // blocks on the diagonal all elements are there.
  void (*hermitian_product)(const S* a, int64_t stride, int64_t begin, int64_t end, int64_t at, const S* x,
                            S* y);
  // column <- column - tau (v^H column) v, for `count` columns of n consecutive elements that are `stride`
  // elements apart.
  void (*reflect)(const S* v, int64_t n, T tau, S* columns, int64_t stride, int64_t count);
};

struct PanelTable {
  PanelKernels<float, float> of_float;
  PanelKernels<double, double> of_double;
  PanelKernels<Complex<float>, float> of_complex_float;
  PanelKernels<Complex<double>, double> of_complex_double;
};

MLX_DECLARE_ISA_TABLE(PanelTable, panel_kernels)

template <class S>
const auto& panels() {
  if constexpr (std::is_same_v<S, float>)
    return panel_kernels().of_float;
  else if constexpr (std::is_same_v<S, double>)
    return panel_kernels().of_double;
  else if constexpr (sizeof(S) == 2 * sizeof(float))
    return panel_kernels().of_complex_float;
  else
    return panel_kernels().of_complex_double;
}

}  // namespace mlx::core::cpu
