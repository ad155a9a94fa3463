#include "mlx/ops/creation.h"

#include <algorithm>
#include <cstring>

#include "mlx/cpu/isa/creation.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;

template <class T>
constexpr bool is_whole = std::is_integral_v<T>;

// data[i] = start + i * step for i in [begin, end)
template <class T>
void ramp(double start, double step, int64_t begin, int64_t end, T* data) {
  if constexpr (std::is_same_v<T, float>) {
    creation_kernels().ramp(start, step, begin, data + begin, end - begin);
  } else {
    for (int64_t i = begin; i < end; ++i) data[i] = cast_to<T>(start + static_cast<double>(i) * step);
  }
}

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
        if constexpr (std::is_integral_v<T> && sizeof(T) == 4) {
          creation_kernels().count(start, step, begin, reinterpret_cast<uint32_t*>(data + begin),
                                   end - begin);
        } else {
          for (int64_t i = begin; i < end; ++i) data[i] = static_cast<T>(start + static_cast<U>(i) * step);
        }
      } else {
        ramp(p.start, p.step, begin, end, data);
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
      ramp(p.start, step, begin, end, data);
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
