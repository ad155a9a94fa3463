// Products with at most 8 rows of bfloat16 on one side (skinny.h) on matrix tiles: they multiply faster than
// memory gives, which vector instructions with 8 rows do not.
#pragma once

#include "mlx/cpu/gemm/amx_tiles.h"

namespace mlx::core::cpu::MLX_ISA {

inline constexpr int64_t kAhead = 512;     // bytes of a row of w that are fetched ahead
inline constexpr int64_t kFormedRow = 32;  // bytes of a pair of k of formed x: 8 columns
inline constexpr int kFormedPerK = kFormedRow / 2;

// Registers 0 ... 3 are C of `c_rows` rows; 4 and 5 are A of `a_rows`; 6 and 7 are B. C and B have `bytes`
// per row.
inline TileConfig skinny_config(int c_rows, int a_rows, int bytes) {
  TileConfig config;
  for (int t = 0; t < 4; ++t) config.rows[t] = static_cast<uint8_t>(c_rows);
  for (int t = 4; t < 6; ++t) config.rows[t] = static_cast<uint8_t>(a_rows);
  for (int t : {0, 1, 2, 3, 6, 7}) config.bytes[t] = static_cast<uint16_t>(bytes);
  return config;
}

// --- rows of w are contiguous along the outputs: w is B, x is A ---

// 32 rows of w (of which there are `rows`) of S times 32 columns (`cols`): per 32 columns two tiles of pairs
// of rows. One has columns 0 ... 3 of every 8, the other 4 ... 7: pairs are made within 128 bits. `ahead` is
// where w will be read a pass later.
template <int S, bool Whole>
MLX_INLINE void pack_pairs(const bf16* w, int64_t ldw, int64_t rows, int64_t cols, int64_t ahead, char* to) {
  const auto row = [&](int64_t r, int strip) {
    const bf16* from = w + r * ldw + strip * 32;
    if constexpr (Whole) {
      __builtin_prefetch(from + ahead, 0, 2);
      return _mm512_loadu_si512(from);
    } else {
      return _mm512_maskz_loadu_epi16(r < rows ? first_words(cols - strip * 32) : 0, from);
    }
  };
  for (int i = 0; i < 16; ++i)
#pragma GCC unroll 8
    for (int strip = 0; strip < S; ++strip) {
      const __m512i a = row(2 * i, strip), b = row(2 * i + 1, strip);
      char* at = to + strip * kPieceBytes + 64 * i;
      _mm512_storeu_si512(at, _mm512_unpacklo_epi16(a, b));
      _mm512_storeu_si512(at + kTileBytes, _mm512_unpackhi_epi16(a, b));
    }
}

// 32 sums from the order of pack_pairs to their own.
inline void put_in_order(float* y) {
  alignas(64) static constexpr int32_t low[16] = {0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23};
  const __m512i first = _mm512_load_si512(low), second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  const vf a = load(y), b = load(y + 16);
  store(y, _mm512_permutex2var_ps(a, first, b));
  store(y + 16, _mm512_permutex2var_ps(a, second, b));
}

// y[s, n] = x[s, k] w[k, n]; x is padded with zeros to a multiple of 32.
inline void axpy_tiles(int count, int64_t k, int64_t n, const void* x, int64_t ldx, const void* w,
                       int64_t ldw, void* y, int64_t ldy) {
  constexpr int strips = 4;  // of 32 columns, packed together: whole runs of a row are read
  const Tiles tiles(skinny_config(count, count, 64));
  const bf16 *xp = static_cast<const bf16*>(x), *wp = static_cast<const bf16*>(w);
  float* yp = static_cast<float*>(y);
  for (int s = 0; s < count; ++s)
    for (int64_t j = 0; j < n; ++j) yp[s * ldy + j] = 0;
  alignas(64) char packed[strips * kPieceBytes];
  alignas(64) float edge[8 * 32] = {};  // the sums of the last columns, fewer than 32
  const int64_t whole = n / 32 * 32;
  const auto multiply_strip = [](const char* strip, float* c, int64_t ldc) {
    _tile_loadd(0, c, ldc * 4);
    _tile_loadd(1, c + 16, ldc * 4);
    _tile_loadd(6, strip, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, strip + kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_stored(0, c, ldc * 4);
    _tile_stored(1, c + 16, ldc * 4);
  };
  for (int64_t p = 0; p < k; p += kChunk) {
    const int64_t rows = k - p;
    const bf16* from = wp + p * ldw;
    _tile_loadd(4, xp + p, ldx * 2);
    int64_t j = 0;
    if (rows >= kChunk)
      for (; j + strips * 32 <= n; j += strips * 32) {
        pack_pairs<strips, true>(from + j, ldw, kChunk, 32 * strips, kChunk * ldw, packed);
        for (int strip = 0; strip < strips; ++strip)
          multiply_strip(packed + strip * kPieceBytes, yp + j + strip * 32, ldy);
      }
    for (; j < n; j += 32) {
      pack_pairs<1, false>(from + j, ldw, rows, n - j, 0, packed);
      if (j < whole) {
        multiply_strip(packed, yp + j, ldy);
      } else {
        multiply_strip(packed, edge, 32);
      }
    }
  }
  for (int s = 0; s < count; ++s) {
    for (int64_t j = 0; j < whole; j += 32) put_in_order(yp + s * ldy + j);
    put_in_order(edge + s * 32);
    for (int64_t j = whole; j < n; ++j) yp[s * ldy + j] = edge[s * 32 + j - whole];
  }
}

// --- rows of w are contiguous along k: w is A, as it lies in memory, x is B ---

// x[count, k] to tiles of B: per chunk 16 pairs of k of 8 columns.
inline void form_x(int count, int64_t k, const void* x, int64_t ldx, void* out) {
  const char* from = static_cast<const char*>(x);
  uint32_t* to = static_cast<uint32_t*>(out);
  for (int64_t i = 0; i < (k + kChunk - 1) / kChunk * (kChunk / 2); ++i)
    for (int s = 0; s < 8; ++s, ++to) {
      *to = 0;
      if (s < count) __builtin_memcpy(to, from + (s * ldx + 2 * i) * 2, 4);
    }
}

// c[16, 8] of up to T times 16 rows of w; rows and elements along k that are not there are zeros.
template <int T, bool Whole>
MLX_INLINE void dot_tiles_block(int64_t k, const char* x, const bf16* w, int64_t ldw, int64_t rows,
                                float* c) {
  alignas(64) char edge[kTileBytes];
  _tile_zero(0);
  if constexpr (T > 1) _tile_zero(1);
  if constexpr (T > 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const auto load_w = [&](auto load, int tile, int64_t p) {
    const bf16* from = w + tile * 16 * ldw + p;
    if (Whole && k - p >= kChunk) {
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r)
        __builtin_prefetch(reinterpret_cast<const char*>(from + r * ldw) + kAhead, 0, 2);
      return load(from, ldw * 2);
    }
    for (int r = 0; r < 16; ++r)
      _mm512_store_si512(edge + 64 * r, tile * 16 + r < rows
                                            ? _mm512_maskz_loadu_epi16(first_words(k - p), from + r * ldw)
                                            : _mm512_setzero_si512());
    load(edge, 64);
  };
  const auto to_4 = [](const void* from, int64_t stride) { _tile_loadd(4, from, stride); };
  const auto to_5 = [](const void* from, int64_t stride) { _tile_loadd(5, from, stride); };
  for (int64_t p = 0; p < k; p += kChunk) {
    _tile_loadd(6, x + p * kFormedPerK, kFormedRow);
    load_w(to_4, 0, p);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (T > 1) {
      load_w(to_5, 1, p);
      _tile_dpbf16ps(1, 5, 6);
    }
    if constexpr (T > 2) {
      load_w(to_4, 2, p);
      _tile_dpbf16ps(2, 4, 6);
      load_w(to_5, 3, p);
      _tile_dpbf16ps(3, 5, 6);
    }
  }
  _tile_stored(0, c, kFormedRow);
  if constexpr (T > 1) _tile_stored(1, c + 128, kFormedRow);
  if constexpr (T > 2) {
    _tile_stored(2, c + 256, kFormedRow);
    _tile_stored(3, c + 384, kFormedRow);
  }
}

// y[s, n] = sum over k of x[s, k] w[n, k]; x is formed.
inline void dot_tiles(int count, int64_t k, int64_t n, const void* x, int64_t, const void* w, int64_t ldw,
                      void* y, int64_t ldy) {
  const Tiles tiles(skinny_config(16, 16, kFormedRow));
  const bf16* wp = static_cast<const bf16*>(w);
  const char* xp = static_cast<const char*>(x);
  float* yp = static_cast<float*>(y);
  alignas(64) float c[64 * 8];
  for (int64_t j = 0; j < n;) {
    const int64_t left = n - j;
    const int64_t rows = left >= 64 ? 64 : left >= 32 ? 32 : left >= 16 ? 16 : left;
    const bf16* from = wp + j * ldw;
    if (rows == 64) {
      dot_tiles_block<4, true>(k, xp, from, ldw, rows, c);
    } else if (rows == 32) {
      dot_tiles_block<2, true>(k, xp, from, ldw, rows, c);
    } else if (rows == 16) {
      dot_tiles_block<1, true>(k, xp, from, ldw, rows, c);
    } else {
      dot_tiles_block<1, false>(k, xp, from, ldw, rows, c);
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int s = 0; s < count; ++s) yp[s * ldy + j + r] = c[r * 8 + s];
    j += rows;
  }
}

}  // namespace mlx::core::cpu::MLX_ISA
