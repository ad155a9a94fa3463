// Sorting on raw memory by unsigned keys that keep the order of the elements: radix passes over records. nan
// comes last; argsort and argpartition are stable, with -0.0 equal to 0.0; sorted values put -0.0 before 0.0.
//
// Two kinds of records: bare keys, as wide as the element (sorting values), and keys with the element's index
// (sorting indices). A record's key bits begin at bit `low` and there are `bits` of them.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct SortKernel {
  // Elements to records and back (indices for the second kind); `stride` and `first` serve rows and chunks of
  // rows: record i stands for in[i * stride], and its index is first + i.
  void (*pack)(const void* in, int64_t n, int64_t stride, int64_t first, void* records) = nullptr;
  void (*unpack)(const void* records, int64_t n, void* out) = nullptr;
  // One chunk of a parallel radix pass over the key bits [shift, shift + width): counts[2^width] of its
  // digits; then every record to its place, offsets[digit]++.
  void (*count)(const void* records, int64_t n, int shift, int width, int64_t* counts) = nullptr;
  void (*scatter)(const void* records, int64_t n, int shift, int width, int64_t* offsets,
                  void* out) = nullptr;
  // Sorts a row; `scratch` has room for as many records. The result lies in `records`.
  void (*sort)(void* records, void* scratch, int64_t n) = nullptr;
  // Rearranges so that record k is the one that sorting would put there, no larger one before and no smaller
  // one after.
  void (*partition)(void* records, void* scratch, int64_t n, int64_t k) = nullptr;
  // Sorts rows of up to kShortRow elements, which begin row_stride elements apart and whose own are `stride`
  // apart, into out[rows, n]: elements or indices. Null where there is no such function.
  void (*sort_short)(const void* in, int64_t rows, int64_t row_stride, int64_t n, int64_t stride,
                     void* out) = nullptr;
  int record_bytes = 0, bits = 0;
};
inline constexpr int64_t kShortRow = 16;

struct SortTable {
  SortKernel values[14], indices[14];  // [Dtype::Val]; complex64 has indices only
};

MLX_DECLARE_ISA_TABLE(SortTable, sort_kernels)

}  // namespace mlx::core::cpu
