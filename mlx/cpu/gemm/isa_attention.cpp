// Attention's passes over tiles of scores, for one instruction set.
#include "mlx/cpu/gemm/attention_kernels.h"
#include "mlx/cpu/gemm/kernel_tile.h"
#include "mlx/cpu/gemm/pack.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::kMaskedScore;

constexpr int L = kLanes<float>;
constexpr int kNr = kNv * L;
constexpr float kLog2e = 1.442695040888963f;

typedef int32_t vi __attribute__((vector_size(kVecBytes)));

// 2^x for x <= 128, within 2 ulp; 0 below 2^-126, nan stays nan. Polynomial: Cephes, exp2f. Masked scores end
// there, and an instruction whose result is too small takes a thousand cycles: none may come about.
MLX_INLINE vf exp2(vf x) {
#if MLX_ISA_LEVEL >= 4
  const __mmask16 kept = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
#else
  x = x < -150.0f ? splat(-150.0f) : x;
#endif
  const vf shifted = x + 0x1.8p23f;  // the integer part stands in the low bits
  const vf n = shifted - 0x1.8p23f;
  const vf f = x - n;
  vf p = splat(1.535336188319500e-4f);
  p = fma(p, f, splat(1.339887440266574e-3f));
  p = fma(p, f, splat(9.618437357674640e-3f));
  p = fma(p, f, splat(5.550332471162809e-2f));
  p = fma(p, f, splat(2.402264791363012e-1f));
  p = fma(p, f, splat(6.931472028550421e-1f));
  p = fma(p, f, splat(1.0f));
#if MLX_ISA_LEVEL >= 4
  return _mm512_maskz_scalef_ps(kept, p, n);
#else
  const vu power = (as_bits(shifted) - 0x4b400000u + 127u) << 23;
  return n < -126.0f ? vf{} : x != x ? x : p * as_float(power);
#endif
}

MLX_INLINE vf max(vf a, vf b) { return a > b ? a : b; }

void scale(float* x, int64_t n, float factor) {  // n is a multiple of the lanes
  for (int64_t i = 0; i < n; i += L) store(x + i, vf(load(x + i) * factor));
}

void softmax_tile(float* s, int64_t keys, float* m, float* l, float* correction) {
#pragma GCC unroll 4
  for (int v = 0; v < kNv; ++v) {
    float* column = s + v * L;
    const vf old = load(m + v * L);
    vf top[4] = {old, old, old, old};
    int64_t k = 0;
    for (; k + 4 <= keys; k += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) top[i] = max(load(column + (k + i) * kNr), top[i]);
    for (; k < keys; ++k) top[0] = max(load(column + k * kNr), top[0]);
    const vf now = max(max(top[0], top[1]), max(top[2], top[3]));
    // -inf minus -inf would be a nan: while nothing but -inf was seen, sums stay 0.
    const vf base = now == -__builtin_inff() ? vf{} : now;
    const vf shrink = exp2(old - base);
    vf sum[2] = {};
    for (k = 0; k + 2 <= keys; k += 2)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const vf p = exp2(load(column + (k + i) * kNr) - base);
        store(column + (k + i) * kNr, p);
        sum[i] += p;
      }
    for (; k < keys; ++k) {
      const vf p = exp2(load(column + k * kNr) - base);
      store(column + k * kNr, p);
      sum[0] += p;
    }
    store(m + v * L, now);
    store(l + v * L, fma(load(l + v * L), shrink, sum[0] + sum[1]));
    store(correction + v * L, shrink);
  }
}

void rescale(float* o, int64_t rows, const float* correction) {
  vf c[kNv];
  bool same = true;
  for (int v = 0; v < kNv; ++v) {
    c[v] = load(correction + v * L);
    for (int i = 0; i < L; ++i) same &= correction[v * L + i] == 1.0f;
  }
  if (same) return;
  for (int64_t r = 0; r < rows; ++r, o += kNr)
#pragma GCC unroll 4
    for (int v = 0; v < kNv; ++v) store(o + v * L, vf(load(o + v * L) * c[v]));
}

template <class T>
void store_transposed(const float* o, int64_t rows, int lanes, const float* factor, void* out,
                      int64_t stride) {
  T* to = static_cast<T*>(out);
  for (int v = 0; v < kNv; ++v) {
    const int here = lanes - v * L < L ? lanes - v * L : L;
    if (here <= 0) break;
    const vf f = load(factor + v * L);
    for (int64_t r = 0; r < rows; r += L) {
      const int count = static_cast<int>(rows - r < L ? rows - r : L);
      vf block[L] = {};
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i)
        if (i < count) block[i] = load(o + (r + i) * kNr + v * L) * f;
      transpose_steps<L / 2, float>(block);
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) {
        if (i >= here) break;
        T* p = to + (v * L + i) * stride + r;
        if (count == L) {
          store(p, block[i]);
        } else {
          store_first(p, block[i], count);
        }
      }
    }
  }
}

void causal_tile(float* s, int64_t keys, int64_t key0, int64_t query0) {
  vi lane[kNv];
  for (int v = 0; v < kNv; ++v)
    for (int i = 0; i < L; ++i) lane[v][i] = v * L + i;
  for (int64_t k = 0; k < keys; ++k, s += kNr) {
    const int64_t first = key0 + k - query0;  // lanes below it do not see this key
    if (first <= 0) continue;
    const int32_t bound = static_cast<int32_t>(first < kNr ? first : kNr);
#pragma GCC unroll 4
    for (int v = 0; v < kNv; ++v) store(s + v * L, lane[v] < bound ? splat(kMaskedScore) : load(s + v * L));
  }
}

void bool_tile(float* s, int64_t n, const uint8_t* mask) {
  for (int64_t i = 0; i < n; ++i) s[i] = mask[i] ? s[i] : kMaskedScore;
}

void add_tile(float* s, int64_t n, const float* mask) {
  for (int64_t i = 0; i < n; i += L) store(s + i, fma(load(mask + i), splat(kLog2e), load(s + i)));
}

void softmax_row(float* x, int64_t n, float factor, float* m, float* l) {
  vf top = splat(*m);
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const vf v = load(x + i);
    // A masked score stays what it is, whatever the factor.
    const vf scaled = v == kMaskedScore ? v : vf(v * factor);
    store(x + i, scaled);
    top = max(scaled, top);
  }
  for (; i < n; ++i) {
    x[i] = x[i] == kMaskedScore ? x[i] : x[i] * factor;
    top[0] = x[i] > top[0] ? x[i] : top[0];
  }
  float now = top[0];
  for (int j = 1; j < L; ++j) now = top[j] > now ? top[j] : now;
  const float base = now == -__builtin_inff() ? 0.0f : now;
  *l *= exp2(splat(*m - base))[0];
  *m = now;
  vf sum = {};
  for (i = 0; i + L <= n; i += L) {
    const vf p = exp2(load(x + i) - base);
    store(x + i, p);
    sum += p;
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const vf p = exp2(load_first(x + i, rest) - base);
    store_first(x + i, p, rest);
    sum += load_first(x + i, rest);
  }
  *l += lane_sum(sum);
}

void grad_lanes(const float* s, float* dp, int64_t keys, const float* m, const float* inverse,
                const float* delta) {
#pragma GCC unroll 4
  for (int v = 0; v < kNv; ++v) {
    const vf top = load(m + v * L), inv = load(inverse + v * L), del = load(delta + v * L);
    for (int64_t k = 0; k < keys; ++k) {
      const vf x = load(s + k * kNr + v * L);
      const vf p = exp2(x - top) * inv;
      const vf g = p * (load(dp + k * kNr + v * L) - del);
      store(dp + k * kNr + v * L, x == kMaskedScore ? vf{} : g);
    }
  }
}

void grad_rows(float* s, float* dp, int64_t rows, const float* m, const float* inverse, const float* delta) {
  for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kNv; ++v) {
      const vf x = load(s + r * kNr + v * L);
      const vf p = exp2(x - m[r]) * inverse[r];
      const vf g = p * (load(dp + r * kNr + v * L) - delta[r]);
      store(s + r * kNr + v * L, p);
      store(dp + r * kNr + v * L, x == kMaskedScore ? vf{} : g);
    }
}

constexpr AttentionTable make_table() {
  AttentionTable t{};
  t.scale = scale;
  t.softmax_tile = softmax_tile;
  t.rescale = rescale;
  t.store_transposed[gemm_detail::kF32] = store_transposed<float>;
  t.store_transposed[gemm_detail::kF16] = store_transposed<f16>;
  t.store_transposed[gemm_detail::kBf16] = store_transposed<bf16>;
  t.causal_tile = causal_tile;
  t.bool_tile = bool_tile;
  t.add_tile = add_tile;
  t.softmax_row = softmax_row;
  t.grad_lanes = grad_lanes;
  t.grad_rows = grad_rows;
  return t;
}

}  // namespace

const AttentionTable& attention_kernels_table() {
  static constexpr AttentionTable table = make_table();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
