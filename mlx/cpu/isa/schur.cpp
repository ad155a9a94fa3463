#include "mlx/cpu/isa/schur.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

template <class T>
struct Schur {
  using V = Vec<T>;
  static constexpr int kN = kLanes<T>;
  static constexpr int64_t kMostBulges = 128;
  static constexpr T kLeast = sizeof(T) == 4 ? T(1e-36) : T(1e-300);

  static T magnitude(T x) { return x < 0 ? -x : x; }
  static int64_t whole(int64_t n) { return (n + kN - 1) / kN * kN; }  // vectors
  static T root(T x) {
    if constexpr (sizeof(T) == 4)
      return __builtin_sqrtf(x);
    else
      return __builtin_sqrt(x);
  }

  // 1 - tau v v^T with v = (1, second, third) that maps x on (beta, 0, 0).
  struct Reflection {
    T second, third, tau, beta;
  };
  static Reflection find(T x, T y, T z) {
    const T scale = magnitude(x) + magnitude(y) + magnitude(z);
    // Beside a matrix of about 1, numbers whose reciprocals overflow are 0.
    if (scale < kLeast || (y == 0 && z == 0)) return {0, 0, 0, x};
    const T inverse = 1 / scale, a = x * inverse, b = y * inverse, c = z * inverse;
    const T length = root(a * a + b * b + c * c), beta = a > 0 ? -length : length;
    const T ratio = 1 / (a - beta);
    return {b * ratio, c * ratio, (beta - a) / beta, beta * scale};
  }
  // The first column of (H - s) (H - t), but for a factor, of the matrix whose corner is at p.
  static Reflection introduce(const T* p, int64_t stride, T one, T other, T square, bool three) {
    const T a = p[0], b = p[1], c = p[stride], d = p[stride + 1], e = three ? p[2 * stride + 1] : 0;
    const T scale = magnitude(a - other) + magnitude(c) + root(square);
    if (scale == 0) return {0, 0, 0, 0};
    const T below = c / scale, x = (a - one) * ((a - other) / scale) + square / scale + below * b;
    return find(x, below * ((a - one) + (d - other)), below * e);
  }

  static void reflect_rows(T* p, int64_t stride, int64_t n, T second, T third, T tau) {
    const V v2 = splat<V>(second), v3 = splat<V>(third), t = splat<V>(tau);
    T *q = p + stride, *r = q + stride;
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      const V x = loadu<V>(p + i), y = loadu<V>(q + i), z = loadu<V>(r + i);
      const V s = t * (x + v2 * y + v3 * z);
      storeu(p + i, x - s);
      storeu(q + i, y - v2 * s);
      storeu(r + i, z - v3 * s);
    }
    for (; i < n; ++i) {
      const T s = tau * (p[i] + second * q[i] + third * r[i]);
      p[i] -= s;
      q[i] -= second * s;
      r[i] -= third * s;
    }
  }

  // Elements 3 i + first of three vectors a, b, c, and back.
  template <int kFirst, int... I>
  static V every_third(V a, V b, V c, std::integer_sequence<int, I...>) {
    const V ab = __builtin_shufflevector(a, b, (3 * I + kFirst < 2 * kN ? 3 * I + kFirst : 0)...);
    return __builtin_shufflevector(ab, c, (3 * I + kFirst < 2 * kN ? I : 3 * I + kFirst - kN)...);
  }
  template <int kPart, int... I>
  static V interleaved(V x, V y, V z, std::integer_sequence<int, I...>) {
    const V xy = __builtin_shufflevector(
        x, y, ((kPart * kN + I) % 3 == 2 ? 0 : (kPart * kN + I) / 3 + (kPart * kN + I) % 3 * kN)...);
    return __builtin_shufflevector(xy, z, ((kPart * kN + I) % 3 == 2 ? kN + (kPart * kN + I) / 3 : I)...);
  }
  // Reflections i = 0 ... kN - 1 of elements 3 i, 3 i + 1, 3 i + 2 of a row.
  static void reflect_triples(T* p, V second, V third, V tau) {
    constexpr auto lanes = std::make_integer_sequence<int, kN>{};
    const V a = loadu<V>(p), b = loadu<V>(p + kN), c = loadu<V>(p + 2 * kN);
    const V x = every_third<0>(a, b, c, lanes), y = every_third<1>(a, b, c, lanes),
            z = every_third<2>(a, b, c, lanes);
    const V s = tau * (x + second * y + third * z), u = x - s, v = y - second * s, w = z - third * s;
    storeu(p, interleaved<0>(u, v, w, lanes));
    storeu(p + kN, interleaved<1>(u, v, w, lanes));
    storeu(p + 2 * kN, interleaved<2>(u, v, w, lanes));
  }

  static void chase(const Chase<T>& c) {
    alignas(64) T second[kMostBulges + kN], third[kMostBulges + kN], tau[kMostBulges + kN];
    for (int64_t at = c.from; at < c.to; ++at) {
      // Bulge m is at position at + 3 m; those before the block are yet to come, those at its end gone.
      int64_t first = 0, last = c.bulges;
      while (first < last && at + 3 * first < c.begin - 1) ++first;
      while (last > first && at + 3 * (last - 1) > c.end - 2) --last;
      const int64_t count = last - first, start = at + 3 * first;
      if (count == 0) continue;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t k = start + 3 * i;
        T* p = c.h + (k + 1) * c.stride + k;
        const bool three = k + 3 <= c.end;
        Reflection r;
        if (k == c.begin - 1) {
          r = introduce(p + 1, c.stride, c.one[first + i], c.other[first + i], c.squares[first + i], three);
        } else {
          r = find(p[0], p[c.stride], three ? p[2 * c.stride] : 0);
          p[0] = r.beta;
          p[c.stride] = 0;
          if (three) p[2 * c.stride] = 0;
        }
        second[i] = r.second;
        third[i] = r.third;
        tau[i] = r.tau;
        reflect_rows(p + 1, c.stride, whole(c.columns - k - 1), r.second, r.third, r.tau);
        reflect_rows(c.u + (k + 1 - c.shift) * c.u_stride, c.u_stride, whole(c.u_size), r.second, r.third,
                     r.tau);
      }
      for (int64_t i = count; i < count + kN; ++i) second[i] = third[i] = tau[i] = 0;
      const int64_t bottom = start + 3 * (count - 1) + 4, rows = bottom < c.rows ? bottom + 1 : c.rows;
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t reached = r - 4 - start, skip = reached > 0 ? (reached + 2) / 3 / kN * kN : 0;
        T* p = c.h + r * c.stride + start + 1;
        for (int64_t i = skip; i < count; i += kN)
          reflect_triples(p + 3 * i, loadu<V>(second + i), loadu<V>(third + i), loadu<V>(tau + i));
      }
    }
  }

  static void step(T* h, int64_t stride, int64_t begin, int64_t first, int64_t last, int64_t top,
                   int64_t right, T one, T other, T square, T* z, int64_t z_stride, int64_t length) {
    for (int64_t k = first; k < last; ++k) {
      T* p = h + k * stride + k;
      const bool three = k + 2 <= last;
      Reflection r;
      if (k == first) {
        r = introduce(p, stride, one, other, square, three);
        if (first > begin) p[-1] *= 1 - r.tau;
      } else {
        r = find(p[-1], p[stride - 1], three ? p[2 * stride - 1] : 0);
        p[-1] = r.beta;
        p[stride - 1] = 0;
        if (three) p[2 * stride - 1] = 0;
      }
      if (r.tau == 0) continue;
      const int64_t end = k + 3 < last ? k + 3 : last;
      if (three) {
        reflect_rows(p, stride, right - k, r.second, r.third, r.tau);
        for (int64_t i = top; i <= end; ++i) {
          T* q = h + i * stride + k;
          const T s = r.tau * (q[0] + r.second * q[1] + r.third * q[2]);
          q[0] -= s;
          q[1] -= r.second * s;
          q[2] -= r.third * s;
        }
        if (z) reflect_rows(z + k * z_stride, z_stride, length, r.second, r.third, r.tau);
      } else {
        reflect_pair(p, p + stride, right - k, r.second, r.tau);
        for (int64_t i = top; i <= end; ++i) {
          T* q = h + i * stride + k;
          const T s = r.tau * (q[0] + r.second * q[1]);
          q[0] -= s;
          q[1] -= r.second * s;
        }
        if (z) reflect_pair(z + k * z_stride, z + (k + 1) * z_stride, length, r.second, r.tau);
      }
    }
  }
  static void reflect_pair(T* p, T* q, int64_t n, T second, T tau) {
    for (int64_t i = 0; i < n; ++i) {
      const T s = tau * (p[i] + second * q[i]);
      p[i] -= s;
      q[i] -= second * s;
    }
  }

  static void turn(T* x, T* y, int64_t n, T c, T s) {
    for (int64_t i = 0; i < n; ++i) {
      const T a = x[i], b = y[i];
      x[i] = c * a + s * b;
      y[i] = c * b - s * a;
    }
  }

  template <int M>
  static void rows_of(T* x, int64_t stride, int64_t n, const T* q) {
    int64_t i = 0;
    for (; i + kN <= n; i += kN) {
      V in[M];
      for (int k = 0; k < M; ++k) in[k] = loadu<V>(x + k * stride + i);
      for (int r = 0; r < M; ++r) {
        V sum = splat<V>(q[r]) * in[0];
        for (int k = 1; k < M; ++k) sum = fma(splat<V>(q[k * M + r]), in[k], sum);
        storeu(x + r * stride + i, sum);
      }
    }
    for (; i < n; ++i) row_of<M>(x + i, stride, q);
  }
  // One vector of m elements that are `stride` apart, times Q.
  template <int M>
  static void row_of(T* x, int64_t stride, const T* q) {
    T in[M];
    for (int k = 0; k < M; ++k) in[k] = x[k * stride];
    for (int r = 0; r < M; ++r) {
      T sum = q[r] * in[0];
      for (int k = 1; k < M; ++k) sum += q[k * M + r] * in[k];
      x[r * stride] = sum;
    }
  }
  static void turn_rows(T* x, int64_t stride, int64_t n, int64_t m, const T* q) {
    m == 3 ? rows_of<3>(x, stride, n, q) : rows_of<4>(x, stride, n, q);
  }
  static void turn_columns(T* x, int64_t stride, int64_t rows, int64_t m, const T* q) {
    for (int64_t i = 0; i < rows; ++i)
      m == 3 ? row_of<3>(x + i * stride, 1, q) : row_of<4>(x + i * stride, 1, q);
  }

  static constexpr SchurKernels<T> table{chase, step, turn, turn_rows, turn_columns};
};

}  // namespace

const SchurTable& schur_kernels_table() {
  static constexpr SchurTable table{Schur<float>::table, Schur<double>::table};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
