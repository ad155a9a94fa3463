// Layer and RMS normalisation of contiguous rows on raw memory, and their gradients.
//   layer: y = (x - mean(x)) / sqrt(var(x) + eps) * w + b        rms: y = x / sqrt(mean(x^2) + eps) * w
// Weights, biases and their gradients are in the compute type: double for float64, float for every other
// dtype.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct NormKernel {
  // w and b may be null: 1 and 0. x and y may be the same memory.
  void (*forward)(const void* x, const void* w, const void* b, double eps, int64_t rows, int64_t n,
                  void* y) = nullptr;
  // dx for every row; dw[j] = sum over these rows of g * normalised x, db[j] = sum of g, where not null. The
  // sums are written, not added to: a caller that splits the rows adds up the parts. dx may be x or g.
  void (*backward)(const void* x, const void* w, const void* g, double eps, int64_t rows, int64_t n, void* dx,
                   void* dw, void* db) = nullptr;
};

struct NormTable {
  NormKernel layer[14], rms[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(NormTable, norm_kernels)

}  // namespace mlx::core::cpu
