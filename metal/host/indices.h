// Index arrays as offsets, and masks as ranks: what gather and scatter find their elements by.
#pragma once

#include <functional>
#include <string>

#include "metal/host/kernels.h"

namespace mlx::core::metal {

// Calls f(value, position) for each, in row-major order.
void for_each_index(const array& indices, const std::function<void(int64_t, size_t)>& f);

// Has the device look, while the work goes on, whether all are in [0, limit) once `wrap` is added to those
// below 0. What `error` makes of the first one that is not, and of its number in row-major order, is thrown
// by who waits for the work (Encoder::watch). `limit` is at least 1.
using IndexFault = std::function<std::exception_ptr(const std::string& index, size_t number)>;
void check_later(const array& indices, int64_t limit, int64_t wrap, IndexFault error, const Stream& s);

// What a kernel counts in 32 bits: sizes, and offsets in elements in either direction.
bool in_32_bits(const array& a);

// The unsigned integer of the dtype's size: kernels that move elements know no others.
Dtype bits_of(Dtype dtype);

// How many places there are on each of `axes` for boxes of this shape.
std::vector<int64_t> starts_of_boxes(const Shape& shape, const std::vector<int>& axes, const Shape& box);

// Offsets in `target`, in elements, of tuples of indices of `axes`; all index arrays have the shape `lead`.
// int32, as many as `lead` has elements. Those that are outside of [0, limit) with `wraps` added if they are
// below 0 (an empty one: the limits) count as 0.
array offsets_of(const array& target, const Arrays& indices, const std::vector<int>& axes,
                 const std::vector<int64_t>& limits, const std::vector<int64_t>& wraps, const Shape& lead,
                 const Stream& s);
// Offsets in a row-major array whose axis `axis` has `limit` elements, of indices along it.
array offsets_along(const array& indices, int axis, int64_t limit, const Stream& s);

// The box at this offset of `in` (one of offsets_of).
void read_box(const array& in, const array& offset, const array& out, const Stream& s);
// `out` becomes `src`, in whose memory if that dies, but for the box at an offset, which `offset_in` gives.
void write_box(const array& src, const array& update, array& out,
               const std::function<array(const array& target)>& offset_in, const Stream& s);

// Operands of one shape as kernels take them: at least one axis; the strides of one come after those of
// another.
struct Walk {
  std::vector<uint32_t> shape;
  std::vector<int64_t> strides;
  uint32_t dims() const { return static_cast<uint32_t>(shape.size()); }
};
Walk walk_of(const Shape& shape, const std::vector<Strides>& strides);

// How many elements of a row-contiguous mask are true before each one. `before` counts those before each
// block of 1024; its last element, number `blocks`, is how many there are. The mask has elements.
struct Ranks {
  array ranks, before;
  uint32_t blocks;
};
Ranks ranks_of(const array& mask, const Stream& s);

// x counts elements, y rows of them, in groups of 256 threads.
struct Plane {
  Size threads, per_group;
};
Plane plane(size_t x, size_t y);

}  // namespace mlx::core::metal
