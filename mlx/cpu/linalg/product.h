// A product of operands of linear algebra as the matrix kernels take it.
#pragma once

#include "mlx/cpu/gemm/gemm.h"
#include "mlx/cpu/linalg/blocked.h"

namespace mlx::core::cpu {

// C <- alpha A B + beta C for operands that are not conjugated.
template <class T>
void multiply_plain(Dtype dtype, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, const Operand<T>& a,
                    const Operand<T>& b, double alpha, double beta) {
  GemmCall g;
  g.dtype = dtype;
  g.m = m, g.n = n, g.k = k;
  g.a = a.data, g.a_row = a.row, g.a_col = a.column;
  g.b = b.data, g.b_row = b.row, g.b_col = b.column;
  g.c = c, g.ldc = ldc;
  g.d = c, g.d_row = ldc, g.d_col = 1;
  g.alpha = alpha, g.beta = beta;
  gemm(g);
}

}  // namespace mlx::core::cpu
