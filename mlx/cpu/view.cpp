// Kernels of the views: mostly none. Where a view cannot have the shape, its operand is copied in row-major
// order.
#include "mlx/ops/view.h"

#include "mlx/cpu/copy.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

template <class P>
void view_or_copy(const P& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  if (p.view(inputs[0], out)) return;
  out.set_data(allocator::malloc(out.nbytes()));
  copy_to(inputs[0], out.data<void>());
}

void full(const Full& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array view = p.repeated(inputs[0]);
  if (!out.desc()->stored) return out.copy_shared_buffer(view);
  out.set_data(allocator::malloc(out.nbytes()));
  copy_to(view, out.data<void>());
}

void as_strided(const AsStrided& p, const Arrays& inputs, Arrays& outputs) {
  p.view(row_contiguous(inputs[0]), outputs[0]);
}

void depends(const Depends&, const Arrays& inputs, Arrays& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].copy_shared_buffer(inputs[i]);
}

void number_of_elements(const NumberOfElements& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  dispatch_all(p.dtype, [&]<class T>() { *out.data<T>() = cast_to<T>(p.value(inputs[0].shape())); });
}

template <class... P>
bool add_views() {
  return (kernels(Device::cpu).add<P>(view_or_copy<P>) && ...);
}
const bool registered =
    add_views<Copy, StopGradient, Contiguous, Reshape, Reaxis, Transpose, Broadcast, Diagonal, View>() &&
    kernels(Device::cpu).add<Full>(full) && kernels(Device::cpu).add<AsStrided>(as_strided) &&
    kernels(Device::cpu).add<Depends>(depends) &&
    kernels(Device::cpu).add<NumberOfElements>(number_of_elements);

}  // namespace
}  // namespace mlx::core::cpu
