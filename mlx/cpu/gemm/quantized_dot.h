// Dot products with rows of quantized matrices as they are, S rows of x at a time.
//
// The packed words are read once and no weight is stored: x times codes is summed per group, the sum is
// scaled once, and the biases meet the sums of x per group.
#pragma once

#include "mlx/cpu/gemm/codes.h"

namespace mlx::core::cpu::MLX_ISA {

using gemm_detail::QuantizedOperand;

// Group sizes are powers of two: a division would cost more than the columns of a group.
MLX_INLINE int shift_of(int group_size) { return __builtin_ctz(static_cast<unsigned>(group_size)); }

template <Code C, int S, int V>
MLX_INLINE void dot_vector(const uint8_t* p, const float* x, int64_t ldx, vf* acc) {
  const vf value = run_values<C, V>(p);
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s] = fma(value, load(x + s * ldx + V * kLanesF), acc[s]);
}
template <Code C, int S, int Begin, int... V>
MLX_INLINE void dot_vectors(const uint8_t* p, const float* x, int64_t ldx, vf* acc,
                            std::integer_sequence<int, V...>) {
  (dot_vector<C, S, Begin + V>(p, x, ldx, acc), ...);
}
using HalfRun = std::make_integer_sequence<int, kRunVectors / 2>;

template <int S>
MLX_INLINE void add_scaled(const vf* acc, vf scale, vf* total) {
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) total[s] = fma(acc[s], scale, total[s]);
}

// Columns [j, k), in the order of x: any code.
template <Code C, int S>
MLX_INLINE void dot_runs(int64_t j, int64_t k, int group_size, const uint32_t* codes, int64_t ahead,
                         const float* scales, const float* x, int64_t ldx, vf* total) {
  constexpr int bytes = 4 * code_bits(C);
  const uint8_t* p = reinterpret_cast<const uint8_t*>(codes) + j / 32 * bytes;
  if (group_size == 16) {
    for (; j < k; j += 32, p += bytes) {
      uint8_t run[32];
      const bool half = j + 32 > k;
      if (half) __builtin_memcpy(run, p, bytes / 2);
      const uint8_t* from = half ? run : p;
      vf acc[S] = {};
      dot_vectors<C, S, 0>(from, x + j, ldx, acc, HalfRun{});
      add_scaled<S>(acc, splat(scales[j / 16]), total);
      if (half) return;
      vf next[S] = {};
      dot_vectors<C, S, kRunVectors / 2>(p, x + j, ldx, next, HalfRun{});
      add_scaled<S>(next, splat(scales[j / 16 + 1]), total);
    }
    return;
  }
  const int shift = shift_of(group_size);
  while (j < k) {
    const int64_t group = j >> shift, end = (group + 1) << shift;  // a block of words may end within a group
    const vf scale = splat(scales[group]);
    vf acc[S] = {};
    for (; j < end && j < k; j += 32, p += bytes) {
      __builtin_prefetch(p + 4 * ahead);
      dot_vectors<C, S, 0>(p, x + j, ldx, acc, HalfRun{});
      dot_vectors<C, S, kRunVectors / 2>(p, x + j, ldx, acc, HalfRun{});
    }
    add_scaled<S>(acc, scale, total);
  }
}

// The scales of the groups that a block of words lies in, each in the lanes of its words.
template <int Columns>
MLX_INLINE vf block_scales(const float* scales, int shift) {
  const int groups = Columns >> shift;
  if (groups <= 1) return splat(scales[0]);
#if MLX_ISA_LEVEL >= 4
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i group = _mm512_srli_epi32(lane, 4 - static_cast<unsigned>(__builtin_ctz(groups)));
  return _mm512_permutexvar_ps(group, load_first(scales, groups));
#else
  vf v;
  for (int l = 0; l < kLanesF; ++l) v[l] = scales[l * groups / kLanesF];
  return v;
#endif
}

template <Code C>
inline constexpr int kBlockColumns = kLanesF * 32 / code_bits(C);

// What dot_blocks does with a register of words: codes become floats.
template <Code C>
struct FloatBlocks {
  using X = float;
  static constexpr int kShifts = 32 / code_bits(C), kStep = kLanesF;
  MLX_INLINE static vf table() { return load_table<C>(); }
  MLX_INLINE static vf value(vu words, int shift, vf table) {
    return low_values<C>(words >> (shift * code_bits(C)), table);
  }
  MLX_INLINE static vf load_x(const float* x) { return load(x); }
  MLX_INLINE static vf multiply_add(vf value, vf x, vf sum) { return fma(value, x, sum); }
};

// Blocks of a register of words of J rows of w, `words` and `groups` apart, against x in the order that the
// shifts give. `ahead` words behind those are fetched.
template <class B, Code C, int S, int J>
MLX_INLINE void dot_blocks(int64_t columns, int group_size, const uint32_t* codes, int64_t words,
                           int64_t ahead, const float* scales, int64_t groups, const typename B::X* x,
                           int64_t ldx, vf* total) {
  constexpr int block = kBlockColumns<C>;
  const auto table = B::table();
  using Value = decltype(B::load_x(x));
  const int shift = shift_of(group_size);
  for (int64_t j = 0; j < columns; j += block, codes += kLanesF, x += block) {
    vu w[J];
#pragma GCC unroll 2
    for (int r = 0; r < J; ++r) {
      __builtin_memcpy(&w[r], codes + r * words, sizeof w[r]);
#if MLX_ISA_LEVEL >= 4
      asm("" : "+v"(w[r]));  // gcc would load it again for every shift, and loads are the limit
#endif
      __builtin_prefetch(codes + r * words + ahead);
    }
    vf acc[J * S] = {};
#pragma GCC unroll 32
    for (int i = 0; i < B::kShifts; ++i) {
      Value value[J];
#pragma GCC unroll 2
      for (int r = 0; r < J; ++r) value[r] = B::value(w[r], i, table);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) {
        Value xs = B::load_x(x + s * ldx + i * B::kStep);
#if MLX_ISA_LEVEL >= 4
        if constexpr (J > 1) asm("" : "+v"(xs));  // the same
#endif
#pragma GCC unroll 2
        for (int r = 0; r < J; ++r) acc[r * S + s] = B::multiply_add(value[r], xs, acc[r * S + s]);
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < J; ++r)
      add_scaled<S>(acc + r * S, block_scales<block>(scales + r * groups + (j >> shift), shift),
                    total + r * S);
  }
}

template <int S>
MLX_INLINE void add_biases(int64_t groups, const float* biases, const float* sums, vf* total) {
  for (int64_t g = 0; g < groups; g += kLanesF) {
    const int n = static_cast<int>(groups - g < kLanesF ? groups - g : kLanesF);
    const bool full = n == kLanesF;
    const vf b = full ? load(biases + g) : load_first(biases + g, n);
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const float* x = sums + s * groups + g;
      total[s] = fma(b, full ? load(x) : load_first(x, n), total[s]);
    }
  }
}

// J rows of w, a piece of their columns. Sums of a row of w are those of S rows of x.
template <class B, Code C, int S, int J>
MLX_INLINE void dot_piece(int64_t len, int group_size, const uint32_t* row, int64_t words, int64_t ahead,
                          const float* scales, int64_t groups, const QuantizedOperand& x, int64_t p,
                          int64_t k, vf (*sums)[S]) {
  vf total[J * S];
#pragma GCC unroll 16
  for (int i = 0; i < J * S; ++i) total[i] = sums[i / S][i % S];
  int64_t done = 0;
  if constexpr (kByShifts<C>) {
    done = len / kBlockColumns<C> * kBlockColumns<C>;
    dot_blocks<B, C, S, J>(done, group_size, row, words, ahead, scales, groups,
                           static_cast<const typename B::X*>(x.shuffled) + p, k, total);
  }
  if (done < len) {
#pragma GCC unroll 2
    for (int r = 0; r < J; ++r)
      dot_runs<C, S>(done, len, group_size, row + r * words, ahead, scales + r * groups, x.x + p, k,
                     total + r * S);
  }
#pragma GCC unroll 16
  for (int i = 0; i < J * S; ++i) sums[i / S][i % S] = total[i];
}

// Rows of w in tiles, whose sums stay in the first-level cache beside a piece of x.
template <class B, Code C, int S>
void dot(int64_t rows, int64_t k, int group_size, const uint32_t* codes, const float* scales,
         const float* biases, const QuantizedOperand& x, float* y, int64_t ldy) {
  constexpr int bits = code_bits(C), tile = 16;
  constexpr int64_t piece = 4096 / (S <= 2 ? S : S <= 4 ? 4 : 8);  // a power of two: whole blocks of words
  // Two rows of w share the loads of x, where there are registers for it.
  constexpr int together = MLX_ISA_LEVEL >= 4 && kByShifts<C> && S <= 6 ? 2 : 1;
  const int64_t words = k * bits / 32, groups = k / group_size;
  // The same piece of a later row, some 16 KiB on: rows end with pages, where the hardware begins anew.
  constexpr int64_t kAhead = 4096;
  const int64_t ahead = (kAhead + words - 1) / words * words;
  vf sums[tile][S];
  for (int64_t j0 = 0; j0 < rows; j0 += tile) {
    const int count = static_cast<int>(rows - j0 < tile ? rows - j0 : tile);
    for (int j = 0; j < count; ++j)
      for (int s = 0; s < S; ++s) sums[j][s] = vf{};
    for (int64_t p = 0; p < k; p += piece) {
      const int64_t len = k - p < piece ? k - p : piece;
      const auto piece_of = [&]<int J>(int j, std::integral_constant<int, J>) {
        const uint32_t* row = codes + (j0 + j) * words + p * bits / 32;
        // Rows are read in pieces: what this one leaves is wanted a pass later.
        if (p + piece < k)
          for (int r = 0; r < J; ++r)
            for (int64_t next = 0; next < piece * bits / 32; next += 16)
              __builtin_prefetch(row + r * words + len * bits / 32 + next, 0, 2);
        dot_piece<B, C, S, J>(len, group_size, row, words, ahead, scales + (j0 + j) * groups + p / group_size,
                              groups, x, p, k, sums + j);
      };
      int j = 0;
      for (; j + together <= count; j += together) piece_of(j, std::integral_constant<int, together>{});
      for (; j < count; ++j) piece_of(j, std::integral_constant<int, 1>{});
    }
    for (int j = 0; j < count; ++j) {
      if (biases) add_biases<S>(groups, biases + (j0 + j) * groups, x.sums, sums[j]);
      for (int s = 0; s < S; ++s) y[s * ldy + j0 + j] = lane_sum(sums[j][s]);
    }
  }
}

// A set's dot products, by kDotRows.
template <class B, Code C, int... I>
constexpr void add_dots(gemm_detail::QuantizedDotFn (&dots)[gemm_detail::kDots],
                        std::integer_sequence<int, I...>) {
  ((dots[I] = dot<B, C, gemm_detail::kDotRows[I]>), ...);
}
using AllDots = std::make_integer_sequence<int, gemm_detail::kDots>;

}  // namespace mlx::core::cpu::MLX_ISA
