// What convolution compiles once per instruction set beside the GEMM's tables.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/isa.h"

namespace mlx::core::cpu::gemm_detail {

struct ConvTable {
  // to[k * to_stride + i] = from[k * from_stride + i], i < len, converted to the accumulator type.
  void (*copy_run[kElems])(const void* from, int64_t from_stride, int64_t steps, int64_t len, void* to,
                           int64_t to_stride);
  // sum[c] += a[k * a_stride + c] * b[k * b_stride + c] over k < steps, c < n; sums in the accumulator type.
  void (*multiply_sum[kElems])(int64_t steps, int64_t n, const void* a, int64_t a_stride, const void* b,
                               int64_t b_stride, void* sum);
};

}  // namespace mlx::core::cpu::gemm_detail

namespace mlx::core::cpu {
using ConvTable = gemm_detail::ConvTable;
MLX_DECLARE_ISA_TABLE(ConvTable, conv_kernels)
}  // namespace mlx::core::cpu
