// The GEMM's table for one instruction set: kernels, packers and block sizes.
#include "mlx/cpu/gemm/kernel_tile.h"
#include "mlx/cpu/gemm/kernels.h"
#include "mlx/cpu/gemm/pack.h"
#include "mlx/cpu/gemm/skinny.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using gemm_detail::Elem;
using gemm_detail::Family;

#if MLX_ISA_LEVEL < 5
// What is added to the sums of a row: nothing, one number, or a number each.
enum class Addend { none, number, numbers };

// Four vectors are read before the first is written: a load behind a store that differs from it in high bits
// of the address only would wait for it, and rows of D often lie so.
template <class T, Addend kAddend>
void finish_row(int64_t cols, const Acc<T>* a, T* o, Acc<T> alpha, Acc<T> beta, const T* d) {
  using V = Vec<Acc<T>>;
  constexpr int lanes = kLanes<Acc<T>>, group = 4;
  const auto scaled = [&](V v, auto addend) {
    v *= alpha;
    if constexpr (kAddend != Addend::none) v = fma(splat(beta), addend(), v);
    return v;
  };
  const V number = kAddend == Addend::number ? splat(scalar(*d)) : V{};
  int64_t j = 0;
  for (; j + group * lanes <= cols; j += group * lanes) {
    V v[group];
    for (int k = 0; k < group; ++k)
      v[k] = scaled(load(a + j + k * lanes),
                    [&] { return kAddend == Addend::number ? number : load(d + j + k * lanes); });
    for (int k = 0; k < group; ++k) store(o + j + k * lanes, v[k]);
  }
  for (; j < cols; j += lanes) {
    const int n = static_cast<int>(cols - j < lanes ? cols - j : lanes);
    const V v = scaled(n == lanes ? load(a + j) : load_first(a + j, n), [&] {
      return kAddend == Addend::number ? number : n == lanes ? load(d + j) : load_first(d + j, n);
    });
    if (n == lanes) {
      store(o + j, v);
    } else {
      store_first(o + j, v, n);
    }
  }
}

template <class T>
void finish(int64_t rows, int64_t cols, const void* acc, int64_t ld_acc, void* out, int64_t ld_out,
            double alpha, double beta, const void* d, int64_t d_row, int64_t d_col) {
  using A = Acc<T>;
  const A al = static_cast<A>(alpha), be = static_cast<A>(beta);
  for (int64_t i = 0; i < rows; ++i) {
    const A* a = static_cast<const A*>(acc) + i * ld_acc;
    T* o = static_cast<T*>(out) + i * ld_out;
    const T* dr = static_cast<const T*>(d) + (d ? i * d_row : 0);
    if (!d) {
      finish_row<T, Addend::none>(cols, a, o, al, be, dr);
    } else if (d_col == 1) {
      finish_row<T, Addend::numbers>(cols, a, o, al, be, dr);
    } else if (d_col == 0) {
      finish_row<T, Addend::number>(cols, a, o, al, be, dr);
    } else {
      constexpr int64_t piece = 64;
      for (int64_t j = 0; j < cols; j += piece) {
        const int64_t n = cols - j < piece ? cols - j : piece;
        T gathered[piece];
        for (int64_t l = 0; l < n; ++l) gathered[l] = dr[(j + l) * d_col];
        finish_row<T, Addend::numbers>(n, a + j, o + j, al, be, gathered);
      }
    }
  }
}

// Complex numbers: cols and leading dimensions count floats, d's strides count complex elements.
void finish_complex(int64_t rows, int64_t cols, const void* acc, int64_t ld_acc, void* out, int64_t ld_out,
                    double alpha, double beta, const void* d, int64_t d_row, int64_t d_col) {
  const float al = static_cast<float>(alpha), be = static_cast<float>(beta);
  for (int64_t i = 0; i < rows; ++i) {
    const float* a = static_cast<const float*>(acc) + i * ld_acc;
    float* o = static_cast<float*>(out) + i * ld_out;
    if (!d) {
      for (int64_t j = 0; j < cols; ++j) o[j] = a[j] * al;
      continue;
    }
    for (int64_t j = 0; j < cols; j += 2) {
      const float* s = static_cast<const float*>(d) + 2 * (i * d_row + j / 2 * d_col);
      const float re = s[0], im = s[1];
      o[j] = a[j] * al + be * re;
      o[j + 1] = a[j + 1] * al + be * im;
    }
  }
}

#endif

// One row of the small operand, S -> T.
template <class S, class T>
void copy_row(const void* src, int64_t stride, int64_t n, void* dst) {
  const S* s = static_cast<const S*>(src);
  T* o = static_cast<T*>(dst);
  if constexpr (sizeof(S) == sizeof(T)) {
    for (int64_t i = 0; i < n; ++i) o[i] = s[i * stride];
  } else {
    int64_t i = 0;
    if (stride == 1)
      for (; i + kLanes<T> <= n; i += kLanes<T>) store(o + i, load(s + i));
    for (; i < n; ++i) o[i] = scalar(s[i * stride]);
  }
}

template <class T>
constexpr gemm_detail::Skinny skinny_dots() {
  using X = typename DotProduct<T>::X;
  return {skinny_dot<T>, copy_row<T, X>, sizeof(X)};
}

constexpr int kNrF = kNv * kLanes<float>;

#if MLX_ISA_LEVEL < 5
constexpr int kNrD = kNv * kLanes<double>;

template <class T>
constexpr void add_skinny(GemmTable& t, Elem e) {
  t.dot[e] = skinny_dots<T>();
  t.axpy[e] = {skinny_axpy<T>, copy_row<T, Acc<T>>, sizeof(Acc<T>)};
}

constexpr Family family_f32() {
  Family f{};
  f.mr = kMr;
  f.nr = kNrF;
  f.kc = 384;
  f.mc = 144;
  f.nc = 512;
  f.k_unit = 1;
  f.packed_size = f.acc_size = 4;
  f.tile = tile<PlainProduct<float>>;
  f.pack_a[gemm_detail::kF32] = pack<float, float, kMr>;
  f.pack_a[gemm_detail::kF16] = pack<f16, float, kMr>;
  f.pack_a[gemm_detail::kBf16] = pack<bf16, float, kMr>;
  f.pack_a[gemm_detail::kC64] = pack_complex_rows<kMr>;
  f.pack_b[gemm_detail::kF32] = pack<float, float, kNrF>;
  f.pack_b[gemm_detail::kF16] = pack<f16, float, kNrF>;
  f.pack_b[gemm_detail::kBf16] = pack<bf16, float, kNrF>;
  f.pack_b[gemm_detail::kC64] = pack_complex_pairs<kNrF>;
  f.rows_a[gemm_detail::kF32] = pack_rows<float, float, kMr>;
  f.rows_a[gemm_detail::kF16] = pack_rows<f16, float, kMr>;
  f.rows_a[gemm_detail::kBf16] = pack_rows<bf16, float, kMr>;
  return f;
}

constexpr Family family_f64() {
  Family f{};
  f.mr = kMr;
  f.nr = kNrD;
  f.kc = 352;
  f.mc = 144;
  f.nc = 256;
  f.k_unit = 1;
  f.packed_size = f.acc_size = 8;
  f.tile = tile<PlainProduct<double>>;
  f.pack_a[gemm_detail::kF64] = pack<double, double, kMr>;
  f.pack_b[gemm_detail::kF64] = pack<double, double, kNrD>;
  f.rows_a[gemm_detail::kF64] = pack_rows<double, double, kMr>;
  return f;
}

constexpr GemmTable make_table() {
  GemmTable t{};
  t.f32 = family_f32();
  t.f64 = family_f64();
  t.finish[gemm_detail::kF32] = finish<float>;
  t.finish[gemm_detail::kF64] = finish<double>;
  t.finish[gemm_detail::kF16] = finish<f16>;
  t.finish[gemm_detail::kBf16] = finish<bf16>;
  t.finish[gemm_detail::kC64] = finish_complex;
  add_skinny<float>(t, gemm_detail::kF32);
  add_skinny<double>(t, gemm_detail::kF64);
  add_skinny<f16>(t, gemm_detail::kF16);
  add_skinny<bf16>(t, gemm_detail::kBf16);
  return t;
}
#else
constexpr Family family_bf16() {
  Family f{};
  f.mr = kMr;
  f.nr = kNrF;
  f.kc = 768;
  f.mc = 144;
  f.nc = 512;
  f.k_unit = 2;
  f.packed_size = f.acc_size = 4;
  f.tile = tile<Bf16PairProduct>;
  f.pack_a[gemm_detail::kBf16] = pack_bf16<kMr>;
  f.pack_b[gemm_detail::kBf16] = pack_bf16<kNrF>;
  f.rows_a[gemm_detail::kBf16] = pack_bf16_rows<kMr>;
  return f;
}

void finish_bf16(int64_t rows, int64_t cols, const void* acc, int64_t ld_acc, void* out, int64_t ld_out,
                 double alpha, double beta, const void* d, int64_t d_row, int64_t d_col) {
  if (alpha != 1 || d)
    return isa_v4::gemm_kernels_table().finish[gemm_detail::kBf16](rows, cols, acc, ld_acc, out, ld_out,
                                                                   alpha, beta, d, d_row, d_col);
  constexpr int lanes = kLanes<float>;
  for (int64_t i = 0; i < rows; ++i) {
    const float* from = static_cast<const float*>(acc) + i * ld_acc;
    auto* to = static_cast<uint16_t*>(out) + i * ld_out;
    int64_t j = 0;
    for (; j + lanes <= cols; j += lanes)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j), round_to_bf16(load(from + j)));
    if (j == cols) continue;
    const int rest = static_cast<int>(cols - j);
    _mm256_mask_storeu_epi16(to + j, static_cast<__mmask16>((1u << rest) - 1),
                             round_to_bf16(load_first(from + j, rest)));
  }
}

// All else is as without these instructions.
GemmTable make_table() {
  GemmTable t = isa_v4::gemm_kernels_table();
  t.finish[gemm_detail::kBf16] = finish_bf16;
  t.bf16 = family_bf16();
  t.dot[gemm_detail::kBf16] = skinny_dots<bf16>();
  return t;
}
#endif

}  // namespace

const GemmTable& gemm_kernels_table() {
#if MLX_ISA_LEVEL < 5
  static constexpr GemmTable table = make_table();
#else
  static const GemmTable table = make_table();
#endif
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
