#include "mlx/cpu/isa/peak.h"

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

// As many independent chains as hide the latency of two units, and still fit into 16 registers.
constexpr int kChains = 12;

float run(int64_t rounds, float x, float y) {
  rows::F sum[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = rows::F{} + static_cast<float>(i);
  const rows::F a = rows::F{} + x, b = rows::F{} + y;
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = sum[i] * a + b;
  }
  float total = 0;
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) total += sum[i][0];
  return total;
}

}  // namespace

const PeakKernel& peak_kernel_table() {
  static const PeakKernel table{run, int64_t{2} * kChains * rows::kF};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
