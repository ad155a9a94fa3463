// Views touch no data, on any device; where a view cannot have the shape, its operand is copied in row-major
// order.
#include "mlx/ops/view.h"

#include "metal/host/kernels.h"
#include "mlx/ops/slice.h"

namespace mlx::core::metal {
namespace {

template <class P>
void view_or_copy(const P& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  if (p.view(inputs[0], out)) return;
  allocate(out);
  copy_to(inputs[0], out, p.stream());
}

void full(const Full& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array view = p.repeated(inputs[0]);
  if (!out.desc()->stored) return out.copy_shared_buffer(view);
  allocate(out);
  copy_to(view, out, p.stream());
}

// The bytes stay as they are: a copy has the operand's dtype.
void view(const View& p, const Arrays& inputs, Arrays& outputs) {
  if (!p.view(inputs[0], outputs[0])) p.view(row_contiguous(inputs[0], p.stream()), outputs[0]);
}
void as_strided(const AsStrided& p, const Arrays& inputs, Arrays& outputs) {
  p.view(row_contiguous(inputs[0], p.stream()), outputs[0]);
}
void depends(const Depends&, const Arrays& inputs, Arrays& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].copy_shared_buffer(inputs[i]);
}
void split(const Split& p, const Arrays& inputs, Arrays& outputs) { p.views(inputs[0], outputs); }
// The number of elements follows from shapes alone: the host writes it.
void number_of_elements(const NumberOfElements& p, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs[0]);
  dispatch_all(p.dtype, [&]<class T>() { *outputs[0].data<T>() = cast_to<T>(p.value(inputs[0].shape())); });
}

template <class... P>
bool add_views() {
  return (add_kernel<P>(view_or_copy<P>, anything) && ...);
}
const bool registered =
    add_views<Copy, StopGradient, Contiguous, Reshape, Reaxis, Transpose, Broadcast, Diagonal, Slice>() &&
    add_kernel<Full>(full, anything) && add_kernel<View>(view, anything) &&
    add_kernel<AsStrided>(as_strided, anything) && add_kernel<Depends>(depends, anything) &&
    add_kernel<Split>(split, anything) && add_kernel<NumberOfElements>(number_of_elements, anything);

}  // namespace
}  // namespace mlx::core::metal
