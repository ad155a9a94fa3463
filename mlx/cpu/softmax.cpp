#include "mlx/ops/softmax.h"

#include "mlx/cpu/copy.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

void softmax_array(const Softmax&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const int64_t n = out.shape(-1);
  take_or_allocate(out, inputs);
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]);
  softmax(static_cast<int>(x.dtype().val()), x.data<char>(), static_cast<int64_t>(out.size()) / n, n,
          out.data<char>());
}

void softmax_jacobian(const SoftmaxJacobian&, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const int64_t n = out.shape(-1);
  take_or_allocate(out, inputs);
  if (out.size() == 0) return;
  const array y = row_contiguous(inputs[0]), v = row_contiguous(inputs[1]);
  softmax_vjp(static_cast<int>(y.dtype().val()), y.data<char>(), v.data<char>(),
              static_cast<int64_t>(out.size()) / n, n, out.data<char>());
}

const bool registered = kernels(Device::cpu).add<Softmax>(softmax_array) &&
                        kernels(Device::cpu).add<SoftmaxJacobian>(softmax_jacobian);

}  // namespace
}  // namespace mlx::core::cpu
