// Panels for matrix tiles (amx_gemm.cpp): numbers as sums of bfloat16.
//
// A number of float32 is the exact sum of three of bfloat16, one of float16 of two, and a product of sums is
// a sum of products, which the tiles add up in float32 (Henry, Tang, Heinecke: Leveraging the bfloat16
// artificial intelligence datatype for higher-precision computations, 2019).
//
// A panel is 32 rows by k in chunks of 32 along k. A chunk holds its pieces, the largest first; a piece two
// tiles of 16 rows; a tile 16 registers of 64 bytes. A register holds pairs of k: of A all 16 pairs of one
// row, of B one pair of all 16 columns. Pair i of a chunk is its elements i and i + 16.
//
// Tiles flush denormal numbers and bfloat16 has the range of float32 with fewer digits, so the pieces of
// small numbers could vanish. Panels of more than one piece whose numbers are not all within 2^-45 ... 2^55
// are therefore scaled by a power of two that brings the largest number to 2^55; what is flushed then is
// below 2^-180 of it. Infinities, nans, and panels of large numbers beside ones 2^110 times smaller are kept
// as they are, for ordinary multiply-adds.
#pragma once

#include "mlx/cpu/gemm/pack.h"

namespace mlx::core::cpu::MLX_ISA {

inline constexpr int kPanelRows = 32, kChunk = 32;
inline constexpr int64_t kTileBytes = 1024, kPieceBytes = 2 * kTileBytes;
inline constexpr int64_t kHeader = 64;
inline constexpr int64_t kMostK = 512;        // of a panel
inline constexpr int kTop = 55;               // exponent of the largest number of a scaled panel
inline constexpr int kBottom = -45;           // of the smallest of one that need not be scaled
inline constexpr int kWide = 110, kLow = 15;  // see above

struct PanelHeader {
  int32_t scale;  // the panel holds numbers times 2^scale
  int32_t plain;  // or float32 as they are: 32 of each k
};

// Bytes of a chunk in which a panel of P pieces comes; as float32 a chunk is 4 KiB, which fits for P > 1.
template <int P>
inline constexpr int64_t kChunkBytes = P * kPieceBytes;

// What the exponents of a panel are, from its first pieces: they have the exponents of the numbers, but for
// rounding. Magnitudes as bits of bfloat16, times two.
struct Range {
  __m512i high = _mm512_setzero_si512(), low = _mm512_set1_epi32(-1);
  // Last pieces. Only numbers below 2^-126 do not end with them, and some of those have no first piece.
  __m512i left = _mm512_setzero_si512();

  MLX_INLINE void see(__m512i first, vf last_x, vf last_y) {
    const __m512i bits = _mm512_add_epi16(first, first);
    high = _mm512_max_epu16(high, bits);
    low = _mm512_min_epu16(low, _mm512_sub_epi16(bits, _mm512_set1_epi16(1)));  // zeros become the largest
    left = _mm512_or_si512(
        left, _mm512_or_si512(reinterpret_cast<__m512i>(last_x), reinterpret_cast<__m512i>(last_y)));
  }
  PanelHeader header() const {
    alignas(64) uint16_t words[3][32];
    _mm512_store_si512(words[0], high);
    _mm512_store_si512(words[1], low);
    _mm512_store_si512(words[2], left);
    uint16_t most = 0, least = 0xffff, tiny = 0;
    for (int i = 0; i < 32; ++i) {
      most = words[0][i] > most ? words[0][i] : most;
      least = words[1][i] < least ? words[1][i] : least;
      if (i % 2 == 0) tiny |= words[2][i];
    }
    if (most == 0 && !tiny) return {0, 0};
    if (most >= 0xff00) return {0, 1};
    const int top = most == 0 ? kTiny : exponent(most), bottom = tiny ? -149 : exponent(least + 1);
    if (top <= kTop && bottom >= kBottom) return {0, 0};
    return {kTop - top, top > kLow && top - bottom > kWide};
  }

 private:
  static constexpr int kTiny = -134;  // below, there is no first piece
  static int exponent(int bits) {
    return bits >> 8 ? (bits >> 8) - 127 : -103 - __builtin_clz(static_cast<unsigned>(bits));
  }
};

// bfloat16 are the upper halves of float32: those of x and y, as pairs.
MLX_INLINE __m512i upper_halves(__m512i x, __m512i y) {
  return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(x, 16), y);
}

// The P pieces of x and y, as pairs; x and y become what the last one holds. What P pieces do not hold is not
// there: x has no more digits. The first piece is rounded, so that the signs of the others are as good as
// random and what is left out of a product does not add up; the second is cut off.
template <int P>
MLX_INLINE void split(vf& x, vf& y, __m512i* pieces) {
  const auto cut = [](__m512i v) {
    return reinterpret_cast<vf>(_mm512_and_si512(v, _mm512_set1_epi32(-65536)));
  };
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) {
    __m512i bx = reinterpret_cast<__m512i>(x), by = reinterpret_cast<__m512i>(y);
    if (p == 0 && P > 1) {
      bx = _mm512_add_epi32(bx, _mm512_set1_epi32(0x8000));
      by = _mm512_add_epi32(by, _mm512_set1_epi32(0x8000));
    }
    pieces[p] = upper_halves(bx, by);
    if (p + 1 < P) {
      x -= cut(bx);
      y -= cut(by);
    }
  }
}

// The 16 registers of a tile become what the columns of their 32-bit elements were.
MLX_INLINE void turn(char* tile) {
  vf v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = _mm512_loadu_ps(tile + 64 * i);
  transpose_steps<8, float>(v);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(tile + 64 * i, v[i]);
}

// x[r], for up to 32 rows; absent rows and elements are zeros. `kn` and `rows` may be anything.
template <class S>
struct Strided {
  const S* from;
  int64_t stride_r, stride_k;
  int rows;
  int64_t kn;

  // Elements [k, k + 16) of row r where those of a row are neighbours.
  MLX_INLINE vf along_k(int r, int64_t k) const {
    if (r >= rows || k >= kn) return vf{};
    const S* p = from + r * stride_r + k;
    return kn - k >= 16 ? load(p) : load_first(p, static_cast<int>(kn - k));
  }
  // Element k of rows [r, r + 16) where rows are neighbours.
  MLX_INLINE vf along_rows(int r, int64_t k) const {
    if (r >= rows || k >= kn) return vf{};
    const S* p = from + r + k * stride_k;
    return rows - r >= 16 ? load(p) : load_first(p, rows - r);
  }
  // Elements [k, k + 16) of rows [r, r + 16) as 16 vectors, one for each row or, where rows are neighbours,
  // for each k.
  template <bool ByRow, bool Whole>
  MLX_INLINE vf vector(int r, int64_t k, int i) const {
    if constexpr (Whole) return load(ByRow ? from + (r + i) * stride_r + k : from + r + (k + i) * stride_k);
    return ByRow ? along_k(r + i, k) : along_rows(r, k + i);
  }
};

// Half a chunk: 16 rows and 32 elements of each, to a tile of each piece.
template <int P, bool ByRow, bool IsA, bool Scale, bool Whole, class S>
MLX_INLINE void fill_half(const Strided<S>& x, int r, int64_t k, vf by, Range& range, char* tile) {
  const auto put = [&](int i, vf u, vf v) __attribute__((always_inline)) {
    if constexpr (Scale) u = _mm512_scalef_ps(u, by), v = _mm512_scalef_ps(v, by);
    __m512i pieces[P];
    split<P>(u, v, pieces);
    if constexpr (P > 1 && !Scale) range.see(pieces[0], u, v);
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) _mm512_storeu_si512(tile + p * kPieceBytes + 64 * i, pieces[p]);
  };
  if constexpr (ByRow == IsA) {
#pragma GCC unroll 4
    for (int i = 0; i < 16; ++i)
      put(i, x.template vector<ByRow, Whole>(r, k, i), x.template vector<ByRow, Whole>(r, k + 16, i));
  } else {
    alignas(64) vf first[16];
    vf v[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) v[i] = x.template vector<ByRow, Whole>(r, k, i);
    transpose_steps<8, float>(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) first[i] = v[i];
    asm("" : "+m"(first));  // in memory: there are too few registers for both
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) v[i] = x.template vector<ByRow, Whole>(r, k + 16, i);
    transpose_steps<8, float>(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) put(i, first[i], v[i]);
  }
}

// Pieces of x * 2^scale (where Scale is false: of x, and `range` gets to know them).
template <int P, bool ByRow, bool IsA, bool Scale, class S>
void fill_pieces(const Strided<S>& x, int scale, Range& range, char* to) {
  const vf by = splat(static_cast<float>(scale));
  Range seen;  // not through a reference: in registers
  for (int64_t k = 0; k < x.kn; k += kChunk, to += kChunkBytes<P>)
    for (int half = 0; half < 2; ++half) {
      char* tile = to + half * kTileBytes;
      const int r = half * 16;
      if (x.rows - r >= 16 && x.kn - k >= kChunk) {
        fill_half<P, ByRow, IsA, Scale, true>(x, r, k, by, seen, tile);
      } else {
        fill_half<P, ByRow, IsA, Scale, false>(x, r, k, by, seen, tile);
      }
    }
  range = seen;
}

// The first n of 32 words.
MLX_INLINE __mmask32 first_words(int64_t n) {
  return n >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((uint32_t{1} << (n > 0 ? n : 0)) - 1);
}

// bfloat16 as it is: words move, 32 at a time.
template <bool ByRow, bool IsA>
void fill_words(const Strided<bf16>& x, char* to) {
  alignas(64) static constexpr uint16_t low[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                   37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                   11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_load_si512(low), sixteen = _mm512_set1_epi16(16);
  const __m512i second = _mm512_add_epi16(first, sixteen);
  // Word j and word j + 16, for one register.
  const __m512i halves = _mm512_mask_sub_epi16(first, 0xaaaaaaaau, first, sixteen);
  for (int64_t k = 0; k < x.kn; k += kChunk, to += kPieceBytes) {
    if constexpr (ByRow) {
      const __mmask32 mask = first_words(x.kn - k);
#pragma GCC unroll 4
      for (int r = 0; r < kPanelRows; ++r) {
        const __m512i words = _mm512_maskz_loadu_epi16(r < x.rows ? mask : 0, x.from + r * x.stride_r + k);
        _mm512_storeu_si512(to + 64 * r, _mm512_permutexvar_epi16(halves, words));
      }
    } else {
      const __mmask32 mask = first_words(x.rows);
      const auto words = [&](int64_t i) {
        return _mm512_maskz_loadu_epi16(i < x.kn ? mask : 0, x.from + i * x.stride_k);
      };
#pragma GCC unroll 4
      for (int i = 0; i < 16; ++i) {
        const __m512i a = words(k + i), b = words(k + i + 16);
        _mm512_storeu_si512(to + 64 * i, _mm512_permutex2var_epi16(a, first, b));
        _mm512_storeu_si512(to + kTileBytes + 64 * i, _mm512_permutex2var_epi16(a, second, b));
      }
    }
    if constexpr (ByRow != IsA) turn(to), turn(to + kTileBytes);
  }
}

template <class S>
void fill_plain(const Strided<S>& x, float* to) {
  const int64_t end = (x.kn + kChunk - 1) / kChunk * kChunk;
  for (int64_t k = 0; k < end; ++k)
    for (int r = 0; r < kPanelRows; ++r)
      *to++ = r < x.rows && k < x.kn ? scalar(x.from[r * x.stride_r + k * x.stride_k]) : 0;
}

template <int P, bool ByRow, bool IsA, class S>
void fill(const Strided<S>& x, char* panel) {
  char* to = panel + kHeader;
  if constexpr (P == 1 && std::is_same_v<S, bf16>) {
    const PanelHeader as_it_is{};
    __builtin_memcpy(panel, &as_it_is, sizeof as_it_is);
    return fill_words<ByRow, IsA>(x, to);
  }
  Range range;
  fill_pieces<P, ByRow, IsA, false>(x, 0, range, to);
  const PanelHeader header = P > 1 ? range.header() : PanelHeader{};
  __builtin_memcpy(panel, &header, sizeof header);
  if (header.plain) return fill_plain(x, reinterpret_cast<float*>(to));
  if (header.scale != 0) fill_pieces<P, ByRow, IsA, true>(x, header.scale, range, to);
}

// A PackFn (kernels.h) to such a panel.
template <int P, bool IsA, class S>
void pack_pieces(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn, void* panel) {
  const S* src = static_cast<const S*>(source);
  char* to = static_cast<char*>(panel);
  if (stride_r == 1) return fill<P, false, IsA>(Strided<S>{src, 1, stride_k, rows, kn}, to);
  if (stride_k == 1) return fill<P, true, IsA>(Strided<S>{src, stride_r, 1, rows, kn}, to);
  S gathered[kMostK * kPanelRows];
  for (int64_t k = 0; k < kn; ++k)
    for (int r = 0; r < rows; ++r) gathered[k * kPanelRows + r] = src[r * stride_r + k * stride_k];
  fill<P, false, IsA>(Strided<S>{gathered, 1, kPanelRows, rows, kn}, to);
}

}  // namespace mlx::core::cpu::MLX_ISA
