// sort, argsort, partition, argpartition, topk, searchsorted, unique.
#include "mlx/ops/sort.h"

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {
namespace {

array sorted(const array& a, int axis, int kth, StreamOrDevice s) {
  return make<Sort>(a.shape(), a.dtype(), s, {a}, axis, kth);
}
array order(const array& a, int axis, int kth, StreamOrDevice s) {
  return make<ArgSort>(a.shape(), uint32, s, {a}, axis, kth);
}

// A place in the sorted order, counted from the end where negative.
int checked_kth(const char* name, const array& a, int kth, int axis) {
  const int n = a.shape(axis);
  if (kth < -n || kth >= n)
    throw invalid(name, "got kth = ", kth, ", expected it in [", -n, ", ", n, ") for axis ", axis,
                  " of an array of shape ", a.shape());
  return kth < 0 ? kth + n : kth;
}

// The outputs of Unique for a vector, given with its order.
Arrays unique_parts(const Arrays& in, int size, Stream s) {
  return array::make_arrays({{size}, in[0].shape(), {size}}, {uint32, uint32, int32},
                            std::make_shared<Unique>(s, size), in);
}

}  // namespace

// Sorting moves values: gradients move back the same way.
Arrays Sort::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  const array places = order(primals[0], axis, kth, stream());
  return {put_along_axis(zeros_of(primals[0]), places, cotangents[0], axis, stream())};
}
Arrays Sort::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  return {take_along_axis(tangents[0], order(primals[0], axis, kth, stream()), axis, stream())};
}
Batched Sort::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{sorted(in[0], axis + 1, kth, stream())}; });
}

Arrays ArgSort::vjp(const Arrays& primals, const Arrays&, const Axes&, const Arrays&) {
  return {zeros_of(primals[0])};
}
Arrays ArgSort::jvp(const Arrays& primals, const Arrays&, const Axes&) {
  return {zeros(primals[0].shape(), uint32, stream())};
}
Batched ArgSort::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{order(in[0], axis + 1, kth, stream())}; });
}

Arrays SearchSorted::vjp(const Arrays& primals, const Arrays&, const Axes& argnums, const Arrays&) {
  Arrays out;
  for (int i : argnums) out.push_back(zeros_of(primals[i]));
  return out;
}
Arrays SearchSorted::jvp(const Arrays& primals, const Arrays&, const Axes&) {
  return {zeros(primals[1].shape(), uint32, stream())};
}
Batched SearchSorted::vmap(const Arrays& inputs, const Axes& at) {
  if (at[0] >= 0)  // the kernel knows one sequence
    return one_by_one(inputs, at, stream(), [&](const Arrays& in) {
      return Arrays{make<SearchSorted>(in[1].shape(), uint32, stream(), in, right)};
    });
  return {{make<SearchSorted>(inputs[1].shape(), uint32, stream(), inputs, right)}, {at[1]}};
}
Batched Unique::vmap(const Arrays& inputs, const Axes& at) {
  return one_by_one(inputs, at, stream(), [&](const Arrays& in) { return unique_parts(in, size, stream()); });
}

array sort(const array& a, int axis, StreamOrDevice s) {
  return sorted(a, checked_axis("sort", axis, a.shape()), -1, s);
}
array sort(const array& a, StreamOrDevice s) { return sorted(flatten(a, s), 0, -1, s); }
array argsort(const array& a, int axis, StreamOrDevice s) {
  return order(a, checked_axis("argsort", axis, a.shape()), -1, s);
}
array argsort(const array& a, StreamOrDevice s) { return order(flatten(a, s), 0, -1, s); }

array partition(const array& a, int kth, int axis, StreamOrDevice s) {
  const int at = checked_axis("partition", axis, a.shape());
  return sorted(a, at, checked_kth("partition", a, kth, at), s);
}
array partition(const array& a, int kth, StreamOrDevice s) { return partition(flatten(a, s), kth, 0, s); }
array argpartition(const array& a, int kth, int axis, StreamOrDevice s) {
  const int at = checked_axis("argpartition", axis, a.shape());
  return order(a, at, checked_kth("argpartition", a, kth, at), s);
}
array argpartition(const array& a, int kth, StreamOrDevice s) {
  return argpartition(flatten(a, s), kth, 0, s);
}

array topk(const array& a, int k, int axis, StreamOrDevice s) {
  const int at = checked_axis("topk", axis, a.shape());
  const int n = a.shape(at);
  if (k < 0 || k > n)
    throw invalid("topk", "got k = ", k, ", expected it in [0, ", n, "] for axis ", at,
                  " of an array of shape ", a.shape());
  Shape start(a.ndim(), 0), stop(a.ndim(), kToEnd);
  start[at] = k == 0 ? kToEnd : -k;
  fix_size("topk", a, at);
  if (k == 0 || k == n) return k == n ? a : slice(a, start, stop, s);
  return slice(sorted(a, at, n - k, s), start, stop, s);
}
array topk(const array& a, int k, StreamOrDevice s) { return topk(flatten(a, s), k, 0, s); }

array searchsorted(const array& sequence, const array& values, const std::string& side, StreamOrDevice s) {
  if (sequence.ndim() != 1)
    throw invalid("searchsorted", "got a sorted sequence of shape ", sequence.shape(),
                  ", expected one dimension");
  if (side != "left" && side != "right")
    throw invalid("searchsorted", "got side '", side, "', expected 'left' or 'right'");
  const Dtype dtype = result_type(sequence, values);
  return make<SearchSorted>(values.shape(), uint32, s, {astype(sequence, dtype, s), astype(values, dtype, s)},
                            side == "right");
}

std::vector<array> unique(const array& a, int size, bool return_index, bool return_inverse,
                          bool return_counts, const std::optional<array>& fill_value, StreamOrDevice s) {
  if (size < 0) throw invalid("unique", "got size = ", size, ", expected it not to be negative");
  if (a.size() == 0 && size > 0 && !fill_value)
    throw invalid("unique", "got an empty array, expected a fill_value for ", size, " elements");
  if (fill_value && fill_value->size() != 1)
    throw invalid("unique", "got a fill_value of shape ", fill_value->shape(), ", expected a single element");
  const array flat = flatten(a, s);
  const Arrays parts = unique_parts({flat, argsort(flat, 0, s)}, size, to_stream(s));
  const array &index = parts[0], &counts = parts[2];
  array values = a.size() ? take(flat, index, 0, s) : zeros({size}, a.dtype(), s);
  if (fill_value) {
    const array fill = reshape(astype(*fill_value, a.dtype(), s), Shape{}, s);
    values = where(greater(counts, array(0), s), values, fill, s);
  }
  Arrays out{values};
  if (return_index) out.push_back(index);
  if (return_inverse) out.push_back(reshape(parts[1], a.shape(), s));
  if (return_counts) out.push_back(counts);
  return out;
}

namespace {

const bool kept_sort =
    primitive_table().add<Sort>("Sort", 1,
                                [](const Sort& p, const Arrays& in) {
                                  return Arrays{p.kth < 0 ? sort(in[0], p.axis, p.stream())
                                                          : partition(in[0], p.kth, p.axis, p.stream())};
                                }) &&
    primitive_table().add<ArgSort>("ArgSort", 1,
                                   [](const ArgSort& p, const Arrays& in) {
                                     return Arrays{p.kth < 0
                                                       ? argsort(in[0], p.axis, p.stream())
                                                       : argpartition(in[0], p.kth, p.axis, p.stream())};
                                   }) &&
    primitive_table().add<SearchSorted>(
        "SearchSorted", 2,
        [](const SearchSorted& p, const Arrays& in) {
          return Arrays{searchsorted(in[0], in[1], p.right ? "right" : "left", p.stream())};
        }) &&
    // The order is found again: the kernel trusts it.
    primitive_table().add<Unique>("Unique", 2, [](const Unique& p, const Arrays& in) {
      check_inputs(p, in[0].ndim() == 1 && p.size >= 0, in);
      return unique_parts({in[0], argsort(in[0], 0, p.stream())}, p.size, p.stream());
    });

}  // namespace

}  // namespace mlx::core
