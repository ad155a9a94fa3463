#include "mlx/ops/sort.h"

#include <algorithm>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

// The kernels take rows that are any distance apart and write them one after the other. `run(a, rows,
// row_stride, n, stride, out)` is called so; for an axis in the middle, (outer, n, inner) is sorted as (outer
// * inner) transposed rows and turned back.
template <class Run>
void along_axis(const array& input, int axis, array& out, Run&& run) {
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array a = row_contiguous(input);
  int64_t outer = 1, inner = 1;
  const int64_t n = a.shape(axis);
  for (int d = 0; d < axis; ++d) outer *= a.shape(d);
  for (int d = axis + 1; d < static_cast<int>(a.ndim()); ++d) inner *= a.shape(d);
  if (inner == 1) return run(a.data<char>(), outer, n, n, int64_t{1}, out.data<char>());
  const int64_t in_size = static_cast<int64_t>(a.itemsize()), out_size = static_cast<int64_t>(out.itemsize());
  const auto slab = [&](int64_t o) {
    array rows(allocator::malloc(n * inner * out_size), Shape{safe_cast(inner, "sort"), safe_cast(n, "sort")},
               out.dtype());
    run(a.data<char>() + o * n * inner * in_size, inner, int64_t{1}, n, inner, rows.data<char>());
    copy_strided(out.itemsize(), rows.shape(), rows.data<char>(), rows.strides(),
                 out.data<char>() + o * n * inner * out_size, Strides{1, inner});
  };
  parallel_for(outer, slab);  // a single slab is shared by rows instead
}

void sort_array(const Sort& p, const Arrays& inputs, Arrays& outputs) {
  const int dtype = static_cast<int>(inputs[0].dtype().val());
  along_axis(inputs[0], p.axis, outputs[0], [&](const char* in, auto... args) {
    const auto call = [&](int64_t rows, int64_t row_stride, int64_t n, int64_t stride, char* out) {
      sort_rows(dtype, in, rows, row_stride, n, stride, p.kth, out);
    };
    call(args...);
  });
}

void argsort_array(const ArgSort& p, const Arrays& inputs, Arrays& outputs) {
  const int dtype = static_cast<int>(inputs[0].dtype().val());
  along_axis(inputs[0], p.axis, outputs[0], [&](const char* in, auto... args) {
    const auto call = [&](int64_t rows, int64_t row_stride, int64_t n, int64_t stride, char* out) {
      argsort_rows(dtype, in, rows, row_stride, n, stride, p.kth, reinterpret_cast<uint32_t*>(out));
    };
    call(args...);
  });
}

// The order that sorting uses: nan after everything, complex numbers by real part first.
template <class T>
bool is_nan(const T& x) {
  if constexpr (std::is_same_v<T, complex64_t>)
    return x.real() != x.real() || x.imag() != x.imag();
  else if constexpr (is_floating_point_v<T>)
    return static_cast<double>(x) != static_cast<double>(x);
  else
    return false;
}
// Halves compare as floats.
template <class T>
auto comparable(const T& x) {
  if constexpr (is_floating_point_v<T> && sizeof(T) == 2)
    return static_cast<float>(x);
  else
    return x;
}
template <class T>
bool before(const T& a, const T& b) {
  if (is_nan(a)) return false;
  return is_nan(b) || comparable(a) < comparable(b);
}

// The places of a few numbers at a time, by halving without branches: their searches run side by side.
template <bool right, class T>
void search_numbers(const T* sequence, int64_t n, const T* values, int64_t count, uint32_t* out) {
  constexpr int64_t kSide = 8;
  for (int64_t i = 0; i < count; i += kSide) {
    const int64_t m = std::min(kSide, count - i);
    T v[kSide];
    int64_t at[kSide] = {};
    for (int64_t k = 0; k < kSide; ++k) v[k] = values[i + std::min(k, m - 1)];
    for (int64_t left = n; left > 0;) {
      const int64_t half = (left + 1) / 2;
      for (int64_t k = 0; k < kSide; ++k) {
        const T x = sequence[at[k] + half - 1];
        at[k] += (right ? x <= v[k] : x < v[k]) ? half : 0;
      }
      left -= half;
    }
    for (int64_t k = 0; k < m; ++k) {
      // A nan comes after all numbers, and before or after the others.
      if (is_nan(v[k]))
        at[k] = (right ? std::upper_bound(sequence, sequence + n, v[k], before<T>)
                       : std::lower_bound(sequence, sequence + n, v[k], before<T>)) -
                sequence;
      out[i + k] = static_cast<uint32_t>(at[k]);
    }
  }
}

void search(const SearchSorted& p, const Arrays& inputs, Arrays& outputs) {
  const array sequence = row_contiguous(inputs[0]), values = row_contiguous(inputs[1]);
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  uint32_t* to = out.data<uint32_t>();
  dispatch_all(sequence.dtype(), [&]<class T>() {
    const T *begin = sequence.data<T>(), *end = begin + sequence.size(), *v = values.data<T>();
    parallel_ranges(static_cast<int64_t>(values.size()), 4096, [&](int64_t first, int64_t last) {
      if constexpr (std::is_arithmetic_v<T>)
        return (p.right ? search_numbers<true, T> : search_numbers<false, T>)(begin, end - begin, v + first,
                                                                              last - first, to + first);
      for (int64_t i = first; i < last; ++i) {
        const T* at = p.right ? std::upper_bound(begin, end, v[i], before<T>)
                              : std::lower_bound(begin, end, v[i], before<T>);
        to[i] = static_cast<uint32_t>(at - begin);
      }
    });
  });
}

void unique(const Unique& p, const Arrays& inputs, Arrays& outputs) {
  const array a = row_contiguous(inputs[0]), order = row_contiguous(inputs[1]);
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  uint32_t *index = outputs[0].data<uint32_t>(), *inverse = outputs[1].data<uint32_t>();
  int32_t* counts = outputs[2].data<int32_t>();
  const uint32_t* at = order.data<uint32_t>();
  const auto n = static_cast<int64_t>(a.size()), size = int64_t{p.size};
  std::fill_n(counts, size, 0);
  int64_t distinct = -1;
  dispatch_all(a.dtype(), [&]<class T>() {
    const T* x = a.data<T>();
    for (int64_t i = 0; i < n; ++i) {
      if (i == 0 || is_nan(x[at[i]]) || !(comparable(x[at[i]]) == comparable(x[at[i - 1]]))) {
        ++distinct;
        if (distinct < size) index[distinct] = at[i];  // the order is stable: its first occurrence
      }
      if (distinct < size) ++counts[distinct];
      inverse[at[i]] = static_cast<uint32_t>(std::max<int64_t>(0, std::min(distinct, size - 1)));
    }
  });
  for (int64_t i = distinct + 1; i < size; ++i) index[i] = n ? at[0] : 0;
}

const bool registered =
    kernels(Device::cpu).add<Sort>(sort_array) && kernels(Device::cpu).add<ArgSort>(argsort_array) &&
    kernels(Device::cpu).add<SearchSorted>(search) && kernels(Device::cpu).add<Unique>(unique);

}  // namespace
}  // namespace mlx::core::cpu
