#include "mlx/cpu/isa/householder.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// kColumns at a time: each load of v serves all of them.
template <int kColumns, class C>
void reflect_some(const C* v, int64_t n, C tau, C* columns, int64_t stride) {
  using V = Vec<C>;
  constexpr int kN = kLanes<C>;
  V sums[kColumns] = {};
  C dots[kColumns];
  int64_t i = 0;
  for (; i + kN <= n; i += kN) {
    const V x = loadu<V>(v + i);
    for (int k = 0; k < kColumns; ++k) sums[k] = fma(x, loadu<V>(columns + k * stride + i), sums[k]);
  }
  for (int k = 0; k < kColumns; ++k) {
    dots[k] = sum_across(sums[k]);
    for (int64_t t = i; t < n; ++t) dots[k] += v[t] * columns[k * stride + t];
    dots[k] *= tau;
  }
  for (i = 0; i + kN <= n; i += kN) {
    const V x = loadu<V>(v + i);
    for (int k = 0; k < kColumns; ++k) {
      C* p = columns + k * stride + i;
      storeu(p, fma(x, splat<V>(-dots[k]), loadu<V>(p)));
    }
  }
  for (int k = 0; k < kColumns; ++k)
    for (int64_t t = i; t < n; ++t) columns[k * stride + t] -= dots[k] * v[t];
}

template <class C>
void reflect(const C* v, int64_t n, C tau, C* columns, int64_t stride, int64_t count) {
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) reflect_some<4>(v, n, tau, columns + k * stride, stride);
  for (; k < count; ++k) reflect_some<1>(v, n, tau, columns + k * stride, stride);
}

}  // namespace

const HouseholderTable& householder_table() {
  static constexpr HouseholderTable table{reflect<float>, reflect<double>};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
