// The GEMM's families on matrix tiles (Intel AMX): bfloat16, and float32 and float16 as sums of it
// (amx_panels.h). A step of the kernel is a chunk of 32 along k.
//
// Arithmetic: a tile product is 16 x 16 x 32 multiply-adds in 16 cycles and reads two tiles of 1 KiB. Blocks
// of 2 x 2 tiles of C read as many tiles as they multiply, which the first-level cache just delivers; with
// three pieces the order of the six products below changes one operand at a time, so that 24 products read 14
// tiles.
#include "mlx/cpu/gemm/amx_skinny.h"
#include "mlx/cpu/gemm/amx_tiles.h"
#include "mlx/cpu/gemm/kernels.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::Family;

// sums[32][32] = the product of two panels; M and N tiles of it. Panels are longer than the first-level
// cache: the next chunk is fetched while this one is multiplied, some lines before each tile product. That
// they stand between the products matters as well: where another thread of the core uses its tiles, products
// one behind the other keep the loads of the next ones waiting (a chunk of three pieces in a microbenchmark:
// 170 ns alone; beside another thread 420 ns with something between the products, 630 without).
template <int P, int M, int N>
void product(int64_t chunks, const char* a, const char* b, float* sums) {
  zero<M, N>();
  constexpr int kSteps = P == 1 ? 1 : P == 2 ? 4 : 6;
  constexpr int64_t kLines = kChunkBytes<P> / 64 / kSteps / 4;
  for (; chunks > 0; --chunks, a += kChunkBytes<P>, b += kChunkBytes<P>) {
    const auto use_a = [&](int piece) { load_a<M>(a + piece * kPieceBytes); };
    const auto use_b = [&](int piece) { load_b<N>(b + piece * kPieceBytes); };
    const auto fetch = [&](int part) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int64_t i = part * kLines; i < (part + 1) * kLines; ++i) {
        __builtin_prefetch(a + kChunkBytes<P> + 64 * i);
        if constexpr (P > 1)
          __builtin_prefetch(b + kChunkBytes<P> + 64 * i);  // else loads have no time for it
      }
    };
    const auto multiply = [&](int step) __attribute__((always_inline)) {
      fetch(4 * step);
      _tile_dpbf16ps(0, 4, 6);
      fetch(4 * step + 1);
      if constexpr (N == 2) _tile_dpbf16ps(1, 4, 7);
      fetch(4 * step + 2);
      if constexpr (M == 2) _tile_dpbf16ps(2, 5, 6);
      fetch(4 * step + 3);
      if constexpr (M == 2 && N == 2) _tile_dpbf16ps(3, 5, 7);
    };
    if constexpr (P == 1) {
      use_a(0), use_b(0), multiply(0);
    } else if constexpr (P == 2) {
      use_a(1), use_b(1), multiply(0);
      use_a(0), multiply(1);
      use_b(0), multiply(2);
      use_a(1), multiply(3);
    } else {
      use_a(2), use_b(0), multiply(0);
      use_a(1), multiply(1);
      use_b(1), multiply(2);
      use_a(0), multiply(3);
      use_b(2), multiply(4);
      use_b(0), multiply(5);
    }
  }
  store_sums<M, N>(sums);
}

// A chunk of a panel as float32, 32 rows of each k.
template <int P, bool IsA>
void expand(const char* chunk, const PanelHeader& header, float* out) {
  if (header.plain) {
    __builtin_memcpy(out, chunk, kChunk * kPanelRows * 4);
    return;
  }
  const vf scale = splat(static_cast<float>(-header.scale));
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 16; ++i) {  // row i of A, or pair i of B
      vf x{}, y{};
      for (int p = P - 1; p >= 0; --p) {
        const __m512i pairs = _mm512_loadu_si512(chunk + p * kPieceBytes + half * kTileBytes + i * 64);
        x += reinterpret_cast<vf>(_mm512_slli_epi32(pairs, 16));
        y += reinterpret_cast<vf>(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
      }
      x = _mm512_scalef_ps(x, scale), y = _mm512_scalef_ps(y, scale);
      if constexpr (IsA) {
        for (int k = 0; k < 16; ++k) {
          out[k * kPanelRows + half * 16 + i] = x[k];
          out[(k + 16) * kPanelRows + half * 16 + i] = y[k];
        }
      } else {
        store(out + i * kPanelRows + half * 16, x);
        store(out + (i + 16) * kPanelRows + half * 16, y);
      }
    }
}

// The product of two panels of which one is not in pieces.
template <int P>
[[gnu::noinline]] void plain_product(int64_t chunks, const char* a, const PanelHeader& ha, const char* b,
                                     const PanelHeader& hb, float* sums) {
  float x[kChunk * kPanelRows], y[kChunk * kPanelRows];
  for (int i = 0; i < kPanelRows * kPanelRows; ++i) sums[i] = 0;
  for (; chunks > 0; --chunks) {
    expand<P, true>(a, ha, x);
    expand<P, false>(b, hb, y);
    for (int i = 0; i < kPanelRows; i += 8) {
      vf c[8][2];
      for (int r = 0; r < 8; ++r)
        for (int j = 0; j < 2; ++j) c[r][j] = load(sums + (i + r) * kPanelRows + 16 * j);
      for (int k = 0; k < kChunk; ++k)
        for (int r = 0; r < 8; ++r)
          for (int j = 0; j < 2; ++j)
            c[r][j] = fma(splat(x[k * kPanelRows + i + r]), load(y + k * kPanelRows + 16 * j), c[r][j]);
      for (int r = 0; r < 8; ++r)
        for (int j = 0; j < 2; ++j) store(sums + (i + r) * kPanelRows + 16 * j, c[r][j]);
    }
    a += ha.plain ? kChunk * kPanelRows * 4 : kChunkBytes<P>;
    b += hb.plain ? kChunk * kPanelRows * 4 : kChunkBytes<P>;
  }
}

// c (+)= sums * 2^-scale.
template <bool Scale, bool Add>
void deliver(const float* sums, int rows, int cols, int scale, float* c, int64_t ldc) {
  const vf by = splat(static_cast<float>(-scale));
  for (int j = 0; j < cols; j += 16) {
    const int n = cols - j < 16 ? cols - j : 16;
    for (int i = 0; i < rows; ++i) {
      vf v = load(sums + i * kPanelRows + j);
      if constexpr (Scale) v = _mm512_scalef_ps(v, by);
      float* to = c + i * ldc + j;
      if (n == 16) {
        store(to, Add ? vf(load(to) + v) : v);
      } else {
        store_first(to, Add ? vf(load_first(to, n) + v) : v, n);
      }
    }
  }
}

template <int P>
void tile(int64_t m, int64_t n, int64_t chunks, const void* a, int64_t a_panel, const void* b,
          int64_t b_panel, int64_t, void* c, int64_t ldc, bool accumulate) {
  using Product = void (*)(int64_t, const char*, const char*, float*);
  constexpr Product kProducts[2][2] = {{product<P, 1, 1>, product<P, 1, 2>},
                                       {product<P, 2, 1>, product<P, 2, 2>}};
  alignas(64) float sums[kPanelRows * kPanelRows];
  const Tiles tiles;
  for (int64_t j = 0; j < n; j += kPanelRows) {
    const char* bp = static_cast<const char*>(b) + j / kPanelRows * b_panel;
    const int cols = static_cast<int>(n - j < kPanelRows ? n - j : kPanelRows);
    for (int64_t i = 0; i < m; i += kPanelRows) {
      const char* ap = static_cast<const char*>(a) + i / kPanelRows * a_panel;
      const int rows = static_cast<int>(m - i < kPanelRows ? m - i : kPanelRows);
      PanelHeader ha, hb;
      __builtin_memcpy(&ha, ap, sizeof ha);
      __builtin_memcpy(&hb, bp, sizeof hb);
      float* to = static_cast<float*>(c) + i * ldc + j;
      if (ha.plain || hb.plain) {
        plain_product<P>(chunks, ap + kHeader, ha, bp + kHeader, hb, sums);
        (accumulate ? deliver<false, true> : deliver<false, false>)(sums, rows, cols, 0, to, ldc);
        continue;
      }
      kProducts[rows > 16][cols > 16](chunks, ap + kHeader, bp + kHeader, sums);
      const int scale = ha.scale + hb.scale;
      if (scale == 0) {
        (accumulate ? deliver<false, true> : deliver<false, false>)(sums, rows, cols, 0, to, ldc);
      } else {
        (accumulate ? deliver<true, true> : deliver<true, false>)(sums, rows, cols, scale, to, ldc);
      }
    }
  }
}

template <class S, int P>
constexpr void add_type(Family& f, gemm_detail::Elem e) {
  f.pack_a[e] = f.pack_b[e] = pack<S, float, kPanelRows>;
  f.rows_a[e] = pack_rows<S, float, kPanelRows>;
  f.form_a[e] = pack_pieces<P, true, S>;
  f.form_b[e] = pack_pieces<P, false, S>;
}

template <int P>
constexpr Family family() {
  Family f{};
  f.mr = f.nr = kPanelRows;
  f.kc = kMostK;
  f.mc = 256;
  f.nc = 512;
  f.k_unit = 1;
  f.packed_size = f.acc_size = 4;
  f.header = kHeader;
  f.k_step = kChunk;
  f.step_size = kChunkBytes<P> / kPanelRows;
  f.tile = tile<P>;
  add_type<float, P>(f, gemm_detail::kF32);
  if (P <= 2) add_type<f16, P>(f, gemm_detail::kF16);
  if (P == 1) add_type<bf16, P>(f, gemm_detail::kBf16);
  return f;
}

GemmTable make_table() {
  GemmTable t = isa_v4bf16::gemm_kernels_table();
  t.tiles[gemm_detail::kF32] = family<3>();
  t.tiles[gemm_detail::kF16] = family<2>();
  t.tiles[gemm_detail::kBf16] = family<1>();
  const gemm_detail::Skinny& as_bf16 = t.dot[gemm_detail::kBf16];  // x is copied as it is
  t.axpy_tiles[gemm_detail::kBf16] = {axpy_tiles, as_bf16.copy_x, as_bf16.x_size};
  t.dot_tiles[gemm_detail::kBf16] = {dot_tiles, as_bf16.copy_x, as_bf16.x_size, form_x, kFormedPerK};
  return t;
}

}  // namespace

const GemmTable& gemm_kernels_table() {
  static const GemmTable table = make_table();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
