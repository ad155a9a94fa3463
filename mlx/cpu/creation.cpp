#include "mlx/ops/creation.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;

template <class T>
constexpr bool is_whole = std::is_integral_v<T>;

void arange(const Arange& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  dispatch_all(p.dtype, [&]<class T>() {
    T* data = out.data<T>();
    parallel_ranges(static_cast<int64_t>(out.size()), kGrain, [&](int64_t begin, int64_t end) {
      if constexpr (is_whole<T>) {
        // Unsigned arithmetic wraps, which is what narrow types and downward ranges need.
        using U = std::conditional_t<(sizeof(T) > 4), uint64_t, uint32_t>;
        const U start = static_cast<U>(cast_to<int64_t>(p.start));
        const U step = static_cast<U>(cast_to<int64_t>(p.start + p.step)) - start;
        for (int64_t i = begin; i < end; ++i) data[i] = static_cast<T>(start + static_cast<U>(i) * step);
      } else {
        for (int64_t i = begin; i < end; ++i) data[i] = cast_to<T>(p.start + static_cast<double>(i) * p.step);
      }
    });
  });
}

void linspace(const Linspace& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const double step = (p.stop - p.start) / p.intervals;
  dispatch_all(p.dtype, [&]<class T>() {
    T* data = out.data<T>();
    parallel_ranges(static_cast<int64_t>(out.size()), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) data[i] = cast_to<T>(p.start + static_cast<double>(i) * step);
      if (begin <= p.intervals && p.intervals < end) data[p.intervals] = cast_to<T>(p.stop);
    });
  });
}

void eye(const Eye& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const int64_t rows = p.shape[0], columns = p.shape[1];
  dispatch_all(p.dtype, [&]<class T>() {
    T* data = out.data<T>();
    parallel_ranges(rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
      std::memset(static_cast<void*>(data + begin * columns), 0,
                  static_cast<size_t>((end - begin) * columns) * sizeof(T));
      for (int64_t i = begin; i < end; ++i)
        if (i + p.k >= 0 && i + p.k < columns) data[i * columns + i + p.k] = cast_to<T>(1);
    });
  });
}

const bool registered = kernels(Device::cpu).add<Arange>(arange) &&
                        kernels(Device::cpu).add<Linspace>(linspace) && kernels(Device::cpu).add<Eye>(eye);

}  // namespace
}  // namespace mlx::core::cpu
