// Products of states with the weight of a recurrent layer, of floats and of pairs of bfloat16.
#include "mlx/cpu/gemm/kernel_tile.h"
#include "mlx/cpu/isa/recurrent.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

constexpr int kLanesF = kLanes<float>;

// Rows of a that go together: their sums and a row of w fit in the registers.
constexpr int rows_at_once(int vectors) {
  return MLX_ISA_LEVEL >= 4 ? 6 : vectors > 3 ? 2 : vectors > 1 ? 3 : 4;
}
// Sums that are added at the end, where there would be too few for the units to be busy.
constexpr int parts(int sums) { return sums >= 8 ? 1 : sums >= 4 ? 2 : 4; }

template <class P, int vectors, int height>
void product_tile(const RecurrentProduct& p, int64_t first) {
  constexpr int kParts = parts(vectors * height);
  vf sums[kParts][height][vectors];
  for (int part = 0; part < kParts; ++part)
    for (int r = 0; r < height; ++r)
      for (int v = 0; v < vectors; ++v) sums[part][r][v] = vf{};
  using Packed = typename P::Packed;
  const auto* w = reinterpret_cast<const Packed*>(p.w.at);
  for (int piece = 0; piece < 2; ++piece) {
    const auto* a = reinterpret_cast<const Packed*>(p.a[piece].at + first * p.a[piece].row);
    const int64_t row = p.a[piece].row, n = p.a_columns[piece];
    const auto add = [&](int64_t k, int part) __attribute__((always_inline)) {
      decltype(P::load_b(w)) of_w[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) of_w[v] = P::load_b(w + v * kLanesF);
      w += p.w.row;
#pragma GCC unroll 6
      for (int r = 0; r < height; ++r) {
        const auto x = P::broadcast(a + r * row + k);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sums[part][r][v] = P::fma(x, of_w[v], sums[part][r][v]);
      }
    };
    int64_t k = 0;
    for (; k + kParts <= n; k += kParts)
#pragma GCC unroll 4
      for (int part = 0; part < kParts; ++part) add(k + part, part);
    for (; k < n; ++k) add(k, 0);
  }
  for (int r = 0; r < height; ++r)
    for (int v = 0; v < vectors; ++v) {
      vf sum = sums[0][r][v];
      for (int part = 1; part < kParts; ++part) sum += sums[part][r][v];
      const float* from = p.from[v].at ? p.from[v].at + (first + r) * p.from[v].row : nullptr;
      float* out = p.out[v].at + (first + r) * p.out[v].row;
      const int last = static_cast<int>(p.columns[v]);
      if (last == kLanesF)
        store(out, from ? load(from) + sum : sum);
      else
        store_first(out, from ? load_first(from, last) + sum : sum, last);
    }
}

template <class P, int vectors, int height = rows_at_once(vectors)>
void product_of_height(const RecurrentProduct& p, int64_t first, int64_t rows) {
  if (rows == height) return product_tile<P, vectors, height>(p, first);
  if constexpr (height > 1) product_of_height<P, vectors, height - 1>(p, first, rows);
}
template <class P, int vectors>
void product_of_width(const RecurrentProduct& p) {
  // Tiles of nearly the same height.
  const int64_t tiles = (p.rows + rows_at_once(vectors) - 1) / rows_at_once(vectors);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = p.rows * tile / tiles;
    product_of_height<P, vectors>(p, first, p.rows * (tile + 1) / tiles - first);
  }
}
template <class P>
void product(const RecurrentProduct& p) {
  if (p.vectors == 4) return product_of_width<P, 4>(p);
  if (p.vectors == 3) return product_of_width<P, 3>(p);
  if (p.vectors == 2) return product_of_width<P, 2>(p);
  product_of_width<P, 1>(p);
}

#if MLX_ISA_LEVEL >= 5
void to_halves(const float* from, int64_t n, uint16_t* to) {
  bf16* out = reinterpret_cast<bf16*>(to);
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) store(out + i, load(from + i));
  if (const int rest = static_cast<int>(n - i)) store_first(out + i, load_first(from + i, rest), rest);
}
#endif

}  // namespace

const RecurrentProducts& recurrent_products_table() {
  static constexpr RecurrentProducts table = {
      kLanesF,
      product<PlainProduct<float>>,
#if MLX_ISA_LEVEL >= 5
      product<Bf16PairProduct>,
      to_halves,
#endif
  };
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
