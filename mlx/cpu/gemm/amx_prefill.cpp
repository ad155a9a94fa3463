// Products of many rows of x with quantized rows on matrix tiles. A code is exact in bfloat16, so a group's
// sum of codes times x needs as many tile products as x has pieces: three for float32, where the product of
// two float32 matrices needs six. The scales of the group meet the sums when these leave the tiles.
#include <utility>

#include "mlx/cpu/gemm/amx_tiles.h"
#include "mlx/cpu/gemm/codes.h"
#include "mlx/cpu/gemm/kernels_prefill.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

// Two bfloat16 that are code numbers, in one 32-bit element each.
template <Code C>
struct CodeTable {
  alignas(64) uint16_t value[32] = {};
  constexpr CodeTable() {
    constexpr uint16_t e2m1[8] = {0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0};
    for (int i = 0; i < 32; ++i) {
      const int code = i & ((1 << code_bits(C)) - 1);
      if (C == kE2m1) {
        value[i] = static_cast<uint16_t>(e2m1[code & 7] | (code & 8) << 12);
      } else if (code > 0) {
        int exponent = 0;
        while (code >> (exponent + 1)) ++exponent;
        value[i] = static_cast<uint16_t>((127 + exponent) << 7 | ((code << 7 >> exponent) & 0x7f));
      }
    }
  }
};
template <Code C>
inline constexpr CodeTable<C> code_table{};

// Code i of a run whose words lie in the same lane of w.
template <int Bits>
MLX_INLINE vu code_at(const vu* w, int i) {
  const int at = i * Bits, shift = at % 32;
  vu v = w[at / 32] >> shift;
  if (shift + Bits > 32) v = v | w[at / 32 + 1] << (32 - shift);
  return v;
}

// Codes i and i + 16 of a run, as bfloat16.
template <Code C>
MLX_INLINE __m512i tile_pair(const vu* w, int i) {
  constexpr int bits = code_bits(C);
  const vu low = code_at<bits>(w, i), high = code_at<bits>(w, i + 16);
  if constexpr (bits <= 5) {
    // The permutation reads the low five bits of each half, and the table repeats itself.
    const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, reinterpret_cast<__m512i>(low),
                                                 reinterpret_cast<__m512i>(high << 16));
    return _mm512_permutexvar_epi16(both, _mm512_load_si512(code_table<C>.value));
  } else {
    constexpr uint32_t mask = (1u << bits) - 1;
    const vu x = as_bits(code_value<C>(low & mask)), y = as_bits(code_value<C>(high & mask));
    return reinterpret_cast<__m512i>((x >> 16) | (y & 0xffff0000u));
  }
}

// A panel: per chunk two tiles of 16 columns, register i of a tile their pair i.
template <Code C>
void pack_w(const uint32_t* w, int64_t words, int count, int64_t k, void* panel) {
  constexpr int bits = code_bits(C);
  constexpr int64_t runs = 4;
  alignas(64) float turned[runs * bits * kPrefillColumns];
  char* to = static_cast<char*>(panel);
  for (int64_t j = 0; j < k; j += 32 * runs) {
    const int64_t here = k - j < 32 * runs ? (k - j) / 32 : runs;
    pack<float, float, kPrefillColumns>(reinterpret_cast<const float*>(w + j * bits / 32), words, 1, count,
                                        here * bits, turned);
    for (int64_t r = 0; r < here; ++r)
      for (int half = 0; half < 2; ++half, to += kTileBytes) {
        vu v[bits];
#pragma GCC unroll 8
        for (int b = 0; b < bits; ++b)
          __builtin_memcpy(&v[b], turned + (r * bits + b) * kPrefillColumns + half * 16, sizeof v[b]);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * 64, tile_pair<C>(v, i));
      }
  }
}

// c += sums * 2^-scale * scales + x_sums * biases.
template <bool Scale, bool Bias>
void deliver(int rows, const float* sums, int scale, const float* scales, const float* biases,
             const float* x_sums, float* c) {
  const vf by = splat(static_cast<float>(-scale));
  const vf s0 = load(scales), s1 = load(scales + 16);
  const vf b0 = Bias ? load(biases) : vf{}, b1 = Bias ? load(biases + 16) : vf{};
  for (int i = 0; i < rows; ++i, sums += kPanelRows, c += kPanelRows) {
    vf v0 = load(sums), v1 = load(sums + 16), c0 = load(c), c1 = load(c + 16);
    if constexpr (Scale) v0 = _mm512_scalef_ps(v0, by), v1 = _mm512_scalef_ps(v1, by);
    if constexpr (Bias) {
      const vf x = splat(x_sums[i]);
      c0 = fma(x, b0, c0), c1 = fma(x, b1, c1);
    }
    store(c, fma(v0, s0, c0));
    store(c + 16, fma(v1, s1, c1));
  }
}

// P products of each chunk of w with the pieces of x, small ones first. The sums of a group are delivered
// while the tiles are busy with the next one: what a tile has just stored cannot be loaded at once. (Blocks
// of 16 x 16 for four groups at a time, with C in registers, read more tiles and are 1.4 times slower.)
template <int P, int M>
void tile_rows(int rows, const char* x, int scale, int64_t groups, int64_t chunks, const char* w,
               const float* scales, const float* biases, const float* x_sums, float* c) {
  alignas(64) float sums[kPanelRows * kPanelRows];
  const auto to = scale ? (biases ? deliver<true, true> : deliver<true, false>)
                        : (biases ? deliver<false, true> : deliver<false, false>);
  const auto deliver_group = [&](int64_t g) {
    const int64_t at = g * kPrefillColumns;
    to(rows, sums, scale, scales + at, biases ? biases + at : nullptr,
       biases ? x_sums + g * kPanelRows : nullptr, c);
  };
  for (int64_t g = 0; g < groups; ++g) {
    zero<M, 2>();
    for (int64_t i = 0; i < chunks; ++i, x += kChunkBytes<P>, w += kPieceBytes) {
      load_b<2>(w);
#pragma GCC unroll 3
      for (int p = P - 1; p >= 0; --p) {
        load_a<M>(x + p * kPieceBytes);
        multiply<M, 2>();
      }
    }
    if (g > 0) deliver_group(g - 1);
    store_sums<M, 2>(sums);
  }
  deliver_group(groups - 1);
}

template <int P>
void tile(int rows, const void* x, int scale, int64_t groups, int group_size, const void* w,
          const float* scales, const float* biases, const float* x_sums, float* c) {
  const Tiles tiles;
  (rows > 16 ? tile_rows<P, 2> : tile_rows<P, 1>)(rows, static_cast<const char*>(x), scale, groups,
                                                  group_size / kChunk, static_cast<const char*>(w), scales,
                                                  biases, x_sums, c);
}

bool usable(const void* panel, int* scale) {
  PanelHeader header;
  __builtin_memcpy(&header, panel, sizeof header);
  *scale = header.scale;
  return !header.plain;
}

static_assert(kTileRows == kPanelRows && kTileChunk == kChunk && kTileHeader == kHeader &&
              kPrefillColumns == kPanelRows && kTileBytesOfW == kPieceBytes);

template <int... C>
PrefillTable make_table(std::integer_sequence<int, C...>) {
  PrefillTable t = isa_v4bf16::prefill_kernels_table();
  t.tiles.pack_x[kFloat32] = pack_pieces<3, true, float>;
  t.tiles.pack_x[kFloat16] = pack_pieces<2, true, f16>;
  t.tiles.pack_x[kBfloat16] = pack_pieces<1, true, bf16>;
  t.tiles.chunk_bytes[kFloat32] = kChunkBytes<3>;
  t.tiles.chunk_bytes[kFloat16] = kChunkBytes<2>;
  t.tiles.chunk_bytes[kBfloat16] = kChunkBytes<1>;
  t.tiles.usable = usable;
  ((t.tiles.pack_w[C] = pack_w<static_cast<Code>(C)>), ...);
  t.tiles.tile[kFloat32] = tile<3>;
  t.tiles.tile[kFloat16] = tile<2>;
  t.tiles.tile[kBfloat16] = tile<1>;
  return t;
}

}  // namespace

const PrefillTable& prefill_kernels_table() {
  static const PrefillTable table = make_table(std::make_integer_sequence<int, kCodes>{});
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
