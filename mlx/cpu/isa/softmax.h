// softmax and log-sum-exp of contiguous rows on raw memory. float16 and bfloat16 accumulate in float, float
// in float vectors joined in double.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa/reduce.h"

namespace mlx::core::cpu {

// A part of a row: its maximum, and the sum of exp(x - max).
struct SoftmaxPart {
  double max, sum;
};

struct SoftmaxKernel {
  // out[r] = exp(in[r] - max) / sum, rows of n elements one after the other; in and out may be the same
  // memory. A row that is all -inf, or holds inf or nan, gives nan.
  void (*softmax)(const void* in, int64_t rows, int64_t n, void* out) = nullptr;
  // dx = y * (g - sum(g * y)); dx may be y or g.
  void (*softmax_vjp)(const void* y, const void* g, int64_t rows, int64_t n, void* dx) = nullptr;
  // out[r] = log(sum(exp(in[r]))); -inf for a row of -inf.
  void (*logsumexp)(const void* in, int64_t rows, int64_t stride, int64_t n, void* out) = nullptr;
  // A long row in parts: part of each, joined in order, then the result.
  void (*part)(const void* in, int64_t n, SoftmaxPart* part) = nullptr;
  void (*join)(SoftmaxPart* part, const SoftmaxPart* next) = nullptr;
  void (*apply)(const void* in, int64_t n, const SoftmaxPart* whole, void* out) = nullptr;
  void (*log)(const SoftmaxPart* whole, void* out) = nullptr;
};

struct SoftmaxTable {
  SoftmaxKernel at[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(SoftmaxTable, softmax_kernels)

}  // namespace mlx::core::cpu
