// Quantized products in 16-bit integers: vpdpwssd does 32 multiply-adds where a float32 instruction does 16,
// and unpacking a code costs less than making a float of it.
#include "mlx/cpu/gemm/codes.h"
#include "mlx/cpu/gemm/kernels_prefill.h"
#include "mlx/cpu/gemm/pack.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

#if MLX_ISA_LEVEL >= 5

constexpr float kMost = 32767.0f;
constexpr float kLeast = 1e-25f;       // below, scales would be denormal
constexpr float kLowSteps = 65000.0f;  // of a rounding error, which is half a unit at most

// 16 integers as 8 pairs, `rows` apart.
MLX_INLINE void put_pairs(__m512i n, int32_t* to, int rows) {
  alignas(32) int32_t pairs[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), _mm512_cvtepi32_epi16(n));
  for (int t = 0; t < 8; ++t) to[t * rows] = pairs[t];
}

bool pack_x(const float* x, int64_t ldx, int64_t k, int group_size, const PrefillRows& out,
            const PrefillRows* low) {
  const int64_t groups = k / group_size;
  const int rows = out.rows, steps = group_size / 2;
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
      const int64_t at = g * steps * rows + i;
      __m512i sum = _mm512_setzero_si512(), low_sum = _mm512_setzero_si512();
      for (int j = 0; j < group_size; j += 16) {
        const vf v = load(from + j) * splat(inverse);
        const __m512i n = _mm512_cvtps_epi32(v);
        sum = _mm512_add_epi32(sum, n);
        put_pairs(n, out.pairs + at + j / 2 * rows, rows);
        if (!low) continue;
        const __m512i rest = _mm512_cvtps_epi32((v - _mm512_cvtepi32_ps(n)) * splat(kLowSteps));
        low_sum = _mm512_add_epi32(low_sum, rest);
        put_pairs(rest, low->pairs + at + j / 2 * rows, rows);
      }
      out.scales[g * rows + i] = scale;
      out.sums[g * rows + i] = scale * static_cast<float>(_mm512_reduce_add_epi32(sum));
      if (!low) continue;
      low->scales[g * rows + i] = scale / kLowSteps;
      out.sums[g * rows + i] += scale / kLowSteps * static_cast<float>(_mm512_reduce_add_epi32(low_sum));
    }
  return lane_sum(strange) == 0;
}

// Pair t of a run of 32 codes, whose words lie in the same lane of w[0 ... Bits - 1]: two codes of 16 bits.
template <Code C>
MLX_INLINE __m512i code_pair(const vu* w, int t) {
  constexpr int bits = code_bits(C);
  constexpr uint32_t mask = (1u << bits) - 1;
  const int at = 2 * t * bits, shift = at % 32;
  vu v = w[at / 32] >> shift;
  if (shift + 2 * bits > 32) v = v | w[at / 32 + 1] << (32 - shift);
  const vu pair = (v & mask) | ((v << (16 - bits)) & (mask << 16));
  if constexpr (C == kE2m1) {
    // Twice the value of each of the 16 codes.
    alignas(64) static constexpr int16_t doubled[32] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                        0, -1, -2, -3, -4, -6, -8, -12};
    return _mm512_permutexvar_epi16(reinterpret_cast<__m512i>(pair), _mm512_load_si512(doubled));
  }
  return reinterpret_cast<__m512i>(pair);
}

template <Code C>
void pack_w(const uint32_t* w, int64_t words, int count, int64_t k, int32_t* pairs) {
  constexpr int bits = code_bits(C), lanes = 16;
  // Words of all rows side by side, one run of 32 codes at a time: they move as floats do.
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
        int32_t* to = pairs + (j / 2 + r * 16) * kPrefillColumns + half * lanes;
#pragma GCC unroll 16
        for (int t = 0; t < 16; ++t) _mm512_storeu_si512(to + t * kPrefillColumns, code_pair<C>(v, t));
      }
  }
}

using vi = Vec<int32_t>;
MLX_INLINE vi dot_pairs(vi acc, vi a, vi b) {
  return reinterpret_cast<vi>(_mm512_dpwssd_epi32(
      reinterpret_cast<__m512i>(acc), reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

// The sums of one group, in integers.
template <int M>
MLX_INLINE void tile_group(int steps, const int32_t* a, const int32_t* w, vi (&acc)[M][2]) {
  for (int t = 0; t < steps; ++t) {
    vi b0, b1;
    __builtin_memcpy(&b0, w, sizeof b0);
    __builtin_memcpy(&b1, w + 16, sizeof b1);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const vi v = vi{} + a[i];
      acc[i][0] = dot_pairs(acc[i][0], v, b0);
      acc[i][1] = dot_pairs(acc[i][1], v, b1);
    }
    a += M;
    w += kPrefillColumns;
  }
}

template <int M>
void tile_rows(const PrefillRows& x, int64_t groups, int group_size, const int32_t* w, const float* scales,
               const float* biases, float* c) {
  const int steps = group_size / 2;
  const int32_t* a = x.pairs;
  const float *x_scales = x.scales, *x_sums = x.sums;
  for (int64_t g = 0; g < groups; ++g) {
    vi acc[M][2] = {};
    tile_group<M>(steps, a, w, acc);
    const vf s0 = load(scales), s1 = load(scales + 16);
    const vf b0 = biases ? load(biases) : vf{}, b1 = biases ? load(biases + 16) : vf{};
    float* to = c;
    asm("" : "+r"(to));  // c stays in memory: gcc would keep all of it in registers that there are not
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i, to += kPrefillColumns) {
      const vf scale = splat(x_scales[i]), sum = splat(x_sums[i]);
      const vf y0 = fma(sum, b0, load(to)), y1 = fma(sum, b1, load(to + 16));
      store(to, fma(__builtin_convertvector(acc[i][0], vf) * scale, s0, y0));
      store(to + 16, fma(__builtin_convertvector(acc[i][1], vf) * scale, s1, y1));
    }
    a += steps * M;
    w += steps * kPrefillColumns;
    x_scales += M, x_sums += M;
    scales += kPrefillColumns;
    if (biases) biases += kPrefillColumns;
  }
}

template <int... M>
void tile_of(std::integer_sequence<int, M...>, const PrefillRows& x, int64_t groups, int group_size,
             const int32_t* w, const float* scales, const float* biases, float* c) {
  static constexpr decltype(&tile_rows<1>) by_rows[] = {tile_rows<M + 1>...};
  by_rows[x.rows - 1](x, groups, group_size, w, scales, biases, c);
}
void tile(const PrefillRows& x, int64_t groups, int group_size, const int32_t* w, const float* scales,
          const float* biases, float* c) {
  tile_of(std::make_integer_sequence<int, kPrefillRows>{}, x, groups, group_size, w, scales, biases, c);
}

template <int... C>
constexpr PrefillTable make_table(std::integer_sequence<int, C...>) {
  PrefillTable t{};
  t.pack_x = pack_x;
  ((t.pack_w[C] = C == kE4m3 ? nullptr : pack_w<static_cast<Code>(C)>), ...);
  for (float& unit : t.unit) unit = 1;
  t.unit[kE2m1] = 0.5f;
  t.tile = tile;
  return t;
}

#else

template <class Codes>
constexpr PrefillTable make_table(Codes) {
  return {};
}

#endif

}  // namespace

const PrefillTable& prefill_kernels_table() {
  static constexpr PrefillTable table = make_table(std::make_integer_sequence<int, kCodes>{});
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
