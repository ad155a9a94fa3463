// Quantized products of float32 in bytes: x is an integer of 24 bits per group, that is three signed bytes,
// and vpdpbusd does 64 multiply-adds where vpdpwssd does 32. Three such passes cost less than two of the
// others and round x no more than float32 does.
#include "mlx/cpu/gemm/codes.h"
#include "mlx/cpu/gemm/kernels_prefill.h"
#include "mlx/cpu/gemm/pack.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

#if MLX_ISA_LEVEL >= 5

constexpr float kMost = 8323000.0f;  // 127 * 2^16 and what the lower bytes add at most
constexpr float kLeast = 1e-25f;

using vi = Vec<int32_t>;

// The lowest byte with its sign.
MLX_INLINE vi low_byte(vi n) { return (n << 24) >> 24; }
MLX_INLINE void put_quads(vi n, int32_t* to, int rows) {
  int32_t quads[4];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(quads), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(n)));
  for (int t = 0; t < 4; ++t) to[t * rows] = quads[t];
}

bool pack_x(const float* x, int64_t ldx, int64_t k, int group_size, const PrefillRows& out, int64_t piece) {
  const int64_t groups = k / group_size;
  const int rows = out.rows, steps = group_size / 4;
  const vf magnitude = as_float(vu{} + 0x7fffffffu);
  vf strange = {};
  for (int64_t g = 0; g < groups; ++g)
    for (int i = 0; i < rows; ++i) {
      const float* from = x + i * ldx + g * group_size;
      vf most = {};
      for (int j = 0; j < group_size; j += 16) {
        const vf a = _mm512_and_ps(load(from + j), magnitude);
        most = _mm512_max_ps(most, a);
        strange = strange + a * 0.0f;  // nan from inf and nan
      }
      const float largest = _mm512_reduce_max_ps(most);
      if (largest > 0 && largest < kLeast) return false;
      const float scale = largest / kMost, inverse = largest > 0 ? kMost / largest : 0;
      int32_t* to = out.pairs + g * steps * rows + i;
      vi sum = {};
      for (int j = 0; j < group_size; j += 16, to += 4 * rows) {
        const vi n = reinterpret_cast<vi>(_mm512_cvtps_epi32(load(from + j) * splat(inverse)));
        sum = sum + n;
        const vi low = low_byte(n), upper = (n - low) >> 8, middle = low_byte(upper);
        put_quads((upper - middle) >> 8, to, rows);
        put_quads(middle, to + piece, rows);
        put_quads(low, to + 2 * piece, rows);
      }
      out.scales[g * rows + i] = scale;
      out.sums[g * rows + i] =
          scale * static_cast<float>(_mm512_reduce_add_epi32(reinterpret_cast<__m512i>(sum)));
    }
  return lane_sum(strange) == 0;
}

// Codes 4t ... 4t + 3 of a run of 32, whose words lie in the same lane of w, as bytes.
template <Code C>
MLX_INLINE vu code_quad(const vu* w, int t) {
  constexpr int bits = code_bits(C);
  constexpr uint32_t one = (1u << bits) - 1, two = (one << bits) | one;
  const int at = 4 * t * bits, shift = at % 32;
  vu v = w[at / 32] >> shift;
  if (shift + 4 * bits > 32) v = v | w[at / 32 + 1] << (32 - shift);
  if constexpr (bits < 8) {
    v = (v & two) | ((v << (16 - 2 * bits)) & (two << 16));
    v = (v & (one | one << 16)) | ((v << (8 - bits)) & (one << 8 | one << 24));
  }
  if constexpr (C == kE2m1) {  // bytes without signs: twice the value, above the least
    const __m512i doubled =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    return reinterpret_cast<vu>(_mm512_shuffle_epi8(doubled, reinterpret_cast<__m512i>(v)));
  }
  return v;
}

template <Code C>
void pack_w(const uint32_t* w, int64_t words, int count, int64_t k, int32_t* quads) {
  constexpr int bits = code_bits(C), lanes = 16;
  constexpr int64_t runs = 4;
  alignas(64) float turned[runs * bits * kPrefillColumns];
  for (int64_t j = 0; j < k; j += 32 * runs) {
    const int64_t here = k - j < 32 * runs ? (k - j) / 32 : runs;
    pack<float, float, kPrefillColumns>(reinterpret_cast<const float*>(w + j * bits / 32), words, 1, count,
                                        here * bits, turned);
    for (int64_t r = 0; r < here; ++r)
      for (int half = 0; half < kPrefillColumns / lanes; ++half) {
        vu v[bits];
#pragma GCC unroll 8
        for (int b = 0; b < bits; ++b)
          __builtin_memcpy(&v[b], turned + (r * bits + b) * kPrefillColumns + half * lanes, sizeof v[b]);
        int32_t* to = quads + (j / 4 + r * 8) * kPrefillColumns + half * lanes;
#pragma GCC unroll 8
        for (int t = 0; t < 8; ++t) {
          const vu quad = code_quad<C>(v, t);
          __builtin_memcpy(to + t * kPrefillColumns, &quad, sizeof quad);
        }
      }
  }
}

MLX_INLINE vi dot_quads(vi acc, vi codes, vi x) {
  return reinterpret_cast<vi>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(acc), reinterpret_cast<__m512i>(codes), reinterpret_cast<__m512i>(x)));
}
template <int M>
MLX_INLINE void tile_group(int steps, const int32_t* a, const int32_t* w, vi (&acc)[M][2]) {
  for (int t = 0; t < steps; ++t) {
    vi b0, b1;
    __builtin_memcpy(&b0, w, sizeof b0);
    __builtin_memcpy(&b1, w + 16, sizeof b1);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const vi v = vi{} + a[i];
      acc[i][0] = dot_quads(acc[i][0], b0, v);
      acc[i][1] = dot_quads(acc[i][1], b1, v);
    }
    a += M;
    w += kPrefillColumns;
  }
}

// c += acc * scale * s + sum * b.
template <int M>
MLX_INLINE void add_group(const vi (&acc)[M][2], const float* x_scales, float factor, const float* x_sums,
                          const float* scales, const float* biases, float* c) {
  const vf s0 = load(scales) * factor, s1 = load(scales + 16) * factor;
  const vf b0 = biases ? load(biases) : vf{}, b1 = biases ? load(biases + 16) : vf{};
  asm("" : "+r"(c));  // c stays in memory: gcc would keep all of it in registers that there are not
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i, c += kPrefillColumns) {
    const vf scale = splat(x_scales[i]), sum = splat(x_sums[i]);
    const vf y0 = fma(sum, b0, load(c)), y1 = fma(sum, b1, load(c + 16));
    store(c, fma(__builtin_convertvector(acc[i][0], vf) * scale, s0, y0));
    store(c + 16, fma(__builtin_convertvector(acc[i][1], vf) * scale, s1, y1));
  }
}

template <int M>
void tile_rows(const PrefillRows& x, int64_t piece, int64_t groups, int group_size, const int32_t* w,
               const float* scales, const float* biases, float* c) {
  const int steps = group_size / 4;
  const int32_t* a = x.pairs;
  const float *x_scales = x.scales, *x_sums = x.sums;
  for (int64_t g = 0; g < groups; ++g) {
    {
      vi acc[M][2] = {};
      tile_group<M>(steps, a + 2 * piece, w, acc);
      add_group<M>(acc, x_scales, 1, x_sums, scales, nullptr, c);
    }
    vi acc[M][2] = {};
    tile_group<M>(steps, a, w, acc);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) acc[i][0] = acc[i][0] << 8, acc[i][1] = acc[i][1] << 8;
    tile_group<M>(steps, a + piece, w, acc);
    add_group<M>(acc, x_scales, 256, x_sums, scales, biases, c);
    a += steps * M;
    w += steps * kPrefillColumns;
    x_scales += M, x_sums += M;
    scales += kPrefillColumns;
    if (biases) biases += kPrefillColumns;
  }
}

template <int... M>
void tile_of(std::integer_sequence<int, M...>, const PrefillRows& x, int64_t piece, int64_t groups,
             int group_size, const int32_t* w, const float* scales, const float* biases, float* c) {
  static constexpr decltype(&tile_rows<1>) by_rows[] = {tile_rows<M + 1>...};
  by_rows[x.rows - 1](x, piece, groups, group_size, w, scales, biases, c);
}
void tile(const PrefillRows& x, int64_t piece, int64_t groups, int group_size, const int32_t* w,
          const float* scales, const float* biases, float* c) {
  tile_of(std::make_integer_sequence<int, kPrefillRows>{}, x, piece, groups, group_size, w, scales, biases,
          c);
}

template <int... C>
constexpr PrefillBytesTable make_table(std::integer_sequence<int, C...>) {
  PrefillBytesTable t{};
  t.pack_x = pack_x;
  ((t.pack_w[C] = C == kE4m3 ? nullptr : pack_w<static_cast<Code>(C)>), ...);
  t.least[kE2m1] = -12;
  t.tile = tile;
  return t;
}

#else

template <class Codes>
constexpr PrefillBytesTable make_table(Codes) {
  return {};
}

#endif

}  // namespace

const PrefillBytesTable& prefill_bytes_kernels_table() {
  static constexpr PrefillBytesTable table = make_table(std::make_integer_sequence<int, kCodes>{});
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
