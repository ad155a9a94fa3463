// Products with at most 8 rows or columns, and what the paths of gemm.cpp share.
#pragma once

#include <cstdint>

#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/gemm/gemm.h"
#include "mlx/cpu/gemm/kernels.h"

namespace mlx::core::cpu::gemm_detail {

// One product of a batch: GemmCall with pointers resolved.
struct Product {
  Elem type = kF32;
  Elem out = kF32;  // of C: the type, or that of its sums
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const void* d = nullptr;  // null where beta is 0
  int64_t a_row = 0, a_col = 0, b_row = 0, b_col = 0, ldc = 0, d_row = 0, d_col = 0;
  double alpha = 1, beta = 0;
  int64_t batch = 0;
  GemmEpilogue epilogue;
  const DirectTable* direct = nullptr;  // of the same instruction set as the table that comes with it
};

// Few terms, and one row or column: sums of products of rows in memory, without a workspace.
bool accepts_dots(const GemmTable& table, const Product& p);
void dots(const GemmTable& table, const Product& p);

bool accepts_skinny(const GemmTable& table, const Product& p);
void skinny(const GemmTable& table, const Product& p);

// Few rows: packing B would cost more than its repeated use repays.
bool read_b_in_place(const Family& family, const Product& p);

}  // namespace mlx::core::cpu::gemm_detail
