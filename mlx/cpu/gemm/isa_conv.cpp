// Convolution's own loops for one instruction set.
#include "mlx/cpu/gemm/conv_kernels.h"
#include "mlx/cpu/gemm/vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

template <class T>
void copy_run(const void* from, int64_t from_stride, int64_t steps, int64_t len, void* to,
              int64_t to_stride) {
  using A = Acc<T>;
  constexpr int L = kLanes<A>;
  const T* f = static_cast<const T*>(from);
  A* t = static_cast<A*>(to);
  for (int64_t k = 0; k < steps; ++k, f += from_stride, t += to_stride) {
    int64_t i = 0;
    for (; i + L <= len; i += L) store(t + i, load(f + i));
    if (i < len) store_first(t + i, load_first(f + i, static_cast<int>(len - i)), static_cast<int>(len - i));
  }
}

template <class T, int NV>
MLX_INLINE void multiply_sum_block(int64_t steps, const T* a, int64_t a_stride, const T* b, int64_t b_stride,
                                   Acc<T>* sum) {
  using A = Acc<T>;
  constexpr int L = kLanes<A>;
  Vec<A> acc[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) acc[v] = load(sum + v * L);
  for (int64_t k = 0; k < steps; ++k, a += a_stride, b += b_stride)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[v] = fma(load(a + v * L), load(b + v * L), acc[v]);
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store(sum + v * L, acc[v]);
}

template <class T>
void multiply_sum(int64_t steps, int64_t n, const void* a_, int64_t a_stride, const void* b_,
                  int64_t b_stride, void* sum_) {
  using A = Acc<T>;
  constexpr int L = kLanes<A>;
  const T* a = static_cast<const T*>(a_);
  const T* b = static_cast<const T*>(b_);
  A* sum = static_cast<A*>(sum_);
  int64_t c = 0;
  for (; c + 4 * L <= n; c += 4 * L)
    multiply_sum_block<T, 4>(steps, a + c, a_stride, b + c, b_stride, sum + c);
  for (; c + L <= n; c += L) multiply_sum_block<T, 1>(steps, a + c, a_stride, b + c, b_stride, sum + c);
  if (c == n) return;
  const int rest = static_cast<int>(n - c);
  Vec<A> acc = load_first(sum + c, rest);
  for (int64_t k = 0; k < steps; ++k)
    acc = fma(load_first(a + k * a_stride + c, rest), load_first(b + k * b_stride + c, rest), acc);
  store_first(sum + c, acc, rest);
}

template <class T>
constexpr void add(ConvTable& t, gemm_detail::Elem e) {
  t.copy_run[e] = copy_run<T>;
  t.multiply_sum[e] = multiply_sum<T>;
}
constexpr ConvTable make_table() {
  ConvTable t{};
  add<float>(t, gemm_detail::kF32);
  add<double>(t, gemm_detail::kF64);
  add<f16>(t, gemm_detail::kF16);
  add<bf16>(t, gemm_detail::kBf16);
  return t;
}

}  // namespace

const ConvTable& conv_kernels_table() {
  static constexpr ConvTable table = make_table();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
