#include "mlx/cpu/slice.h"

#include "mlx/cpu/copy.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/slice.h"

namespace mlx::core::cpu {
namespace {

void slice(const Slice& p, const Arrays& inputs, Arrays& outputs) { p.view(inputs[0], outputs[0]); }
void split(const Split& p, const Arrays& inputs, Arrays& outputs) { p.views(inputs[0], outputs); }

void dynamic_slice(const DynamicSlice& p, const Arrays& inputs, Arrays& outputs) {
  const array& in = inputs[0];
  const Shape start = start_of_box(p.name(), inputs[1], p.axes, in.shape(), p.sizes);
  share_view(outputs[0], in, in.strides(), offset_of(start, in.strides()));
}

// The output is the source's own buffer where nobody else has it: then only the box is written.
void update_box(const array& src, const array& update, const Shape& start, const Shape& steps, array& out) {
  const int64_t bytes = static_cast<int64_t>(out.itemsize());
  if (src.is_donatable() && src.flags().contiguous) {
    out.copy_shared_buffer(src);
  } else {
    out.set_data(allocator::malloc(out.nbytes()));
    bool dense = true;
    Shape stop = start;
    for (size_t i = 0; i < start.size(); ++i) {
      stop[i] += update.shape()[i];
      dense = dense && (steps[i] == 1 || update.shape()[i] == 1);
    }
    if (dense) {  // elements that will be overwritten are not copied first
      for_each_border(out.shape(), start, stop, [&](const Shape& from, const Shape& shape) {
        copy_strided(out.itemsize(), shape, src.data<char>() + offset_of(from, src.strides()) * bytes,
                     src.strides(), out.data<char>() + offset_of(from, out.strides()) * bytes, out.strides());
      });
    } else {
      copy_to(src, out.data<void>());
    }
  }
  Strides strides = out.strides();
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= steps[i];
  copy_strided(update, out.data<char>() + offset_of(start, out.strides()) * bytes, strides);
}

void slice_update(const SliceUpdate& p, const Arrays& inputs, Arrays& outputs) {
  const Window w = window_of(p.name(), inputs[0].shape(), p.start, p.stop, p.strides);
  update_box(inputs[0], inputs[1], w.start, w.strides, outputs[0]);
}

void dynamic_slice_update(const DynamicSliceUpdate& p, const Arrays& inputs, Arrays& outputs) {
  const Shape start = start_of_box(p.name(), inputs[2], p.axes, inputs[0].shape(), inputs[1].shape());
  update_box(inputs[0], inputs[1], start, Shape(start.size(), 1), outputs[0]);
}

const bool registered = kernels(Device::cpu).add<Slice>(slice) && kernels(Device::cpu).add<Split>(split) &&
                        kernels(Device::cpu).add<DynamicSlice>(dynamic_slice) &&
                        kernels(Device::cpu).add<SliceUpdate>(slice_update) &&
                        kernels(Device::cpu).add<DynamicSliceUpdate>(dynamic_slice_update);

}  // namespace
}  // namespace mlx::core::cpu
