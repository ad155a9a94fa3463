// The matrix product of the CPU backend, on raw memory:
//
//     C[m, n] = alpha * A[m, k] B[k, n] + beta * D[m, n],   for each of `batch` independent products.
//
// Types: float32, float64, float16, bfloat16, complex64; A, B, C and D have the same. The half types are
// multiplied and summed in float32 and rounded once at the end (before the epilogue sees them). alpha and
// beta are real. Layout: A, B and D have any row and column strides (in elements; negative ones and 0, for
// broadcasting, are fine), so transposes are free. C has contiguous rows with the leading dimension ldc >= n.
// D may be C itself (same elements in the same places); otherwise C overlaps nothing.
// k = 0 gives beta * D. inf and nan come out as a chain of multiply-adds gives them; beta = 0 does not read
// D. Results have the same bits for any number of threads: work is split over the output by shape, and k is
// cut into blocks that depend on the shape alone.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {

// Called once for each finished part C[row : row + rows, col : col + cols] of product `batch`, when it is hot
// in cache: bias, activation. `c` points at its first element. Called from several threads, for disjoint
// parts.
struct GemmEpilogue {
  void (*run)(void* context, void* c, int64_t ldc, int64_t batch, int64_t row, int64_t rows, int64_t col,
              int64_t cols) = nullptr;
  void* context = nullptr;
};

struct GemmCall {
  Dtype dtype = float32;
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0, a_col = 0;
  const void* b = nullptr;
  int64_t b_row = 0, b_col = 0;
  void* c = nullptr;
  int64_t ldc = 0;
  const void* d = nullptr;
  int64_t d_row = 0, d_col = 0;
  double alpha = 1, beta = 0;

  // Products i = 0 ... batch - 1: the operands of product i start i * stride elements further on, or at the
  // offset (in elements) that the array names, where one is given. Stride 0 shares an operand.
  int64_t batch = 1;
  int64_t a_batch = 0, b_batch = 0, c_batch = 0, d_batch = 0;
  const int64_t* a_offsets = nullptr;
  const int64_t* b_offsets = nullptr;
  const int64_t* c_offsets = nullptr;
  const int64_t* d_offsets = nullptr;

  GemmEpilogue epilogue;
};

// Throws std::invalid_argument for another dtype.
void gemm(const GemmCall& call);
void gemm_for(Isa isa, const GemmCall& call);  // with the kernels of one instruction set (tests)

// Floating-point operations of the call, for callers that choose between algorithms.
inline double gemm_flops(const GemmCall& g) {
  return (g.dtype == complex64 ? 8.0 : 2.0) * static_cast<double>(g.batch) * static_cast<double>(g.m) *
         static_cast<double>(g.n) * static_cast<double>(g.k);
}

}  // namespace mlx::core::cpu
