// scatter, along an axis, and by a mask. Updates of one place are applied in their order by the thread that
// owns it (metal/kernels/scatter.metal): offsets that do not ascend by themselves are sorted first.
#include <algorithm>

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
#include "metal/host/sort.h"
#include "mlx/ops/indexing.h"

namespace mlx::core::metal {
namespace {

// The output starts as the array: as its own buffer where nobody else has it.
void start_from(const array& in, array& out, const Stream& s) {
  if (in.is_donatable() && in.flags().row_contiguous && on_device(in)) return out.copy_shared_buffer(in);
  allocate(out);
  copy_into(in, out, s);
}

// As metal/kernels/reduce.h numbers them; sums of bool are `any`, products `all`.
int32_t kind_of(ScatterReduce reduce, Dtype dtype) {
  constexpr int32_t kSum = 0, kProd = 1, kMax = 2, kMin = 3, kAny = 4, kAll = 5;
  switch (reduce) {
    case ScatterReduce::sum:
      return dtype == bool_ ? kAny : kSum;
    case ScatterReduce::prod:
      return dtype == bool_ ? kAll : kProd;
    case ScatterReduce::max:
      return kMax;
    case ScatterReduce::min:
      return kMin;
    default:
      return -1;
  }
}
// Values that are only moved are moved as bits.
Dtype moved_as(ScatterReduce reduce, Dtype dtype) {
  return reduce == ScatterReduce::none ? bits_of(dtype) : dtype;
}
size_t accumulator_bytes(Dtype dtype) { return dtype.size() == 8 ? 8 : 4; }

// As struct Scatter of metal/kernels/scatter.metal.
struct Parameters {
  uint32_t count, elements, dims;
};
constexpr uint32_t kRun = 64;  // as there

// `count` boxes of row-contiguous updates, at offsets into `out`; the boxes are equal or have nothing in
// common.
void scatter_boxes(ScatterReduce reduce, array offsets, const array& updates, const Walk& box, bool ascending,
                   const array& out, const Stream& s) {
  const size_t count = offsets.size(), elements = updates.size() / count;
  const Dtype dtype = moved_as(reduce, out.dtype());
  array order = offsets;
  if (!ascending && count > 1) {
    array numbers({static_cast<ShapeElem>(count)}, uint32, nullptr, {});  // no offset is negative
    numbers.copy_shared_buffer(offsets, {1}, {true, true, true}, count);
    const Sorted sorted = sorted_with_places(numbers, s);
    offsets = sorted.values, order = sorted.places;
  } else {
    ascending = true;
  }
  const size_t runs = (count + kRun - 1) / kRun;
  const bool cuts = runs > 1 && reduce != ScatterReduce::none;
  array partial({static_cast<ShapeElem>(cuts ? runs * elements * accumulator_bytes(dtype) : 8)}, uint8,
                nullptr, {});
  allocate(partial);
  const std::vector<FunctionConstant> constants = {{0, kind_of(reduce, out.dtype())}, {1, !ascending}};
  const Parameters p{static_cast<uint32_t>(count), static_cast<uint32_t>(elements), box.dims()};
  {
    Dispatch d(s, typed_pipeline("scatter", dtype, "scatter", constants));
    d.in_out(out).in(updates).in(offsets);
    ascending ? d.skip() : d.in(order);
    d.out(partial).value(p).values(box.shape).values(box.strides);
    const Plane all = plane(elements, count);
    d.threads(all.threads, all.per_group);
  }
  if (!cuts) return;
  Dispatch d(s, typed_pipeline("scatter", dtype, "join_runs", constants));
  d.in_out(out).in(offsets).in(partial).value(p).values(box.shape).values(box.strides);
  const Plane all = plane(elements, runs - 1);
  d.threads(all.threads, all.per_group);
}

void scatter(const Scatter& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  array& out = outputs[0];
  const array& given = inputs.back();
  const auto k = static_cast<std::ptrdiff_t>(given.ndim() - out.ndim());
  const Shape lead(given.shape().begin(), given.shape().begin() + k);
  const Shape shape(given.shape().begin() + k, given.shape().end());
  const Arrays indices(inputs.begin() + 1, inputs.end() - 1);
  const std::vector<int64_t> limits = starts_of_boxes(out.shape(), p.axes, shape);
  bool ascending = indices.size() == 1;
  for (size_t i = 0; i < indices.size(); ++i)
    ascending = check_indices(p.name(), indices[i], p.axes[i], limits[i], s) && ascending;
  start_from(inputs[0], out, s);
  if (given.size() == 0) return;
  const array updates = row_contiguous(given, s);
  array offsets = offsets_of(out, indices, p.axes, limits, {}, lead, s);
  const Walk box = walk_of(shape, {out.strides()});
  const bool independent =
      std::all_of(p.axes.begin(), p.axes.end(), [&](int a) { return shape[static_cast<size_t>(a)] == 1; });
  if (independent || offsets.size() == 1)
    return scatter_boxes(p.reduce, offsets, updates, box, ascending, out, s);
  // Boxes may overlap: each element is an update of its own.
  array expanded({static_cast<ShapeElem>(updates.size())}, uint32, nullptr, {});
  allocate(expanded);
  const Parameters parameters{static_cast<uint32_t>(offsets.size()),
                              static_cast<uint32_t>(updates.size() / offsets.size()), box.dims()};
  {
    Dispatch d(s, typed_pipeline("scatter", moved_as(p.reduce, out.dtype()), "expand",
                                 {{0, int32_t{-1}}, {1, false}}));
    d.in(offsets).out(expanded).value(parameters).values(box.shape).values(box.strides);
    const Plane all = plane(parameters.elements, parameters.count);
    d.threads(all.threads, all.per_group);
  }
  scatter_boxes(p.reduce, expanded, updates, walk_of({}, {{}}), false, out, s);
}

// A thread walks a line of up to so many updates; longer ones are sorted, unless there are lines enough for
// the device.
constexpr uint32_t kShortLine = 32, kManyLines = 1 << 14;

void scatter_along_axis(const ScatterAlongAxis& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  array& out = outputs[0];
  const int64_t limit = out.shape(p.axis);
  check_indices(p.name(), inputs[1], p.axis, limit, s);
  start_from(inputs[0], out, s);
  if (inputs[2].size() == 0) return;
  const array updates = row_contiguous(inputs[2], s);
  const array offsets = offsets_along(inputs[1], p.axis, limit, s);
  std::pair<uint32_t, uint32_t> line_of(static_cast<uint32_t>(inputs[1].shape(p.axis)), 1);
  for (int d = p.axis + 1; d < static_cast<int>(out.ndim()); ++d)
    line_of.second *= static_cast<uint32_t>(out.shape(d));
  const auto lines = static_cast<uint32_t>(updates.size() / line_of.first);
  if (line_of.first > kShortLine && lines < kManyLines)
    return scatter_boxes(p.reduce, offsets, updates, walk_of({}, {{}}), false, out, s);
  Dispatch d(s, typed_pipeline("scatter", moved_as(p.reduce, out.dtype()), "scatter_lines",
                               {{0, kind_of(p.reduce, out.dtype())}, {1, false}}));
  d.in_out(out).in(updates).in(offsets).value(line_of);
  d.threads({lines, 1, 1}, {std::min<uint32_t>(lines, 256), 1, 1});
}

// As struct Placed of metal/kernels/gather.metal.
struct Placed {
  uint32_t elements, values;
};
std::invalid_argument too_few(size_t selected, size_t values) {
  return invalid("masked_scatter", "the mask selects ", selected, " elements, got ", values, " values");
}

// How many elements of the mask are true is asked only where there may be too few values for them; the device
// finds out while it places them where it is still computing the mask.
void masked_scatter(const MaskedScatter& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  array& out = outputs[0];
  const array mask = row_contiguous(inputs[1], s), source = row_contiguous(inputs[2], s);
  const size_t part = mask.size() == 0 ? 0 : out.size() / mask.size();
  const bool few = source.size() < out.size();
  const bool counted = few && source.size() > 0 && used_by_gpu({mask});
  if (few && !counted) {
    Encoder::current().finish_for({mask});
    const bool* selected = mask.data<bool>();
    const auto count = static_cast<size_t>(std::count(selected, selected + mask.size(), true));
    if (source.size() < count * part) throw too_few(count * part, source.size());
  }
  start_from(inputs[0], out, s);
  if (out.size() == 0 || source.size() == 0) return;
  const Ranks ranks = ranks_of(mask, s);
  const auto kernel =
      typed_pipeline("gather", bits_of(out.dtype()), "masked_scatter", {{0, false}, {1, counted}});
  std::optional<array> word;
  if (counted)
    word = Encoder::current().watch(s, [ranks, part, values = source.size()](uint32_t) {
      return std::make_exception_ptr(too_few(ranks.before.data<uint32_t>()[ranks.blocks] * part, values));
    });
  Dispatch d(s, kernel);
  d.in(mask).in(ranks.ranks).in(source).in_out(out);
  d.value(Placed{static_cast<uint32_t>(part), static_cast<uint32_t>(source.size() / part)});
  if (word) d.out(*word);
  const Plane all = plane(part, mask.size());
  d.threads(all.threads, all.per_group);
}

bool supports(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  constexpr size_t kMost = size_t{1} << 31;
  return outputs[0].size() < kMost && inputs.back().size() < kMost;
}
// 64-bit floats can be moved, not combined.
template <class P>
bool combines(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const bool moves = static_cast<const P&>(p).reduce == ScatterReduce::none;
  return supports(p, inputs, outputs) && (moves || outputs[0].dtype() != float64);
}

const bool registered = add_kernel<Scatter>(scatter, combines<Scatter>) &&
                        add_kernel<ScatterAlongAxis>(scatter_along_axis, combines<ScatterAlongAxis>) &&
                        add_kernel<MaskedScatter>(masked_scatter, supports);

}  // namespace

void write_box(const array& src, const array& update, array& out,
               const std::function<array(const array& target)>& offset_in, const Stream& s) {
  start_from(src, out, s);
  const array dense = row_contiguous(update, s);
  scatter_boxes(ScatterReduce::none, offset_in(out), dense, walk_of(update.shape(), {out.strides()}), true,
                out, s);
}

}  // namespace mlx::core::metal
