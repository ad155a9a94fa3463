// The tile registers and what kernels on panels of amx_panels.h do with them: 32 rows by 32 columns of C in
// four tiles (or two or one of them).
#pragma once

#include "mlx/cpu/gemm/amx_panels.h"

namespace mlx::core::cpu::MLX_ISA {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kConfig;

// The tile registers of a thread, given back at the end: the kernel then need not save them.
class Tiles {
 public:
  explicit Tiles(const TileConfig& config = kConfig) { _tile_loadconfig(&config); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// Registers 0 ... 3 are C, 4 and 5 rows of A, 6 and 7 columns of B.
template <int M>
MLX_INLINE void load_a(const char* piece) {
  _tile_loadd(4, piece, 64);
  if constexpr (M == 2) _tile_loadd(5, piece + kTileBytes, 64);
}
template <int N>
MLX_INLINE void load_b(const char* piece) {
  _tile_loadd(6, piece, 64);
  if constexpr (N == 2) _tile_loadd(7, piece + kTileBytes, 64);
}
template <int M, int N>
MLX_INLINE void zero() {
  _tile_zero(0);
  if constexpr (N == 2) _tile_zero(1);
  if constexpr (M == 2) _tile_zero(2);
  if constexpr (M == 2 && N == 2) _tile_zero(3);
}
template <int M, int N>
MLX_INLINE void multiply() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (N == 2) _tile_dpbf16ps(1, 4, 7);
  if constexpr (M == 2) _tile_dpbf16ps(2, 5, 6);
  if constexpr (M == 2 && N == 2) _tile_dpbf16ps(3, 5, 7);
}
// sums[32][32] = C.
template <int M, int N>
MLX_INLINE void store_sums(float* sums) {
  constexpr int64_t row = kPanelRows * 4;
  _tile_stored(0, sums, row);
  if constexpr (N == 2) _tile_stored(1, sums + 16, row);
  if constexpr (M == 2) _tile_stored(2, sums + 16 * kPanelRows, row);
  if constexpr (M == 2 && N == 2) _tile_stored(3, sums + 16 * kPanelRows + 16, row);
}

}  // namespace mlx::core::cpu::MLX_ISA
