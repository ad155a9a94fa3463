#include "mlx/cpu/isa/vectors.h"

#include "mlx/cpu/isa/scalar.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Vectors {
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;

  // Elements of a and b by turns: of their first halves, or of their second ones.
  template <int kHalf, int... I>
  static V by_turns(V a, V b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, (kHalf * (kN / 2) + I / 2 + I % 2 * kN)...);
  }
  // log2(kN) times rows of the upper and the lower half by turns: row i, column j becomes row j, column i.
  static void transpose_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
    constexpr auto lanes = std::make_integer_sequence<int, kN>{};
    V x[kN], y[kN];
    for (int i = 0; i < kN; ++i) x[i] = loadu<V>(from + i * from_stride);
    for (int step = 1; step < kN; step *= 2) {
      for (int i = 0; i < kN / 2; ++i) {
        y[2 * i] = by_turns<0>(x[i], x[i + kN / 2], lanes);
        y[2 * i + 1] = by_turns<1>(x[i], x[i + kN / 2], lanes);
      }
      for (int i = 0; i < kN; ++i) x[i] = y[i];
    }
    for (int i = 0; i < kN; ++i) storeu(to + i * to_stride, x[i]);
  }
  static void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
                        int64_t to_stride) {
    const auto some = [&](int64_t i, int64_t end, int64_t first) {
      for (int64_t j = first; j < columns; ++j)
        for (int64_t k = i; k < end; ++k) to[j * to_stride + k] = from[k * from_stride + j];
    };
    const int64_t whole = rows / kN * kN;
    for (int64_t i = 0; i < whole; i += kN) {
      int64_t j = 0;
      for (; j + kN <= columns; j += kN)
        transpose_square(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
      some(i, i + kN, j);
    }
    some(whole, rows, 0);
  }

  static void rotate(T* z, int64_t stride, int64_t columns, const T* c, const T* s, const int32_t* at,
                     int64_t count) {
    constexpr int kParts = 4;
    int64_t k = 0;
    for (; k + kParts * kN <= columns; k += kParts * kN) rotate_part<kParts>(z + k, stride, c, s, at, count);
    for (; k + kN <= columns; k += kN) rotate_part<1>(z + k, stride, c, s, at, count);
    for (; k < columns; ++k)
      for (int64_t r = 0; r < count; ++r) {
        T *x = z + k + at[r] * stride, *y = x + stride;
        const T a = *x, b = *y;
        *x = c[r] * a - s[r] * b;
        *y = s[r] * a + c[r] * b;
      }
  }
  // In runs that go up or down row by row: the row that the next rotation wants again stays in registers.
  template <int kParts>
  static void rotate_part(T* z, int64_t stride, const T* c, const T* s, const int32_t* at, int64_t count) {
    for (int64_t r = 0; r < count;) {
      const int step = r + 1 < count && at[r + 1] == at[r] - 1 ? -1 : 1;
      int64_t end = r + 1;
      while (end < count && at[end] == at[end - 1] + step) ++end;
      if (step == 1)
        rotate_run<kParts, true>(z + at[r] * stride, stride, c + r, s + r, end - r);
      else
        rotate_run<kParts, false>(z + (at[r] + 1) * stride, -stride, c + r, s + r, end - r);
      r = end;
    }
  }
  template <int kParts, bool kUp>
  static void rotate_run(T* z, int64_t stride, const T* c, const T* s, int64_t count) {
    V held[kParts];
    for (int p = 0; p < kParts; ++p) held[p] = loadu<V>(z + p * kN);
    for (int64_t r = 0; r < count; ++r, z += stride) {
      // Downwards, the row held is the lower one.
      const V vc = splat<V>(c[r]), vs = splat<V>(kUp ? s[r] : -s[r]);
      for (int p = 0; p < kParts; ++p) {
        const V other = loadu<V>(z + stride + p * kN);
        storeu(z + p * kN, vc * held[p] - vs * other);
        held[p] = vs * held[p] + vc * other;
      }
    }
    for (int p = 0; p < kParts; ++p) storeu(z + p * kN, held[p]);
  }

  static void rotate_complex(T* x, T* y, int64_t n, T c, T re, T im) {
    const V vc = splat<V>(c), vr = splat<V>(re), vi = even_odd<T>(-im, im);
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      const V a = loadu<V>(x + i), b = loadu<V>(y + i);
      storeu(x + i, vc * a + vr * b + vi * swapped<T>(b));
      storeu(y + i, vc * b - vr * a + vi * swapped<T>(a));
    }
    for (; i < n; i += 2) {
      const T ar = x[i], ai = x[i + 1], br = y[i], bi = y[i + 1];
      x[i] = c * ar + re * br - im * bi;
      x[i + 1] = c * ai + re * bi + im * br;
      y[i] = c * br - re * ar - im * ai;
      y[i + 1] = c * bi - re * ai + im * ar;
    }
  }

  using Two __attribute__((vector_size(2 * sizeof(T)))) = T;
  static Two load_two(const T* p) {
    Two v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  // The rotations of a row wait for each other: some rows at a time.
  template <int kRows>
  static void rotate_some(T* x, int64_t stride, const T* turns, int64_t count) {
    Two held[kRows];
    for (int r = 0; r < kRows; ++r) held[r] = load_two(x + r * stride);
    for (int64_t k = 0; k < count; ++k) {
      const T c = turns[3 * k], re = turns[3 * k + 1], im = turns[3 * k + 2];
      const Two vc{c, c}, vr{re, re}, vi{-im, im};
      for (int r = 0; r < kRows; ++r) {
        T* p = x + r * stride + 2 * k;
        const Two a = held[r], b = load_two(p + 2);
        const Two first = vc * a + vr * b + vi * __builtin_shufflevector(b, b, 1, 0);
        held[r] = vc * b - vr * a + vi * __builtin_shufflevector(a, a, 1, 0);
        __builtin_memcpy(p, &first, sizeof first);
      }
    }
    for (int r = 0; r < kRows; ++r) __builtin_memcpy(x + r * stride + 2 * count, &held[r], sizeof(Two));
  }
  static void rotate_columns(T* x, int64_t stride, int64_t rows, const T* turns, int64_t count) {
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) rotate_some<8>(x + i * stride, stride, turns, count);
    for (; i < rows; ++i) rotate_some<1>(x + i * stride, stride, turns, count);
  }

  static T dot(const T* x, const T* y, int64_t n) {
    V a{}, b{};
    int64_t i = 0;
    for (; i + 2 * kN <= n; i += 2 * kN) {
      a = fma(loadu<V>(x + i), loadu<V>(y + i), a);
      b = fma(loadu<V>(x + i + kN), loadu<V>(y + i + kN), b);
    }
    T sum = sum_across(a + b);
    for (; i < n; ++i) sum += x[i] * y[i];
    return sum;
  }
  static double squares(const T* x, int64_t n) {
    D a{}, b{};
    int64_t i = 0;
    for (; i + 2 * kLanes<double> <= n; i += 2 * kLanes<double>) {
      D u, v;
      if constexpr (sizeof(T) == 4) {
        const V both = loadu<V>(x + i);
        u = low_half(both);
        v = high_half(both);
      } else {
        u = loadu<D>(x + i);
        v = loadu<D>(x + i + kN);
      }
      a = fma(u, u, a);
      b = fma(v, v, b);
    }
    double sum = sum_across(a + b);
    for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
  }
  static constexpr VectorKernels<T> table{transpose, rotate, rotate_complex, rotate_columns, dot, squares};
};

}  // namespace

const VectorTable& vector_kernels_table() {
  static constexpr VectorTable table{Vectors<float>::table, Vectors<double>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
