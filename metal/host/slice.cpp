// Parts of arrays that become other ones: slice updates, concatenation, padding. All are copies into views of
// the output, so each element is read once and written once.
#include "mlx/ops/slice.h"

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
#include "mlx/ops/concatenate.h"
#include "mlx/ops/view.h"

namespace mlx::core::metal {
namespace {

// The box of `out` that starts at `start` and has `shape`, its elements `steps` apart.
array box_of(const array& out, const Shape& start, const Shape& shape, const Shape& steps) {
  Strides strides = out.strides();
  int64_t offset = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    offset += start[i] * strides[i];
    strides[i] *= steps[i];
  }
  array box(shape, out.dtype(), nullptr, {});
  box.copy_shared_buffer(out, strides, flags_of(shape, strides, out.data_size()), out.data_size(), offset);
  return box;
}

// Boxes that cover what lies outside [start, stop).
template <class F>
void for_each_border(const Shape& shape, const Shape& start, const Shape& stop, F&& f) {
  Shape from(shape.size(), 0), size = shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (start[i] > 0) {
      from[i] = 0, size[i] = start[i];
      f(from, size);
    }
    if (stop[i] < shape[i]) {
      from[i] = stop[i], size[i] = shape[i] - stop[i];
      f(from, size);
    }
    from[i] = start[i], size[i] = stop[i] - start[i];
  }
}

// The output is the source's own buffer where nobody else has it: then only the box is written.
void update_box(const array& src, const array& update, const Shape& start, const Shape& steps, array& out,
                const Stream& s) {
  const Shape once(start.size(), 1);
  if (src.is_donatable() && src.flags().contiguous && on_device(src)) {
    out.copy_shared_buffer(src);
  } else {
    allocate(out);
    bool dense = true;
    Shape stop = start;
    for (size_t i = 0; i < stop.size(); ++i) {
      stop[i] += update.shape()[i];
      dense = dense && (steps[i] == 1 || update.shape()[i] == 1);
    }
    if (dense) {
      for_each_border(out.shape(), start, stop, [&](const Shape& from, const Shape& size) {
        copy_into(box_of(src, from, size, once), box_of(out, from, size, once), s);
      });
    } else {
      copy_into(src, out, s);
    }
  }
  copy_into(update, box_of(out, start, update.shape(), steps), s);
}

void slice_update(const SliceUpdate& p, const Arrays& inputs, Arrays& outputs) {
  const Window w = window_of(p.name(), inputs[0].shape(), p.start, p.stop, p.strides);
  update_box(inputs[0], inputs[1], w.start, w.strides, outputs[0], p.stream());
}

// Where a box starts is asked on the host: a wrong one is an IndexError, and what is cut out is a view. Where
// the device is still computing it, it looks for itself, and what is cut out is a copy; only of arrays whose
// offsets need more than 32 bits the start is waited for.
Shape dynamic_start(const Primitive& p, const array& start, const Axes& axes, const Shape& shape,
                    const Shape& box) {
  Encoder::current().finish_for({start});
  return start_of_box(p.name(), start, axes, shape, box);
}
// In elements of `target`.
array start_by_device(const Primitive& p, const array& start, const Axes& axes, const array& target,
                      const Shape& box) {
  Arrays starts;
  std::vector<int64_t> limits = starts_of_boxes(target.shape(), axes, box), wraps;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i]);
    array one(Shape{}, start.dtype(), nullptr, {});
    one.copy_shared_buffer(start, {}, {true, true, true}, 1, static_cast<int64_t>(i) * start.strides(0));
    wraps.push_back(target.shape()[axis]);
    const auto error = [op = std::string(p.name()), axis, shape = target.shape(), box](
                           const std::string& given, size_t) {
      return std::make_exception_ptr(no_start(op, given, axis, shape, box));
    };
    check_later(one, limits[i], wraps[i], error, p.stream());
    starts.push_back(one);
  }
  return offsets_of(target, starts, axes, limits, wraps, {}, p.stream());
}

void dynamic_slice(const DynamicSlice& p, const Arrays& inputs, Arrays& outputs) {
  const array& in = inputs[0];
  if (used_by_gpu({inputs[1]}) && in_32_bits(in) && outputs[0].size() > 0) {
    allocate(outputs[0]);
    const array offset = start_by_device(p, inputs[1], p.axes, in, p.sizes);
    return read_box(in, offset, outputs[0], p.stream());
  }
  const Shape start = dynamic_start(p, inputs[1], p.axes, in.shape(), p.sizes);
  int64_t offset = 0;
  for (size_t i = 0; i < start.size(); ++i) offset += start[i] * in.strides()[i];
  share_view(outputs[0], in, in.strides(), offset);
}
void dynamic_slice_update(const DynamicSliceUpdate& p, const Arrays& inputs, Arrays& outputs) {
  if (used_by_gpu({inputs[2]}) && outputs[0].size() < (size_t{1} << 31) && inputs[1].size() > 0) {
    const auto offset = [&](const array& target) {
      return start_by_device(p, inputs[2], p.axes, target, inputs[1].shape());
    };
    return write_box(inputs[0], inputs[1], outputs[0], offset, p.stream());
  }
  const Shape start = dynamic_start(p, inputs[2], p.axes, inputs[0].shape(), inputs[1].shape());
  update_box(inputs[0], inputs[1], start, Shape(start.size(), 1), outputs[0], p.stream());
}

void concatenate(const Concatenate& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  const auto axis = static_cast<size_t>(p.axis);
  Shape start(out.ndim(), 0);
  const Shape once(out.ndim(), 1);
  for (const array& in : inputs) {
    copy_into(in, box_of(out, start, in.shape(), once), p.stream());
    start[axis] += in.shape()[axis];
  }
}

void pad(const Pad& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array& in = inputs[0];
  allocate(out);
  Shape stop = p.low;
  for (size_t i = 0; i < stop.size(); ++i) stop[i] += in.shape()[i];
  const Shape once(out.ndim(), 1);
  for_each_border(out.shape(), p.low, stop, [&](const Shape& from, const Shape& size) {
    copy_into(inputs[1], box_of(out, from, size, once), p.stream());
  });
  copy_into(in, box_of(out, p.low, in.shape(), once), p.stream());
}

const bool registered = add_kernel<SliceUpdate>(slice_update, anything) &&
                        add_kernel<DynamicSlice>(dynamic_slice, anything) &&
                        add_kernel<DynamicSliceUpdate>(dynamic_slice_update, anything) &&
                        add_kernel<Concatenate>(concatenate, anything) && add_kernel<Pad>(pad, anything);

}  // namespace
}  // namespace mlx::core::metal
