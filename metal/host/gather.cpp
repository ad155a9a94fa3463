// take and take_along_axis. The host looks at the indices first, as the CPU's kernels do: one that is out of
// range is an error of evaluation, not a fault of the device. Indices that the device is still computing are
// waited for.
#include <algorithm>

#include "metal/host/kernels.h"
#include "metal/host/layout.h"
#include "mlx/ops/indexing.h"

namespace mlx::core::metal {
namespace {

template <class F>
void for_each_element(const array& a, F&& f) {
  const Layout l = collapsed(a.shape(), {a.strides()});
  dispatch_all(a.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      const T* data = a.data<T>();
      for (size_t i = 0; i < a.size(); ++i) {
        int64_t offset = 0, rest = static_cast<int64_t>(i);
        for (size_t d = l.shape.size(); d-- > 0;) {
          offset += rest % l.shape[d] * l.strides[0][d];
          rest /= l.shape[d];
        }
        f(data[offset]);
      }
    }
  });
}

}  // namespace

void check_indices(std::string_view op, const array& indices, int axis, int64_t limit) {
  Encoder::current().finish_for({indices});
  for_each_element(indices, [&](auto value) {
    const auto i = static_cast<int64_t>(value);
    const bool inside = std::is_signed_v<decltype(value)>
                            ? i >= -limit && i < limit
                            : static_cast<uint64_t>(value) < static_cast<uint64_t>(limit);
    if (!inside)
      throw std::out_of_range(text("[", op, "] index ", std::to_string(value), " is out of range for axis ",
                                   axis, " with size ", limit));
  });
}

namespace {

Dtype bits_of(Dtype dtype) {
  switch (dtype.size()) {
    case 1:
      return uint8;
    case 2:
      return uint16;
    case 4:
      return uint32;
    default:
      return uint64;
  }
}

struct Parameters {
  uint32_t inner, count, outer, limit;
};

void gather(const Primitive& p, const Arrays& inputs, array& out, int axis, size_t count, bool along_axis) {
  const Stream& s = p.stream();
  const int64_t limit = inputs[0].shape(axis);
  allocate(out);
  if (out.size() == 0) return;
  check_indices(p.name(), inputs[1], axis, limit);
  array indices(inputs[1].shape(), int64, nullptr, {});
  allocate(indices);
  copy_to(inputs[1], indices, s);
  const array in = row_contiguous(inputs[0], s);
  Parameters g{1, static_cast<uint32_t>(count), 1, static_cast<uint32_t>(limit)};
  for (int d = 0; d < axis; ++d) g.outer *= static_cast<uint32_t>(in.shape(d));
  for (int d = axis + 1; d < static_cast<int>(in.ndim()); ++d) g.inner *= static_cast<uint32_t>(in.shape(d));
  Dispatch d(s, typed_pipeline("gather", bits_of(in.dtype()), "gather", {{0, along_axis}}));
  d.in(in).in(indices).out(out).value(g);
  const uint32_t x = std::min<uint32_t>(g.inner, 256);
  d.threads({g.inner, g.count, g.outer}, {x, std::min<uint32_t>(g.count, 256 / x), 1});
}

void take(const Take& p, const Arrays& inputs, Arrays& outputs) {
  gather(p, inputs, outputs[0], p.axis, inputs[1].size(), false);
}
void take_along_axis(const TakeAlongAxis& p, const Arrays& inputs, Arrays& outputs) {
  gather(p, inputs, outputs[0], p.axis, static_cast<size_t>(inputs[1].shape(p.axis)), true);
}

bool supports(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  constexpr size_t kMost = size_t{1} << 31;
  return inputs[0].size() < kMost && outputs[0].size() < kMost;
}

const bool registered =
    add_kernel<Take>(take, supports) && add_kernel<TakeAlongAxis>(take_along_axis, supports);

}  // namespace
}  // namespace mlx::core::metal
