// Products with few columns and a short k: B fits into a few vectors, and A is read where it lies.
#pragma once

#include "mlx/cpu/gemm/skinny_path.h"

namespace mlx::core::cpu::gemm_detail {

bool accepts_small(const GemmTable& table, const Product& p);
void small(const GemmTable& table, const Product& p);

}  // namespace mlx::core::cpu::gemm_detail
