#include "mlx/cpu/isa/copy_index.h"

#include <cstddef>
#include <type_traits>

#include "mlx/cpu/isa/half.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

// Rows are far from each other: the next ones are asked for while one is moved.
constexpr int64_t kAhead = 4;
constexpr int64_t kPrefetchBytes = 512;

template <class T>
inline void prefetch(const T* row, int64_t n) {
  const char* p = reinterpret_cast<const char*>(row);
  const int64_t bytes = n * int64_t{sizeof(T)};
  for (int64_t k = 0; k < bytes && k < kPrefetchBytes; k += 64) __builtin_prefetch(p + k);
}

template <class T>
void gather(const void* in_bytes, const int64_t* offsets, int64_t si, void* out_bytes, int64_t so0,
            int64_t so1, int64_t count, int64_t n) {
  const T* __restrict in = static_cast<const T*>(in_bytes);
  T* __restrict out = static_cast<T*>(out_bytes);
  if (n == 1) {
    for (int64_t i = 0; i < count; ++i) out[i * so0] = in[offsets[i]];
  } else if (si == 1 && so1 == 1) {
    for (int64_t i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch(in + offsets[i + kAhead], n);
      const T* from = in + offsets[i];
      T* to = out + i * so0;
      if (n * int64_t{sizeof(T)} >= 256) {
        __builtin_memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
      } else {
        for (int64_t j = 0; j < n; ++j) to[j] = from[j];
      }
    }
  } else {
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < n; ++j) out[i * so0 + j * so1] = in[offsets[i] + j * si];
  }
}

// Branch-free, so that checking costs next to nothing: one flag for the whole row.
template <class T>
bool read_offsets(const void* index, int64_t step, int64_t n, int64_t limit, int64_t stride, bool first,
                  int64_t* __restrict offsets) {
  const T* __restrict p = static_cast<const T*>(index);
  const auto run = [&](auto step, auto stride, auto first) {
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; ++i) {
      int64_t j = static_cast<int64_t>(p[i * step]);
      if constexpr (T(-1) < T(0)) j += (j >> 63) & limit;
      bad |= static_cast<uint64_t>(j) >= static_cast<uint64_t>(limit);
      if constexpr (first) {
        offsets[i] = j * stride;
      } else {
        offsets[i] += j * stride;
      }
    }
    return bad != 0;
  };
  constexpr std::integral_constant<int64_t, 1> one;
  const auto with = [&](auto step, auto stride) {
    return first ? run(step, stride, std::true_type()) : run(step, stride, std::false_type());
  };
  if (step != 1) return with(step, stride);
  return stride == 1 ? with(one, one) : with(one, stride);
}

struct Bool {
  uint8_t value;
};
struct Complex {
  float re, im;
};

struct Assign {
  template <class T>
  static T of(T, T b) {
    return b;
  }
};

inline bool less(Complex a, Complex b) { return a.re < b.re || (a.re == b.re && a.im < b.im); }

struct Sum {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a + b);
  }
  static Bool of(Bool a, Bool b) { return {static_cast<uint8_t>(a.value | b.value)}; }
  static Complex of(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
};
struct Product {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a * b);
  }
  // promoted to int, 65535 * 65535 would overflow
  static uint16_t of(uint16_t a, uint16_t b) { return static_cast<uint16_t>(uint32_t{a} * b); }
  static Bool of(Bool a, Bool b) { return {static_cast<uint8_t>(a.value & b.value)}; }
  static Complex of(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
};
// A nan stays, whichever side it comes from.
struct Maximum {
  template <class T>
  static T of(T a, T b) {
    return (b > a) | (b != b) ? b : a;
  }
  static Bool of(Bool a, Bool b) { return Sum::of(a, b); }
  static Complex of(Complex a, Complex b) { return less(a, b) || b.re != b.re || b.im != b.im ? b : a; }
};
struct Minimum {
  template <class T>
  static T of(T a, T b) {
    return (b < a) | (b != b) ? b : a;
  }
  static Bool of(Bool a, Bool b) { return Product::of(a, b); }
  static Complex of(Complex a, Complex b) { return less(b, a) || b.re != b.re || b.im != b.im ? b : a; }
};

template <class Op, class T>
inline T combined(T a, T b) {
  if constexpr (__is_same(Op, Assign)) {
    return b;
  } else if constexpr (__is_same(T, f16) || __is_same(T, bf16)) {
    return from_float<T>(Op::of(to_float(a), to_float(b)));
  } else {
    return Op::of(a, b);
  }
}

template <class Op, class T>
void scatter(void* out_bytes, const int64_t* offsets, int64_t first, int64_t range, int64_t so,
             const void* in_bytes, int64_t si0, int64_t si1, int64_t count, int64_t n) {
  T* __restrict out = static_cast<T*>(out_bytes);
  const T* __restrict in = static_cast<const T*>(in_bytes);
  const auto mine = [&](int64_t i) {
    return range == IndexTable::kAll ||
           static_cast<uint64_t>(offsets[i] - first) < static_cast<uint64_t>(range);
  };
  if (n == 1 && range == IndexTable::kAll) {
    for (int64_t i = 0; i < count; ++i) {
      T& to = out[offsets[i]];
      to = combined<Op>(to, in[i * si0]);
    }
    return;
  }
  if (n == 1) {
    // Those in the range are gathered first: whether the next one is cannot be guessed.
    constexpr int64_t kBlock = 512;
    int32_t chosen[kBlock + 8];
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t end = count - begin < kBlock ? count : begin + kBlock;
      int64_t i = begin, k = 0;
#if MLX_ISA_LEVEL >= 4
      for (; i + 8 <= end; i += 8) {
        const __m512i from_first =
            _mm512_sub_epi64(_mm512_loadu_si512(offsets + i), _mm512_set1_epi64(first));
        const __mmask8 inside = _mm512_cmplt_epu64_mask(from_first, _mm512_set1_epi64(range));
        const __m256i numbers = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                                 _mm256_set1_epi32(static_cast<int>(i - begin)));
        // to memory in one piece: a store of chosen lanes is slow on Zen 4
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(chosen + k),
                            _mm256_maskz_compress_epi32(inside, numbers));
        k += __builtin_popcount(inside);
      }
#endif
      for (; i < end; ++i) {
        chosen[k] = static_cast<int32_t>(i - begin);
        k += mine(i);
      }
      for (int64_t c = 0; c < k; ++c) {
        const int64_t at = begin + chosen[c];
        T& to = out[offsets[at]];
        to = combined<Op>(to, in[at * si0]);
      }
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!mine(i)) continue;
    T* to = out + offsets[i];
    const T* from = in + i * si0;
    if (so == 1 && si1 == 1) {
      if (i + kAhead < count) prefetch(out + offsets[i + kAhead], n);
      for (int64_t j = 0; j < n; ++j) to[j] = combined<Op>(to[j], from[j]);
    } else {
      for (int64_t j = 0; j < n; ++j) to[j * so] = combined<Op>(to[j * so], from[j * si1]);
    }
  }
}

template <class Op>
void fill(IndexTable::Scatter* row) {
  // In the order of Dtype::Val. Sums and products of signed integers wrap, as unsigned ones do.
  constexpr bool ordered = __is_same(Op, Maximum) || __is_same(Op, Minimum);
  row[0] = scatter<Op, Bool>;
  row[1] = scatter<Op, uint8_t>;
  row[2] = scatter<Op, uint16_t>;
  row[3] = scatter<Op, uint32_t>;
  row[4] = scatter<Op, uint64_t>;
  if constexpr (ordered) {
    row[5] = scatter<Op, int8_t>;
    row[6] = scatter<Op, int16_t>;
    row[7] = scatter<Op, int32_t>;
    row[8] = scatter<Op, int64_t>;
  } else {
    for (int i = 5; i < 9; ++i) row[i] = row[i - 4];
  }
  if constexpr (__is_same(Op, Assign)) {
    row[9] = row[12] = row[2];
    row[10] = row[3];
    row[11] = row[13] = row[4];
  } else {
    row[9] = scatter<Op, f16>;
    row[10] = scatter<Op, float>;
    row[11] = scatter<Op, double>;
    row[12] = scatter<Op, bf16>;
    row[13] = scatter<Op, Complex>;
  }
}

}  // namespace

const IndexTable& index_kernels_table() {
  static const IndexTable table = [] {
    IndexTable t = {{gather<uint8_t>, gather<uint16_t>, gather<uint32_t>, gather<uint64_t>}, {}, {}};
    fill<Assign>(t.scatter[0]);
    fill<Sum>(t.scatter[1]);
    fill<Product>(t.scatter[2]);
    fill<Maximum>(t.scatter[3]);
    fill<Minimum>(t.scatter[4]);
    t.offsets[1] = read_offsets<uint8_t>;
    t.offsets[2] = read_offsets<uint16_t>;
    t.offsets[3] = read_offsets<uint32_t>;
    t.offsets[4] = read_offsets<uint64_t>;
    t.offsets[5] = read_offsets<int8_t>;
    t.offsets[6] = read_offsets<int16_t>;
    t.offsets[7] = read_offsets<int32_t>;
    t.offsets[8] = read_offsets<int64_t>;
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
