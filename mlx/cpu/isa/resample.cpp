#include "mlx/cpu/isa/resample.h"

#include "mlx/cpu/isa/reduce_vec.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// One row of the result; the number of taps is known to the compiler where it is small.
template <int known, class T>
inline void row(const T* in, int64_t inner, const T* weights, int taps, T* out) {
  using V = Vec<T>;
  constexpr int lanes = kLanes<T>;
  const int n = known ? known : taps;
  const auto sum = [&](auto&& at) {
    V total = at(in) * splat<V>(weights[0]);
    for (int k = 1; k < n; ++k) total = fma(at(in + k * inner), splat<V>(weights[k]), total);
    return total;
  };
  int64_t j = 0;
  for (; j + lanes <= inner; j += lanes) storeu(out + j, sum([&](const T* p) { return loadu<V>(p + j); }));
#if MLX_ISA_LEVEL >= 4
  if (j < inner)
    store_part(out + j, inner - j, sum([&](const T* p) { return load_part(p + j, inner - j, T{0}); }));
#else
  for (; j < inner; ++j) {
    T total = in[j] * weights[0];
    for (int k = 1; k < n; ++k) total += in[k * inner + j] * weights[k];
    out[j] = total;
  }
#endif
}

template <int known, class T>
void all(const T* in, int64_t inner, const int32_t* first, const T* weights, int taps, int64_t count,
         T* out) {
  for (int64_t i = 0; i < count; ++i) {
    const T* w = weights + i * taps;
    const T* from = in + first[i] * inner;
    T* to = out + i * inner;
    // Ends without weight are not read: a nan or inf there has no part in the sum.
    int begin = 0, end = taps;
    while (begin < end && w[begin] == 0) ++begin;
    while (begin < end && w[end - 1] == 0) --end;
    if (known && end - begin == known)
      row<known>(from, inner, w, known, to);
    else if (begin < end)
      row<0>(from + begin * inner, inner, w + begin, end - begin, to);
    else
      for (int64_t j = 0; j < inner; ++j) to[j] = 0;
  }
}

template <class T>
void resample(const T* in, int64_t inner, const int32_t* first, const T* weights, int taps, int64_t count,
              T* out) {
  switch (taps) {
    case 2:
      return all<2>(in, inner, first, weights, taps, count, out);
    case 4:
      return all<4>(in, inner, first, weights, taps, count, out);
    default:
      return all<0>(in, inner, first, weights, taps, count, out);
  }
}

}  // namespace

const ResampleTable& resample_kernels_table() {
  static constexpr ResampleTable table{resample<float>, resample<double>};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
