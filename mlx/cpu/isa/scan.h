// Running sums, products, maxima, minima and log-sum-exps on raw memory. Input and output have one dtype and
// may be the same memory.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

enum class ScanOp { sum, prod, max, min, logaddexp };
inline constexpr int kScanOps = 5;

struct ScanMode {
  bool reverse = false;
  bool inclusive = true;
};

// What a scan carries from one part of a row to the next: large enough for every op and dtype.
struct ScanCarry {
  alignas(16) unsigned char bytes[16];
};

struct ScanKernel {
  void (*init)(ScanCarry* carry) = nullptr;
  // Scans n contiguous elements, from the last to the first where reverse; the carry is that of the elements
  // before.
  void (*row)(const void* in, int64_t n, ScanMode mode, ScanCarry* carry, void* out) = nullptr;
  // The carry as `row` leaves it, without writing: with merge, a long row is scanned in parts.
  void (*total)(const void* in, int64_t n, ScanMode mode, ScanCarry* carry) = nullptr;
  void (*merge)(ScanCarry* carry, const ScanCarry* next) = nullptr;
  // `cols` rows of length `rows` side by side: element i of scan c at in[i * stride + c], out[i * out_stride
  // + c].
  void (*cols)(const void* in, int64_t rows, int64_t stride, int64_t cols, ScanMode mode, int64_t out_stride,
               void* out) = nullptr;
};

struct ScanTable {
  ScanKernel at[kScanOps][14];  // [ScanOp][Dtype::Val]; logaddexp: floating types only
};

MLX_DECLARE_ISA_TABLE(ScanTable, scan_kernels)

}  // namespace mlx::core::cpu
