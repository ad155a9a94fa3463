#include "mlx/ops/concatenate.h"

#include "mlx/cpu/copy.h"
#include "mlx/cpu/slice.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

void concatenate(const Concatenate& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  char* to = out.data<char>();
  const size_t axis = static_cast<size_t>(p.axis);
  for (const array& in : inputs) {
    copy_strided(in, to, out.strides());
    to += in.shape()[axis] * out.strides()[axis] * static_cast<int64_t>(in.itemsize());
  }
}

void pad(const Pad& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array& in = inputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  char* to = out.data<char>();
  const int64_t bytes = static_cast<int64_t>(out.itemsize());
  Shape stop = p.low;
  for (size_t i = 0; i < stop.size(); ++i) stop[i] += in.shape()[i];
  const Strides still(out.ndim(), 0);
  for_each_border(out.shape(), p.low, stop, [&](const Shape& start, const Shape& shape) {
    copy_strided(out.itemsize(), shape, inputs[1].data<char>(), still,
                 to + offset_of(start, out.strides()) * bytes, out.strides());
  });
  copy_strided(in, to + offset_of(p.low, out.strides()) * bytes, out.strides());
}

const bool registered =
    kernels(Device::cpu).add<Concatenate>(concatenate) && kernels(Device::cpu).add<Pad>(pad);

}  // namespace
}  // namespace mlx::core::cpu
