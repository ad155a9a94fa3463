// Sorting in passes (metal/kernels/sort.metal). What is asked to be partitioned is sorted: that fulfils it.
#include "metal/host/sort.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
#include "mlx/ops/sort.h"

namespace mlx::core::metal {
namespace {

constexpr uint32_t kItems = 8, kTile = 2048;  // as there

// As struct Sort there.
struct Parameters {
  uint32_t n, inner, rows, width;
};
enum class Result { values, places, elements };

// The runs of a pass, or what becomes of them in the end.
struct Runs {
  array keys, places;
};
array vector_of(size_t n, Dtype dtype) {
  array a({static_cast<ShapeElem>(n)}, dtype, nullptr, {});
  allocate(a);
  return a;
}
// Nothing where this is the last pass.
Runs runs_of(const array& in, bool with_places, bool last) {
  return {vector_of(last ? 0 : in.size(), bits_of(in.dtype())),
          vector_of(with_places && !last ? in.size() : 0, uint32)};
}

// Runs of the rows of row-contiguous `in`, (outer, n, inner): into `out`, or as keys where it is null.
Runs sort_rows(const array& in, int axis, Result result, bool with_places, array* out, const Stream& s) {
  Parameters p{static_cast<uint32_t>(in.shape(axis)), 1, 0, kTile};
  for (int d = axis + 1; d < static_cast<int>(in.ndim()); ++d) p.inner *= static_cast<uint32_t>(in.shape(d));
  p.rows = static_cast<uint32_t>(in.size() / p.n);
  const uint32_t key_bytes = in.dtype().size() == 8 ? 8 : 4;
  const auto run = [&](const char* kernel, bool last) {
    const std::vector<FunctionConstant> constants = {
        {0, with_places}, {1, last}, {2, static_cast<int32_t>(result)}};
    return typed_pipeline("sort", in.dtype(), kernel, constants);
  };
  const auto give = [&](Dispatch& d, const Runs& to, bool last) {
    last ? d.skip() : d.out(to.keys);
    const bool writes_places = with_places && (!last || result == Result::places);
    writes_places ? d.out(last ? *out : to.places) : d.skip();
    last&& result != Result::places ? d.out(*out) : d.skip();
    d.value(p);
  };
  const auto memory = [&](Dispatch& d, uint32_t elements) {
    d.threadgroup_memory(size_t{elements} * key_bytes);
    d.threadgroup_memory(with_places ? size_t{elements} * 4 : 16);
  };
  const uint32_t threads = std::min(kTile / kItems, std::bit_ceil(ceil_div(p.n, kItems)));
  const uint32_t side = std::clamp<uint32_t>(128 / threads, 1, std::bit_ceil(p.rows));
  const bool one_pass = p.n <= kTile && out;
  Runs runs = runs_of(in, with_places, one_pass);
  {
    const bool last = one_pass;
    Dispatch d(s, run("sort_blocks", last));
    d.in(in);
    give(d, runs, last);
    memory(d, threads * side * kItems);
    d.groups({ceil_div(p.rows, side), ceil_div(p.n, kTile), 1}, {threads, side, 1});
  }
  for (; p.width < p.n; p.width *= 2) {
    const bool last = p.n - p.width <= p.width && out;
    const Runs next = runs_of(in, with_places, last);
    Dispatch d(s, run("merge_runs", last));
    d.in(runs.keys);
    with_places ? d.in(runs.places) : d.skip();
    last&& result == Result::elements ? d.in(in) : d.skip();
    give(d, next, last);
    memory(d, kTile);
    d.groups({ceil_div(p.n, kTile), p.rows, 1}, {kTile / kItems, 1, 1});
    runs = next;
  }
  return runs;
}

template <class P>
void sort(const P& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const array in = row_contiguous(inputs[0], p.stream());
  const bool places = std::is_same_v<P, ArgSort>, complex = in.dtype() == complex64;
  const Result result = places ? Result::places : complex ? Result::elements : Result::values;
  sort_rows(in, p.axis, result, places || complex, &out, p.stream());
}

void search(const SearchSorted& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  if (inputs[0].size() == 0) return fill(array(0, uint32), out, p.stream());
  const array sequence = row_contiguous(inputs[0], p.stream()),
              values = row_contiguous(inputs[1], p.stream());
  Dispatch d(p.stream(), typed_pipeline("search", values.dtype(), "search"));
  d.in(sequence).in(values).out(out);
  d.value(std::pair<uint32_t, uint32_t>(static_cast<uint32_t>(sequence.size()), p.right));
  const Line l = line(out.size());
  d.threads(l.threads, l.per_group);
}

void unique(const Unique& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  const array a = row_contiguous(inputs[0], s), order = row_contiguous(inputs[1], s);
  for (array& out : outputs) allocate(out);
  if (a.size() == 0) {
    fill(array(0, uint32), outputs[0], s);
    return fill(array(0, int32), outputs[2], s);
  }
  array begins(a.shape(), bool_, nullptr, {});
  allocate(begins);
  const Line l = line(a.size());
  Dispatch(s, typed_pipeline("search", a.dtype(), "unique_begins"))
      .in(a)
      .in(order)
      .out(begins)
      .threads(l.threads, l.per_group);
  const Ranks ranks = ranks_of(begins, s);
  const std::pair<uint32_t, uint32_t> sizes(static_cast<uint32_t>(a.size()), p.size);
  const array firsts = vector_of(a.size() + 1, uint32);
  {
    Dispatch d(s, pipeline("compact", "unique_places"));
    d.in(begins).in(ranks.ranks).in(order).out(outputs[0]).out(outputs[1]).out(firsts).value(sizes);
    d.threads(l.threads, l.per_group);
  }
  if (p.size == 0) return;
  Dispatch d(s, pipeline("compact", "unique_counts"));
  d.in(ranks.before).value(ranks.blocks).in(order).in(firsts).in_out(outputs[0]).out(outputs[2]).value(sizes);
  const Line counts = line(static_cast<size_t>(p.size));
  d.threads(counts.threads, counts.per_group);
}

bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && inputs[0].size() < (size_t{1} << 31) &&
         outputs[0].size() < (size_t{1} << 31);
}
bool unique_supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return without_float64(p, inputs, outputs) && inputs[0].size() < (size_t{1} << 31);
}

const bool registered =
    add_kernel<Sort>(sort<Sort>, supports) && add_kernel<ArgSort>(sort<ArgSort>, supports) &&
    add_kernel<SearchSorted>(search, supports) && add_kernel<Unique>(unique, unique_supports);

}  // namespace

Sorted sorted_with_places(const array& numbers, const Stream& s) {
  const Runs runs = sort_rows(numbers, 0, Result::places, true, nullptr, s);
  return {runs.keys, runs.places};
}

}  // namespace mlx::core::metal
