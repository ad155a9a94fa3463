#include "mlx/cpu/isa/peak.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

#if MLX_ISA_LEVEL >= 4
constexpr int kBytes = 64;
#elif MLX_ISA_LEVEL == 3
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
using Vec [[gnu::vector_size(kBytes)]] = float;
// As many independent chains as hide the latency of two units, and still fit into 16 registers.
constexpr int kChains = 12;
constexpr int kLanes = kBytes / static_cast<int>(sizeof(float));

float run(int64_t rounds, float x, float y) {
  Vec sum[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = Vec{} + static_cast<float>(i);
  const Vec a = Vec{} + x, b = Vec{} + y;
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
  static const PeakKernel table{run, int64_t{2} * kChains * kLanes};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
