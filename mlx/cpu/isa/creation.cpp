#include "mlx/cpu/isa/creation.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

void ramp(double start, double step, int64_t begin, float* __restrict out, int64_t n) {
  constexpr int64_t kBlock = 1 << 20;  // counted in 32 bits, which every set converts in vectors
  for (int64_t at = 0; at < n; at += kBlock) {
    const double first = static_cast<double>(begin + at);
    const int32_t count = static_cast<int32_t>(n - at < kBlock ? n - at : kBlock);
    for (int32_t i = 0; i < count; ++i)
      out[at + i] = static_cast<float>(start + (first + static_cast<double>(i)) * step);
  }
}

void count(uint32_t start, uint32_t step, int64_t begin, uint32_t* __restrict out, int64_t n) {
  const uint32_t first = start + static_cast<uint32_t>(begin) * step;
  for (int64_t i = 0; i < n; ++i) out[i] = first + static_cast<uint32_t>(i) * step;
}

}  // namespace

const CreationTable& creation_kernels_table() {
  static constexpr CreationTable table{ramp, count};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
