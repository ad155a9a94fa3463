#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

template <class R>
struct IsNotUnary {
  static constexpr bool value = R::arity != 1;
};
// (a F b) G c, or c G (a F b).
template <class F, class G, bool exchanged>
struct PairRow : row::Row<3> {};
template <class F, class G, bool exchanged>
float value(PairRow<F, G, exchanged>, float a, float b, float c) {
  const float x = value(F{}, a, b);
  return exchanged ? value(G{}, c, x) : value(G{}, x, c);
}
// n is a multiple of 16.
template <class R, int numbers>
MLX_OUTLINED void vectors_with_numbers(float* out, int64_t n, const float* a, const float* b,
                                       const float* c) {
  const auto at = [](const float* x, float number, int64_t i, int which) {
    return (numbers & which) != 0 ? number : x[i];
  };
  const float first = *a, second = *b;
  n &= -16;
  if constexpr (R::arity == 2) {
    MLX_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) out[i] = value(R{}, at(a, first, i, 1), at(b, second, i, 2));
  } else {
    const float third = *c;
    MLX_INDEPENDENT
    for (int64_t i = 0; i < n; ++i)
      out[i] = value(R{}, at(a, first, i, 1), at(b, second, i, 2), at(c, third, i, 4));
  }
}
template <class R, int numbers>
void tile_with_numbers(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const float* in[3] = {static_cast<const float*>(a), static_cast<const float*>(b),
                        static_cast<const float*>(c)};
  float* y = static_cast<float*>(out);
  const int64_t whole = n & -16;
  if (whole == n) return vectors_with_numbers<R, numbers>(y, whole, in[0], in[1], in[2]);
  if (whole != 0) {  // as run() does it
    alignas(64) float rest[16];
    const auto end = [&](int k) { return (numbers >> k & 1) != 0 ? in[k] : in[k] + (n - 16); };
    vectors_with_numbers<R, numbers>(rest, 16, end(0), end(1), R::arity == 3 ? end(2) : nullptr);
    vectors_with_numbers<R, numbers>(y, whole, in[0], in[1], in[2]);
    __builtin_memcpy(y + (n - 16), rest, sizeof(rest));
    return;
  }
  alignas(64) float copy[3][16] = {}, rest[16];
  for (int k = 0; k < R::arity; ++k) {
    const bool number = (numbers >> k & 1) != 0;  // kNumber[k], which would be a symbol outside of MLX_ISA
    __builtin_memcpy(copy[k], in[k], number ? sizeof(float) : static_cast<size_t>(n) * sizeof(float));
  }
  vectors_with_numbers<R, numbers>(rest, 16, copy[0], copy[1], copy[2]);
  __builtin_memcpy(y, rest, static_cast<size_t>(n) * sizeof(float));
}
template <class R, int... numbers>
void enter_numbers(Tiles::Fn* to) {
  ((to[numbers] = tile_with_numbers<R, numbers>), ...);
}
template <class... Rows>
void enter_numbers_of(Tiles& tiles) {
  (enter_numbers<Rows, 1, 2>(tiles.with_number[row::op_of<Rows>]), ...);
}
template <class R, bool commutative>
void enter_pair_numbers(Tiles::Fn* to) {
  enter_numbers<R, 2, 4, 6>(to);
  if constexpr (!commutative) enter_numbers<R, 1, 5>(to);
}

template <class F, bool commutative>
void enter_pairs(Tiles::Fn (&to)[4], Tiles::Fn (&numbers)[4][8]) {
  to[0] = tile<PairRow<F, row::Add, false>, float>;
  to[1] = tile<PairRow<F, row::Subtract, false>, float>;
  to[2] = tile<PairRow<F, row::Multiply, false>, float>;
  to[3] = tile<PairRow<F, row::Subtract, true>, float>;
  enter_pair_numbers<PairRow<F, row::Add, false>, commutative>(numbers[0]);
  enter_pair_numbers<PairRow<F, row::Subtract, false>, commutative>(numbers[1]);
  enter_pair_numbers<PairRow<F, row::Multiply, false>, commutative>(numbers[2]);
  enter_pair_numbers<PairRow<F, row::Subtract, true>, commutative>(numbers[3]);
}

#if MLX_ISA_LEVEL >= 4
// Where y has lost digits to cancellation, the operands are brought together and go through float64.
MLX_OUTLINED void careful_logaddexp(float* y, const int32_t* place, float* a, float* b, int64_t count) {
  int64_t end = count;
  for (; end % 16 != 0; ++end) a[end] = b[end] = 0;
  alignas(64) float careful[512];
  MLX_INDEPENDENT
  for (int64_t i = 0; i < end; ++i) careful[i] = slow_value(row::LogAddExp{}, a[i], b[i]);
  for (int64_t k = 0; k < count; ++k) y[place[k]] = careful[k];
}
void tile_of_logaddexp(void* out, const void* a_, const void* b_, const void*, int64_t n) {
  constexpr int64_t piece = 512;
  alignas(64) float first[piece + 16], second[piece + 16];
  alignas(64) int32_t place[piece + 16];
  for (int64_t begin = 0; begin < n; begin += piece) {
    const int64_t m = n - begin < piece ? n - begin : piece;
    const float* a = static_cast<const float*>(a_) + begin;
    const float* b = static_cast<const float*>(b_) + begin;
    float* y = static_cast<float*>(out) + begin;
    int64_t count = 0;
    const auto compute = [&](int64_t i, Wide p, Wide q, __mmask16 lanes) {
      const auto [sum, cancels] = wide512::logaddexp(p, q);
      if (const __mmask16 slow = cancels & lanes; slow != 0) {
        const __m512i ordinal = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(i)), ordinal);
        store_wide(first + count, _mm512_maskz_compress_ps(slow, p));
        store_wide(second + count, _mm512_maskz_compress_ps(slow, q));
        _mm512_storeu_si512(place + count, _mm512_maskz_compress_epi32(slow, numbers));
        count += __builtin_popcount(slow);
      }
      return sum;
    };
    int64_t i = 0;
    for (; i + 16 <= m; i += 16) store_wide(y + i, compute(i, load_wide(a + i), load_wide(b + i), 0xffff));
    if (i < m) {
      const auto lanes = static_cast<__mmask16>((1u << (m - i)) - 1);
      const Wide p = _mm512_maskz_loadu_ps(lanes, a + i), q = _mm512_maskz_loadu_ps(lanes, b + i);
      _mm512_mask_storeu_ps(y + i, lanes, compute(i, p, q, lanes));
    }
    if (count != 0) careful_logaddexp(y, place, first, second, count);
  }
}
#else
// Rows whose slow code is free of branches too, and often asked for: the arguments that need it are brought
// together and go through it as vectors.
template <class R>
MLX_OUTLINED void slow_vectors(float* out, int64_t n, const float* a, const float* b) {
  n &= -16;
  MLX_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = slow_value(R{}, a[i], b[i]);
}
template <class R>
MLX_OUTLINED void ask(uint8_t* slow, int64_t n, const float* a, const float* b) {
  MLX_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) slow[i] = static_cast<uint8_t>(is_slow(R{}, a[i], b[i]));
}
template <class R>
void tile_with_slow_vectors(void* out, const void* a_, const void* b_, const void*, int64_t n) {
  constexpr int64_t piece = 512;
  alignas(64) float first[piece], second[piece], careful[piece];
  int32_t place[piece];
  uint8_t slow[piece];
  for (int64_t begin = 0; begin < n; begin += piece) {
    const int64_t m = n - begin < piece ? n - begin : piece;
    const float* a = static_cast<const float*>(a_) + begin;
    const float* b = static_cast<const float*>(b_) + begin;
    float* y = static_cast<float*>(out) + begin;
    ask<R>(slow, m, a, b);
    if (m < piece) __builtin_memset(slow + m, 0, static_cast<size_t>(-m & 7));
    // Eight at a time, of which mostly none is slow. A place is written in any case and kept where it is: no
    // branch to guess.
    int64_t count = 0;
    for (int64_t i = 0; i < m; i += 8) {
      uint64_t any;
      __builtin_memcpy(&any, slow + i, sizeof(any));
      if (any == 0) continue;
      for (int64_t k = i; k < i + 8; ++k) {
        place[count] = static_cast<int32_t>(k);
        count += slow[k];
      }
    }
    for (int64_t k = 0; k < count; ++k) first[k] = a[place[k]], second[k] = b[place[k]];
    int64_t end = count;
    for (; end % 16 != 0; ++end) first[end] = second[end] = 0;
    run<R, float, float>(y, m, a, b);
    slow_vectors<R>(careful, end, first, second);
    for (int64_t k = 0; k < count; ++k) y[place[k]] = careful[k];
  }
}

#endif

void enter_float32_binary(Tiles& tiles) {
  enter<float, IsNotUnary>(tiles, row::Table{});
#if MLX_ISA_LEVEL >= 4
  const Tiles::Fn logaddexp = tile_of_logaddexp;
#else
  const Tiles::Fn logaddexp = tile_with_slow_vectors<row::LogAddExp>;
#endif
  tiles.op[row::op_of<row::LogAddExp>][static_cast<int>(Dtype::Val::float32)] = logaddexp;
  enter_pairs<row::Add, true>(tiles.pair[0], tiles.pair_with_number[0]);
  enter_pairs<row::Subtract, false>(tiles.pair[1], tiles.pair_with_number[1]);
  enter_pairs<row::Multiply, true>(tiles.pair[2], tiles.pair_with_number[2]);
  enter_numbers_of<row::Add, row::Subtract, row::Multiply, row::Divide, row::Maximum, row::Minimum,
                   row::LeakyRelu, row::Huber, row::HardShrink, row::SoftShrink>(tiles);
  enter_numbers<row::Clip, 2, 4, 6>(tiles.with_number[row::op_of<row::Clip>]);
  enter_numbers<row::NanToNum, 2, 4, 6>(tiles.with_number[row::op_of<row::NanToNum>]);
}

}  // namespace mlx::core::cpu::MLX_ISA
