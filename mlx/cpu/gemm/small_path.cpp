#include "mlx/cpu/gemm/small_path.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu::gemm_detail {
namespace {

constexpr int64_t kMostColumns = 64, kMostSteps = 64, kMostNumbers = 2048;  // of B
constexpr int64_t kLeastRows = 4;        // of A: fewer do not repay the copy of B
constexpr int64_t kItemSteps = 1 << 18;  // vectors of sums that one item goes through, times k

// B as the kernels read it: whole vectors, completed by zeros.
struct Columns {
  alignas(64) float data[kMostNumbers + 16 * kMostSteps];
  int64_t ld;

  Columns(const Product& p, int lanes) : ld((p.n + lanes - 1) / lanes * lanes) {
    const float* b = static_cast<const float*>(p.b);
    for (int64_t s = 0; s < p.k; ++s) {
      float* to = data + s * ld;
      if (p.b_col == 1) {
        std::memcpy(to, b + s * p.b_row, static_cast<size_t>(p.n) * sizeof(float));
      } else {
        for (int64_t j = 0; j < p.n; ++j) to[j] = b[s * p.b_row + j * p.b_col];
      }
      std::fill(to + p.n, to + ld, 0.0f);
    }
  }
};

}  // namespace

bool accepts_small(const GemmTable&, const Product& p) {
  if (p.type != kF32 || p.out != kF32 || p.alpha != 1 || p.d || p.epilogue.run) return false;
  if (p.n > kMostColumns || p.k > kMostSteps || p.k < 1 || p.m < kLeastRows) return false;
  if (p.n * p.k > kMostNumbers) return false;
  return p.a_col == 1 || p.a_row == 1;
}

void small(const GemmTable&, const Product& p) {
  const DirectTable& kernels = *p.direct;
  const Columns b(p, kernels.lanes);
  const bool turned = p.a_col != 1;
  const int vectors = b.ld >= 2 * kernels.lanes ? 2 : 1;
  const int64_t most = kernels.rows[vectors], step = turned ? 1 : p.a_row;
  const auto run = [&](int64_t begin, int64_t end) {
    const DirectRun all{0, 0, p.k};
    DirectTile tile{};
    tile.runs = &all, tile.count = 1, tile.in_order = true;
    tile.a_stride = turned ? p.a_col : p.a_row;
    tile.b_step = b.ld, tile.ldc = p.ldc;
    for (int64_t i = begin; i < end; i += most) {
      tile.rows = static_cast<int>(std::min(most, end - i));
      tile.a = static_cast<const float*>(p.a) + i * step;
      for (int64_t j = 0; j < p.n; j += vectors * kernels.lanes) {
        tile.cols = static_cast<int>(std::min<int64_t>(vectors * kernels.lanes, p.n - j));
        tile.b = b.data + j;
        tile.c = static_cast<float*>(p.c) + i * p.ldc + j;
        (turned ? kernels.turned : kernels.patches)(tile);
      }
    }
  };
  const int64_t grain = std::max<int64_t>(1, kItemSteps / (p.k * b.ld / kernels.lanes) / most) * most;
  parallel_ranges(p.m, grain, run);
}

}  // namespace mlx::core::cpu::gemm_detail
