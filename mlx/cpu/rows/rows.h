// Operations on the rows of row-contiguous memory, in parallel: the kernels of mlx/cpu/isa/ applied to pieces
// that depend on shapes alone. `dtype` is a Dtype::Val. Memory is (outer, n, inner) or (rows, n), contiguous.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa/scan.h"

namespace mlx::core::cpu {

// out (outer, inner) uint32: the index of the first largest (smallest) element along n; n > 0.
void argreduce(bool max, int dtype, const void* in, int64_t outer, int64_t n, int64_t inner, uint32_t* out);

// out like in; may be the same memory.
void scan(ScanOp op, int dtype, const void* in, int64_t outer, int64_t n, int64_t inner, ScanMode mode,
          void* out);

// Floating types only. out may be in; dx may be y or g.
void softmax(int dtype, const void* in, int64_t rows, int64_t n, void* out);
void softmax_vjp(int dtype, const void* y, const void* g, int64_t rows, int64_t n, void* dx);
void logsumexp(int dtype, const void* in, int64_t rows, int64_t n, void* out);

// Layer norm (centre) or RMS norm; see mlx/cpu/isa/norms.h. w, b, dw and db are double for float64, else
// float, and may be null.
void norm(bool centre, int dtype, const void* x, const void* w, const void* b, double eps, int64_t rows,
          int64_t n, void* y);
void norm_vjp(bool centre, int dtype, const void* x, const void* w, const void* g, double eps, int64_t rows,
              int64_t n, void* dx, void* dw, void* db);

// Group norm of (samples, rows, channels): a group is channels / groups channels in a row or, interleaved,
// every groups-th one. Weights as for `norm`.
struct GroupNormCall {
  int dtype = 0;
  int64_t samples = 0, rows = 0, channels = 0, groups = 1;
  bool interleaved = false;
  double eps = 0;
  const void *x = nullptr, *w = nullptr;
};
void group_norm(const GroupNormCall& call, const void* b, void* y);
void group_norm_vjp(const GroupNormCall& call, const void* g, void* dx, void* dw, void* db);

// Rotary embedding of (batch, heads, length, n). The angle of pair p at position t of batch element i is
// scale * (offsets[i] + t) * rates[p], p < half.
struct Rope {
  int64_t batch, heads, length, n, half;
  bool traditional, inverse;
  double scale;
  const int64_t* offsets;  // [batch], or one for all where `shared_offset`
  bool shared_offset;
  const double* rates;  // [half]
  // Strides of the input and of the output in elements; the last axis is contiguous.
  int64_t in_strides[3], out_strides[3];
};
void rope(int dtype, const Rope& p, const void* in, void* out);

// Rows of n elements, `stride` elements apart, rows `row_stride` apart; out is (rows, n): values of dtype, or
// indices. kth < 0: sorts; else partitions around the kth.
void sort_rows(int dtype, const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride,
               int64_t kth, void* out);
void argsort_rows(int dtype, const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride,
                  int64_t kth, uint32_t* out);

}  // namespace mlx::core::cpu
