// Packers: from any strides and stored type to the panels that the micro-kernels read (kernels.h).
#pragma once

#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {

// 4 x 4 transpose of elements T: out[p][0..3] = rows 0..3 at position p.
template <class T>
MLX_INLINE void transpose4(const T* r0, const T* r1, const T* r2, const T* r3, T* out, int64_t ld) {
  typedef T v4 __attribute__((vector_size(4 * sizeof(T))));
  v4 a, b, c, d;
  __builtin_memcpy(&a, r0, sizeof a);
  __builtin_memcpy(&b, r1, sizeof b);
  __builtin_memcpy(&c, r2, sizeof c);
  __builtin_memcpy(&d, r3, sizeof d);
  const v4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const v4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const v4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const v4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const v4 o0 = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  const v4 o1 = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  const v4 o2 = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  const v4 o3 = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  __builtin_memcpy(out, &o0, sizeof o0);
  __builtin_memcpy(out + ld, &o1, sizeof o1);
  __builtin_memcpy(out + 2 * ld, &o2, sizeof o2);
  __builtin_memcpy(out + 3 * ld, &o3, sizeof o3);
}

// Interleaves R rows of kn elements: out[p * R + r] = rows[r][p]; a null row is zeros.
template <class T, int R>
void interleave(const T* const* rows, int64_t kn, T* out) {
  static constexpr T zeros[4] = {};
  int r = 0;
  for (; r + 4 <= R; r += 4) {
    const T* p[4];
    int64_t step[4];
    for (int i = 0; i < 4; ++i) {
      p[i] = rows[r + i] ? rows[r + i] : zeros;
      step[i] = rows[r + i] ? 1 : 0;
    }
    T* o = out + r;
    int64_t k = 0;
    for (; k + 4 <= kn; k += 4, o += 4 * R)
      transpose4(p[0] + k * step[0], p[1] + k * step[1], p[2] + k * step[2], p[3] + k * step[3], o, R);
    for (; k < kn; ++k, o += R)
      for (int i = 0; i < 4; ++i) o[i] = p[i][k * step[i]];
  }
  for (; r < R; ++r) {
    const T* p = rows[r] ? rows[r] : zeros;
    const int64_t step = rows[r] ? 1 : 0;
    for (int64_t k = 0; k < kn; ++k) out[k * R + r] = p[k * step];
  }
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

inline constexpr int64_t kStage = 64;  // elements of each row staged in L1 before a transpose

// S -> T = Acc<S>, any strides.
template <class S, class T, int R>
void pack(const void* source, int64_t stride_r, int64_t stride_k, int rows, int64_t kn, void* panel) {
  const S* src = static_cast<const S*>(source);
  T* out = static_cast<T*>(panel);
  if (stride_r == 1) return copy_steps<S, T, R>(src, stride_k, rows, kn, out);
  const T* from[R];
  if constexpr (sizeof(S) == sizeof(T)) {
    if (stride_k == 1) {
      for (int r = 0; r < R; ++r) from[r] = r < rows ? src + r * stride_r : nullptr;
      return interleave<T, R>(from, kn, out);
    }
  }
  T stage[R][kStage];
  for (int r = 0; r < R; ++r) from[r] = r < rows ? stage[r] : nullptr;
  for (int64_t k0 = 0; k0 < kn; k0 += kStage) {
    const int64_t len = kn - k0 < kStage ? kn - k0 : kStage;
    for (int r = 0; r < rows; ++r) {
      const S* s = src + r * stride_r + k0 * stride_k;
      if (stride_k == 1 && len == kStage) {
        for (int64_t k = 0; k < kStage; k += kLanes<T>) store(stage[r] + k, load(s + k));
      } else {
        for (int64_t k = 0; k < len; ++k) stage[r][k] = scalar(s[k * stride_k]);
      }
    }
    interleave<T, R>(from, len, out + k0 * R);
  }
}

template <class S, class T, int R>
void pack_rows(const void* const* rows, int64_t kn, void* panel) {
  T* out = static_cast<T*>(panel);
  const T* from[R];
  if constexpr (sizeof(S) == sizeof(T)) {
    for (int r = 0; r < R; ++r) from[r] = static_cast<const T*>(rows[r]);
    interleave<T, R>(from, kn, out);
  } else {
    T stage[R][kStage];
    for (int r = 0; r < R; ++r) from[r] = rows[r] ? stage[r] : nullptr;
    for (int64_t k0 = 0; k0 < kn; k0 += kStage) {
      const int64_t len = kn - k0 < kStage ? kn - k0 : kStage;
      for (int r = 0; r < R; ++r) {
        if (!rows[r]) continue;
        const S* s = static_cast<const S*>(rows[r]) + k0;
        int64_t k = 0;
        for (; k + kLanes<T> <= len; k += kLanes<T>) store(stage[r] + k, load(s + k));
        if (k < len) store(stage[r] + k, load_first(s + k, static_cast<int>(len - k)));
      }
      interleave<T, R>(from, len, out + k0 * R);
    }
  }
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
    const uint32_t* from[R];
    for (int r = 0; r < R; ++r)
      from[r] = r < rows ? reinterpret_cast<const uint32_t*>(src + r * stride_r) : nullptr;
    interleave<uint32_t, R>(from, pairs, out);
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
  interleave<uint32_t, R>(reinterpret_cast<const uint32_t* const*>(rows), kn / 2, out);
  if (kn % 2)
    for (int r = 0; r < R; ++r)
      out[kn / 2 * R + r] = rows[r] ? static_cast<const uint16_t*>(rows[r])[kn - 1] : 0;
}
#endif

}  // namespace mlx::core::cpu::MLX_ISA
