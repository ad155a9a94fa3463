// The Hadamard transform of rows.
#pragma once

#include <cstdint>

#include "mlx/cpu/isa.h"

namespace mlx::core::cpu {

struct HadamardKernel {
  // Rows of m * length elements, length a power of two: every run of `length` is transformed by butterflies,
  // then the m runs are combined: out run j = sum over i of signs[i * m + j] * run i. Everything is
  // multiplied by `scale`. The buffer holds a row in the compute type (double for float64, else float); in
  // and out may be the same memory.
  void (*transform)(const void* in, int64_t rows, int64_t m, int64_t length, const int8_t* signs,
                    double scale, void* buffer, void* out) = nullptr;
};

struct HadamardTable {
  HadamardKernel at[14];  // [Dtype::Val], floating types only
};

MLX_DECLARE_ISA_TABLE(HadamardTable, hadamard_kernels)

}  // namespace mlx::core::cpu
