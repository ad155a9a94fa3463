// Packers: from any strides and stored type to the panels that the micro-kernels read (kernels.h).
#pragma once

#include <utility>

#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {

// One step of the transpose of L x L elements: rows i and i + S exchange their off-diagonal S x S blocks.
template <int S, class T, int... I>
MLX_INLINE void exchange(Vec<T>& a, Vec<T>& b, std::integer_sequence<int, I...>) {
  constexpr int L = kLanes<T>;
  const Vec<T> x = a, y = b;
  a = __builtin_shufflevector(x, y, (I & S ? L + I - S : I)...);
  b = __builtin_shufflevector(x, y, (I & S ? L + I : I + S)...);
}
template <int S, class T>
MLX_INLINE void transpose_steps(Vec<T>* v) {
  constexpr int L = kLanes<T>;
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i)
    if (!(i & S)) exchange<S, T>(v[i], v[i + S], std::make_integer_sequence<int, L>{});
  if constexpr (S > 1) transpose_steps<S / 2, T>(v);
}

// The first N lanes, N known when compiling.
template <int N, class T>
MLX_INLINE void store_lanes(T* p, Vec<T> v) {
  if constexpr (N == kLanes<T>) {
    store(p, v);
  } else if constexpr (kVecBytes == 64) {
    store_first(p, v, N);
  } else {
    __builtin_memcpy(p, &v, N * sizeof(T));
  }
}

// Block of L rows and `len` <= L elements along k, transposed in registers: each cache line is read once.
template <class S, class T, int R, int Group, bool Full>
MLX_INLINE void interleave_block(const S* const* rows, int64_t k, int len, T* out) {
  constexpr int L = kLanes<T>;
  constexpr int first = Group * L, count = R - first < L ? R - first : L;
  Vec<T> v[L] = {};
#pragma GCC unroll 16
  for (int i = 0; i < count; ++i)
    if (rows[first + i]) {
      v[i] = Full ? load(rows[first + i] + k) : load_first(rows[first + i] + k, len);
      // More streams than the hardware follows: two cache lines ahead.
      if constexpr (Full) __builtin_prefetch(rows[first + i] + k + 192 / sizeof(S));
    }
  transpose_steps<L / 2, T>(v);
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i)
    if (Full || i < len) store_lanes<count>(out + i * R + first, v[i]);
}
template <class S, class T, int R, bool Full, int... Group>
MLX_INLINE void interleave_blocks(const S* const* rows, int64_t k, int len, T* out,
                                  std::integer_sequence<int, Group...>) {
  (interleave_block<S, T, R, Group, Full>(rows, k, len, out), ...);
}

// Interleaves R rows of kn elements: out[p * R + r] = rows[r][p]; a null row is zeros.
template <class S, class T, int R>
void interleave(const S* const* rows, int64_t kn, T* out) {
  constexpr int L = kLanes<T>;
  using Groups = std::make_integer_sequence<int, (R + L - 1) / L>;
  int64_t k = 0;
  for (; k + L <= kn; k += L) interleave_blocks<S, T, R, true>(rows, k, L, out + k * R, Groups{});
  if (k < kn) interleave_blocks<S, T, R, false>(rows, k, static_cast<int>(kn - k), out + k * R, Groups{});
}

// Rows of R elements that already lie side by side: one copy (with conversion) per k.
template <class S, class T, int R>
void copy_steps(const S* src, int64_t stride_k, int rows, int64_t kn, T* out) {
  constexpr int lanes = kLanes<T>;
  if (rows == R && R % lanes == 0) {
    for (int64_t k = 0; k < kn; ++k, src += stride_k, out += R)
#pragma GCC unroll 4
      for (int r = 0; r < R / lanes; ++r) store(out + r * lanes, load(src + r * lanes));
    return;
  }
  if constexpr (sizeof(S) == sizeof(T) && kVecBytes < 64) {
    if (rows == R) {  // masked stores take many cycles on some processors
      for (int64_t k = 0; k < kn; ++k, src += stride_k, out += R) __builtin_memcpy(out, src, R * sizeof(T));
      return;
    }
  }
  for (int64_t k = 0; k < kn; ++k, src += stride_k, out += R) {
    int r = 0;
    for (; r + lanes <= rows; r += lanes) store(out + r, load(src + r));
    if (r < rows) {
      const Vec<T> v = load_first(src + r, rows - r);
      if (r + lanes <= R) {
        store(out + r, v);
        r += lanes;
      } else {
        store_first(out + r, v, R - r);
        r = R;
      }
    }
    for (; r < R; ++r) out[r] = T(0);
  }
}

inline constexpr int64_t kStage = 64;  // elements of each row gathered in L1 before a transpose

// S -> T = Acc<S>, any strides.
template <class S, class T, int R>
void pack(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn, void* panel) {
  const S* src = static_cast<const S*>(source);
  T* out = static_cast<T*>(panel);
  if (stride_r == 1) return copy_steps<S, T, R>(src, stride_k, rows, kn, out);
  const S* from[R] = {};
  if (stride_k == 1) {
    for (int r = 0; r < rows; ++r) from[r] = src + r * stride_r;
    return interleave<S, T, R>(from, kn, out);
  }
  S stage[R][kStage];
  for (int r = 0; r < rows; ++r) from[r] = stage[r];
  for (int64_t k0 = 0; k0 < kn; k0 += kStage) {
    const int64_t len = kn - k0 < kStage ? kn - k0 : kStage;
    for (int r = 0; r < rows; ++r) {
      const S* s = src + r * stride_r + k0 * stride_k;
      for (int64_t k = 0; k < len; ++k) stage[r][k] = s[k * stride_k];
    }
    interleave<S, T, R>(from, len, out + k0 * R);
  }
}

template <class S, class T, int R>
void pack_rows(const void* const* rows, int64_t kn, void* panel) {
  interleave<S, T, R>(reinterpret_cast<const S* const*>(rows), kn, static_cast<T*>(panel));
}

// A complex operand whose rows are read as 2 * k floats (kn counts floats and is even).
template <int R>
void pack_complex_rows(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn,
                       void* panel) {
  const float* src = static_cast<const float*>(source);
  float* out = static_cast<float*>(panel);
  if (stride_k == 1) return pack<float, float, R>(src, 2 * stride_r, 1, rows, kn, out);
  for (int64_t k = 0; k < kn / 2; ++k, out += 2 * R)
    for (int r = 0; r < R; ++r) {
      const float* s = src + 2 * (r * stride_r + k * stride_k);
      out[r] = r < rows ? s[0] : 0;
      out[R + r] = r < rows ? s[1] : 0;
    }
}

// The other complex operand: each element becomes [re im; -im re]. `rows` and kn count floats and are even.
template <int R>
void pack_complex_pairs(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn,
                        void* panel) {
  const float* src = static_cast<const float*>(source);
  float* out = static_cast<float*>(panel);
  for (int64_t k = 0; k < kn / 2; ++k, out += 2 * R)
    for (int r = 0; r < R; r += 2) {
      const float* s = src + 2 * (r / 2 * stride_r + k * stride_k);
      const float re = r < rows ? s[0] : 0, im = r < rows ? s[1] : 0;
      out[r] = re;
      out[r + 1] = im;
      out[R + r] = -im;
      out[R + r + 1] = re;
    }
}

#if MLX_ISA_LEVEL >= 5
// bfloat16 kept as pairs along k: 32-bit elements that transpose like floats.
template <int R>
void pack_bf16(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn, void* panel) {
  const uint16_t* src = static_cast<const uint16_t*>(source);
  uint32_t* out = static_cast<uint32_t*>(panel);
  const int64_t pairs = kn / 2;
  if (stride_k == 1) {
    const float* from[R] = {};  // pairs move as floats do
    for (int r = 0; r < rows; ++r) from[r] = reinterpret_cast<const float*>(src + r * stride_r);
    interleave<float, float, R>(from, pairs, static_cast<float*>(panel));
  } else if (stride_r == 1 && rows == R && R % 16 == 0) {
    const uint16_t* s = src;
    uint32_t* o = out;
    for (int64_t k = 0; k < pairs; ++k, s += 2 * stride_k, o += R)
      for (int r = 0; r < R; r += 16) {
        const __m512i low =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(s + r)));
        const __m512i high =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(s + stride_k + r)));
        _mm512_storeu_si512(o + r, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
  } else {
    for (int64_t k = 0; k < pairs; ++k)
      for (int r = 0; r < R; ++r) {
        const uint16_t* s = src + r * stride_r + 2 * k * stride_k;
        out[k * R + r] = r < rows ? s[0] | static_cast<uint32_t>(s[stride_k]) << 16 : 0;
      }
  }
  if (kn % 2)
    for (int r = 0; r < R; ++r) out[pairs * R + r] = r < rows ? src[r * stride_r + (kn - 1) * stride_k] : 0;
}

template <int R>
void pack_bf16_rows(const void* const* rows, int64_t kn, void* panel) {  // kn is even but for the last run
  uint32_t* out = static_cast<uint32_t*>(panel);
  interleave<float, float, R>(reinterpret_cast<const float* const*>(rows), kn / 2,
                              static_cast<float*>(panel));
  if (kn % 2)
    for (int r = 0; r < R; ++r)
      out[kn / 2 * R + r] = rows[r] ? static_cast<const uint16_t*>(rows[r])[kn - 1] : 0;
}
#endif

}  // namespace mlx::core::cpu::MLX_ISA
