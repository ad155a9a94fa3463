// take, take_along_axis, gather and selection by a mask. The host looks at the indices first, as the CPU's
// kernels do: one that is out of range is an error of evaluation, not a fault of the device. The device looks
// at those that it is still computing (check_indices), and reads what is first on the axis for wrong ones.
#include <algorithm>

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
#include "mlx/ops/indexing.h"

namespace mlx::core::metal {
namespace {

struct Parameters {
  uint32_t inner, count, outer, limit;
};

Dtype wider(Dtype word) { return word == uint8 ? uint16 : word == uint16 ? uint32 : uint64; }

void gather(const Primitive& p, const Arrays& inputs, array& out, int axis, size_t count, bool along_axis) {
  const Stream& s = p.stream();
  const int64_t limit = inputs[0].shape(axis);
  allocate(out);
  if (out.size() == 0) return;
  check_indices(p.name(), inputs[1], axis, limit, s);
  array indices(inputs[1].shape(), int64, nullptr, {});
  allocate(indices);
  copy_to(inputs[1], indices, s);
  const array in = row_contiguous(inputs[0], s);
  Parameters g{1, static_cast<uint32_t>(count), 1, static_cast<uint32_t>(limit)};
  for (int d = 0; d < axis; ++d) g.outer *= static_cast<uint32_t>(in.shape(d));
  for (int d = axis + 1; d < static_cast<int>(in.ndim()); ++d) g.inner *= static_cast<uint32_t>(in.shape(d));
  // Slices are moved in words of up to 64 bits.
  Dtype word = bits_of(in.dtype());
  const auto aligned = [&](size_t bytes) {
    return (reinterpret_cast<uintptr_t>(in.data<char>()) | reinterpret_cast<uintptr_t>(out.data<char>())) %
               bytes ==
           0;
  };
  for (; !along_axis && word.size() < 8 && g.inner % 2 == 0 && aligned(2u * word.size()); g.inner /= 2)
    word = wider(word);
  Dispatch d(s, typed_pipeline("gather", word, "gather", {{0, along_axis}, {1, false}}));
  d.in(in).in(indices).out(out).value(g);
  const uint32_t x = std::min<uint32_t>(g.inner, 256);
  d.threads({g.inner, g.count, g.outer}, {x, std::min<uint32_t>(g.count, 256 / x), 1});
}

// As struct Boxes of metal/kernels/gather.metal.
struct Boxes {
  int64_t first;
  uint32_t step, dims;
};

// Boxes of `in` at these offsets to `out`, `step` elements apart there; inside, box and `out_box` say how
// they lie.
void move_boxes(const array& in, const array& offsets, const Shape& box, const array& out,
                const Strides& out_box, size_t step, const Stream& s) {
  const Walk walk = walk_of(box, {in.strides(), out_box});
  Dispatch d(s, typed_pipeline("gather", bits_of(in.dtype()), "gather_boxes"));
  d.in(in).in(offsets).out(out);
  d.value(Boxes{extent_of(in).first, static_cast<uint32_t>(step), walk.dims()});
  d.values(walk.shape).values(walk.strides);
  const Plane all = plane(out.size() / offsets.size(), offsets.size());
  d.threads(all.threads, all.per_group);
}

// Few slices of an operand that is not row-contiguous are picked where they are; a copy would read all of it.
void take_where_it_is(const Take& p, const array& in, const array& index, array& out) {
  allocate(out);
  if (out.size() == 0) return;
  const auto axis = static_cast<size_t>(p.axis);
  check_indices(p.name(), index, p.axis, in.shape(p.axis), p.stream());
  const array offsets = offsets_of(in, {index}, {p.axis}, {in.shape(p.axis)}, {}, index.shape(), p.stream());
  Shape box = in.shape();
  box[axis] = 1;
  // The strides of out for the axes of `in`; those of the indices lie together.
  Strides out_box(out.strides().begin(), out.strides().begin() + p.axis);
  out_box.push_back(0);
  out_box.insert(out_box.end(), out.strides().begin() + static_cast<std::ptrdiff_t>(axis + index.ndim()),
                 out.strides().end());
  size_t step = 1;
  for (size_t i = axis + 1; i < in.ndim(); ++i) step *= static_cast<size_t>(in.shape()[i]);
  move_boxes(in, offsets, box, out, out_box, step, p.stream());
}

void take(const Take& p, const Arrays& inputs, Arrays& outputs) {
  const array &in = inputs[0], &index = inputs[1];
  const bool few = index.size() < static_cast<size_t>(in.shape(p.axis));
  if (few && !in.flags().row_contiguous && in_32_bits(in)) return take_where_it_is(p, in, index, outputs[0]);
  gather(p, inputs, outputs[0], p.axis, index.size(), false);
}
void take_along_axis(const TakeAlongAxis& p, const Arrays& inputs, Arrays& outputs) {
  gather(p, inputs, outputs[0], p.axis, static_cast<size_t>(inputs[1].shape(p.axis)), true);
}

bool supports(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  constexpr size_t kMost = size_t{1} << 31;
  return inputs[0].size() < kMost && outputs[0].size() < kMost;
}

void gather_boxes(const Gather& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  const array& in = inputs[0];
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Arrays indices(inputs.begin() + 1, inputs.end());
  const std::vector<int64_t> limits = starts_of_boxes(in.shape(), p.axes, p.sizes);
  for (size_t i = 0; i < indices.size(); ++i) check_indices(p.name(), indices[i], p.axes[i], limits[i], s);
  const auto k = static_cast<std::ptrdiff_t>(out.ndim() - in.ndim());
  const Shape lead(out.shape().begin(), out.shape().begin() + k);
  const array offsets = offsets_of(in, indices, p.axes, limits, {}, lead, s);
  const Strides out_box(out.strides().begin() + k, out.strides().end());
  move_boxes(in, offsets, p.sizes, out, out_box, out.size() / offsets.size(), s);
}
bool boxes_supports(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  return in_32_bits(inputs[0]) && outputs[0].size() < (size_t{1} << 31);
}

void masked_select(const MaskedSelect& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const array in = row_contiguous(inputs[0], s), mask = row_contiguous(inputs[1], s);
  if (in.size() == 0) return fill(array(0, out.dtype()), out, s);
  const Ranks ranks = ranks_of(mask, s);
  const auto part = static_cast<uint32_t>(in.size() / mask.size());
  const std::pair<uint32_t, uint32_t> sizes(part, p.size);
  {
    Dispatch d(s, typed_pipeline("gather", bits_of(in.dtype()), "masked_select"));
    d.in(mask).in(ranks.ranks).in(in).out(out).value(sizes);
    const Plane all = plane(part, mask.size());
    d.threads(all.threads, all.per_group);
  }
  Dispatch d(s, typed_pipeline("gather", bits_of(in.dtype()), "nothing_selected"));
  d.in(ranks.before).value(ranks.blocks).out(out).value(sizes);
  const Line l = line(out.size());
  d.threads(l.threads, l.per_group);
}

const bool registered =
    add_kernel<Take>(take, supports) && add_kernel<TakeAlongAxis>(take_along_axis, supports) &&
    add_kernel<Gather>(gather_boxes, boxes_supports) && add_kernel<MaskedSelect>(masked_select, supports);

}  // namespace

void read_box(const array& in, const array& offset, const array& out, const Stream& s) {
  move_boxes(in, offset, out.shape(), out, out.strides(), out.size(), s);
}

}  // namespace mlx::core::metal
