#include "mlx/cpu/isa/recurrent.h"

#include "mlx/cpu/isa/lane_values.h"
#if MLX_ISA_LEVEL >= 4
#include "mlx/cpu/isa/vector_values.h"
#elif MLX_ISA_LEVEL == 3
#include "mlx/cpu/isa/vector_values_avx2.h"
#endif

namespace mlx::core::cpu::MLX_ISA {
namespace {

using rows::splat;

// --- cells, on as many numbers as functions take at a time ---

#if MLX_ISA_LEVEL >= 4
using W = V;
W sigmoid(W x) { return vector_value(row::Sigmoid{}, x); }
W tanh(W x) { return vector_value(row::Tanh{}, x); }
W above_zero(W x) { return _mm512_max_ps(V{}, x); }  // this way round a nan passes
W where_above_zero(W x, W y) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, V{}, _CMP_GT_OQ), y); }
#elif MLX_ISA_LEVEL == 3
using W = Wide;
using wide256::operator+, wide256::operator-, wide256::operator*;
W sigmoid(W x) { return vector_value(row::Sigmoid{}, x); }
W tanh(W x) { return vector_value(row::Tanh{}, x); }
W above_zero(W x) { return wide256::at_least(x, 0.0f); }
W where_above_zero(W x, W y) {
  const __m256 zero = _mm256_setzero_ps();
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, zero, _CMP_GT_OQ), y.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, zero, _CMP_GT_OQ), y.b)};
}
#else
using W = V;
W sigmoid(W x) {
  for (int k = 0; k < kWidth; ++k) x[k] = value(row::Sigmoid{}, x[k]);
  return x;
}
W tanh(W x) {
  for (int k = 0; k < kWidth; ++k) x[k] = value(row::Tanh{}, x[k]);
  return x;
}
W above_zero(W x) { return choose(mask(x < 0.0f), V{}, x); }
W where_above_zero(W x, W y) { return choose(mask(x > 0.0f), y, V{}); }
#endif
constexpr int kWide = sizeof(W) / sizeof(float);

#if MLX_ISA_LEVEL == 3
W every(float x) { return wide256::constant(x); }
W get(const float* p) { return load_wide(p); }
W get(const float* p, int64_t count) {
  return {rows::load_part(p, count < 8 ? count : 8, 0.0f),
          rows::load_part(p + 8, count < 8 ? 0 : count - 8, 0.0f)};
}
void put(float* p, W x) { store_wide(p, x); }
void put(float* p, W x, int64_t count) {
  rows::store_part(p, count < 8 ? count : 8, V(x.a));
  if (count > 8) rows::store_part(p + 8, count - 8, V(x.b));
}
#else
W every(float x) { return splat<V>(x); }
W get(const float* p) { return rows::load(p); }
W get(const float* p, int64_t count) { return rows::load_part(p, count, 0.0f); }
void put(float* p, W x) { rows::store(p, x); }
void put(float* p, W x, int64_t count) { rows::store_part(p, count, x); }
#endif
W slope_of_sigmoid(W y) { return y * (every(1.0f) - y); }
W slope_of_tanh(W y) { return every(1.0f) - y * y; }

// f(row, unit, get, put) for all rows, kWide units at a time; the last ones of a row through other functions.
template <class F>
void each(int64_t rows, int64_t begin, int64_t end, F f) {
  for (int64_t r = 0; r < rows; ++r) {
    int64_t u = begin;
    for (; u + kWide <= end; u += kWide)
      f(r, u, [](const float* p) { return get(p); }, [](float* p, W x) { put(p, x); });
    if (u < end)
      f(
          r, u, [n = end - u](const float* p) { return get(p, n); },
          [n = end - u](float* p, W x) { put(p, x, n); });
  }
}

template <bool kTanh>
struct Simple {
  static void forward(const RecurrentForward& s) {
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      float* h = s.hidden + r * s.size + u;
      put(h, kTanh ? tanh(get(h)) : above_zero(get(h)));
    });
  }
  static void backward(const RecurrentBackward& s) {
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      const int64_t at = r * s.size + u;
      const W by_h = get(s.from_hidden + at) + get(s.by_hidden.at + r * s.by_hidden.row + u);
      const W h = get(s.states + at);
      put(s.by_given + at, kTanh ? by_h * slope_of_tanh(h) : where_above_zero(h, by_h));
    });
  }
};

struct Gru {
  static void forward(const RecurrentForward& s) {
    const int64_t n = s.size;
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      float* gates = s.gates + 4 * r * n + u;
      const W reset = sigmoid(get(gates)), keep = sigmoid(get(gates + n));
      const W fresh = tanh(get(s.given + (3 * r + 2) * n + u) + reset * get(gates + 3 * n));
      put(gates, reset);
      put(gates + n, keep);
      put(gates + 2 * n, fresh);
      put(s.hidden + r * n + u, (every(1.0f) - keep) * fresh + keep * get(s.hidden_before + r * n + u));
    });
  }
  static void backward(const RecurrentBackward& s) {
    const int64_t n = s.size;
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      const float* gates = s.gates + 4 * r * n + u;
      const float* by = s.by_gates.at + r * s.by_gates.row + u;
      float *from_hidden = s.from_hidden + r * n + u, *by_given = s.by_given + 3 * r * n + u;
      const W reset = get(gates), keep = get(gates + n), fresh = get(gates + 2 * n);
      const W by_h = get(from_hidden) + get(s.by_hidden.at + r * s.by_hidden.row + u);
      const W by_fresh = (by_h * (every(1.0f) - keep) + get(by + 2 * n)) * slope_of_tanh(fresh);
      const W by_keep = by_h * (get(s.before + r * n + u) - fresh) + get(by + n);
      const W by_reset = by_fresh * get(gates + 3 * n) + get(by);
      put(by_given, by_reset * slope_of_sigmoid(reset));
      put(by_given + n, by_keep * slope_of_sigmoid(keep));
      put(by_given + 2 * n, by_fresh);
      put(s.by_product + r * n + u, by_fresh * reset + get(by + 3 * n));
      put(from_hidden, by_h * keep);
    });
  }
};

struct Lstm {
  static void forward(const RecurrentForward& s) {
    const int64_t n = s.size;
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      float* gates = s.gates + 4 * r * n + u;
      const W i = sigmoid(get(gates)), f = sigmoid(get(gates + n));
      const W g = tanh(get(gates + 2 * n)), o = sigmoid(get(gates + 3 * n));
      const W cell = f * get(s.cell_before + r * n + u) + i * g;
      put(gates, i);
      put(gates + n, f);
      put(gates + 2 * n, g);
      put(gates + 3 * n, o);
      put(s.cell + r * n + u, cell);
      put(s.hidden + r * n + u, o * tanh(cell));
    });
  }
  static void backward(const RecurrentBackward& s) {
    const int64_t n = s.size;
    each(s.rows, s.begin, s.end, [&](int64_t r, int64_t u, auto get, auto put) {
      const float* gates = s.gates + 4 * r * n + u;
      const float* by = s.by_gates.at + r * s.by_gates.row + u;
      float *from_cell = s.from_cell + r * n + u, *by_given = s.by_given + 4 * r * n + u;
      const W i = get(gates), f = get(gates + n), g = get(gates + 2 * n), o = get(gates + 3 * n);
      const W active = tanh(get(s.states + r * n + u));
      const W by_h = get(s.from_hidden + r * n + u) + get(s.by_hidden.at + r * s.by_hidden.row + u);
      const W by_c =
          get(from_cell) + get(s.by_cell.at + r * s.by_cell.row + u) + by_h * o * slope_of_tanh(active);
      put(by_given, (by_c * g + get(by)) * slope_of_sigmoid(i));
      put(by_given + n, (by_c * get(s.before + r * n + u) + get(by + n)) * slope_of_sigmoid(f));
      put(by_given + 2 * n, (by_c * i + get(by + 2 * n)) * slope_of_tanh(g));
      put(by_given + 3 * n, (by_h * active + get(by + 3 * n)) * slope_of_sigmoid(o));
      put(from_cell, by_c * f);
    });
  }
};

}  // namespace

const RecurrentKernels& recurrent_kernels_table() {
  static const RecurrentKernels table = {
      kWide,
      {Simple<true>::forward, Simple<false>::forward, Gru::forward, Lstm::forward},
      {Simple<true>::backward, Simple<false>::backward, Gru::backward, Lstm::backward}};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
