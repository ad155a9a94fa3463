#include "mlx/ops/cross.h"

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/cross.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

void cross(const linalg::Cross&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array a = row_contiguous(inputs[0]), b = row_contiguous(inputs[1]);
  out.set_data(allocator::malloc(out.nbytes()));
  const auto run = [&]<class T>(auto kernel, T) {
    parallel_ranges(static_cast<int64_t>(out.size()) / 3, 1 << 13, [&](int64_t begin, int64_t end) {
      kernel(a.data<T>() + 3 * begin, b.data<T>() + 3 * begin, out.data<T>() + 3 * begin, end - begin);
    });
  };
  if (out.dtype() == float32)
    run(cross_kernels().of_float, float{});
  else
    run(cross_kernels().of_double, double{});
}

const bool registered = kernels(Device::cpu).add<linalg::Cross>(cross);

}  // namespace
}  // namespace mlx::core::cpu
