// Segments of inner dimensions, and the gradient of segmented_mm (metal/kernels/segmented_sum.metal).
#include <algorithm>

#include "metal/host/elementwise.h"
#include "metal/host/indices.h"
#include "metal/host/layout.h"
#include "metal/host/matmul.h"
#include "mlx/ops/gather_matmul.h"

namespace mlx::core::metal {

namespace {

std::out_of_range no_part(const std::string& end, int64_t inner) {
  return std::out_of_range(
      text("[segmented_mm] got a segment with the end ", end, ", expected a part of [0, ", inner, ")"));
}

}  // namespace

void check_segments(const array& segments, int64_t inner, const Stream& s) {
  if (!used_by_gpu({segments})) {
    checked_segments(segments, inner);
    return;
  }
  const auto error = [inner](const std::string& end, size_t) {
    return std::make_exception_ptr(no_part(end, inner));
  };
  check_later(segments, inner + 1, 0, error, s);
}

// The host makes lists of them.
std::vector<Segment> checked_segments(const array& segments, int64_t inner) {
  Encoder::current().finish_for({segments});
  std::vector<Segment> out(segments.size() / 2);
  for_each_index(segments, [&](int64_t end, size_t i) {
    if (end < 0 || end > inner) throw no_part(std::to_string(end), inner);
    (i % 2 == 0 ? out[i / 2].begin : out[i / 2].end) = end;
  });
  return out;
}

namespace {

// As in metal/kernels/segmented_sum.metal.
struct Parameters {
  int32_t m, n, k, unused;
  int64_t x_pitch, x_step, b_pitch, x_first, b_first;
};

// The last two axes of x, and the step from one matrix to the next; copied where there is no such step.
std::pair<Operand, int64_t> matrices_of(const array& x, const Stream& s) {
  Operand o = operand_of(x, s);
  const Shape shape(x.shape().begin(), x.shape().end() - 2);
  const auto& strides = o.held.strides();
  const Layout lead = collapsed(shape, {Strides(strides.begin(), strides.end() - 2)});
  if (lead.shape.size() > 1) return matrices_of(row_contiguous(x, s), s);
  const int64_t step = lead.shape.empty() ? 0 : lead.strides[0][0];
  o.aligned = o.aligned && multiple_of_four({step});
  return {o, step};
}

// What the kernel's threadgroups walk through.
struct List {
  std::vector<int32_t> parts;
  int64_t longest = 0;  // segments of a tile
};
List list_of(const std::vector<Segment>& segments, int64_t n, int64_t tile) {
  const int64_t tiles = ceil_div(static_cast<size_t>(n), static_cast<size_t>(tile));
  std::vector<std::vector<int32_t>> of_tile(static_cast<size_t>(tiles));
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto [begin, end] = segments[i];
    for (int64_t first = begin / tile * tile; begin < end && first < end; first += tile) {
      auto& part = of_tile[static_cast<size_t>(first / tile)];
      part.insert(part.end(),
                  {static_cast<int32_t>(i), static_cast<int32_t>(std::max<int64_t>(begin - first, 0)),
                   static_cast<int32_t>(std::min(end - first, tile))});
    }
  }
  List out;
  auto at = static_cast<int32_t>(tiles + 1);
  for (const auto& part : of_tile) {
    out.parts.push_back(at);
    at += static_cast<int32_t>(part.size());
    out.longest = std::max(out.longest, static_cast<int64_t>(part.size() / 3));
  }
  out.parts.push_back(at);
  for (const auto& part : of_tile) out.parts.insert(out.parts.end(), part.begin(), part.end());
  return out;
}

void segmented_sum(const SegmentedSum& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = p.stream();
  const std::vector<Segment> segments = checked_segments(inputs[2], inputs[1].shape(0));
  if (inputs[0].size() == 0) return fill(array(0.0f), out, s);
  const auto [x, step] = matrices_of(inputs[0], s);
  const Operand b = operand_of(inputs[1], s);
  const int64_t m = out.shape(0), n = out.shape(1), k = inputs[0].shape(-1);
  const Tile tile = tile_for(m, n, 1, out.dtype());
  const List list = list_of(segments, n, tile.n);
  array parts({static_cast<ShapeElem>(list.parts.size())}, int32, nullptr, {});
  allocate(parts);
  std::copy(list.parts.begin(), list.parts.end(), parts.data<int32_t>());
  // A row of b is a column of the product's second operand.
  Dispatch d(s, instantiated("segmented_sum", "segmented_sum", tile.arguments(out.dtype()),
                             {{0, x.transposed},
                              {1, !b.transposed},
                              {2, x.aligned},
                              {3, b.aligned},
                              {4, k * list.longest > kLongSum}}));
  d.in(x.held).in(b.held).out(out);
  d.value(Parameters{static_cast<int32_t>(m), static_cast<int32_t>(n), static_cast<int32_t>(k), 0, x.pitch,
                     step, b.pitch, extent_of(x.held).first, extent_of(b.held).first});
  d.in(parts);
  d.groups({ceil_div(static_cast<size_t>(n), static_cast<size_t>(tile.n)),
            ceil_div(static_cast<size_t>(m), static_cast<size_t>(tile.m)), 1},
           {128, 1, 1});
}

// The list counts in 32 bits: each segment may meet every tile of columns.
bool supports(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  const uint64_t tiles = ceil_div(static_cast<size_t>(inputs[1].shape(0)), 32) + 1;
  return real_only(p, inputs, outputs) && tiles * (3 * inputs[2].size() / 2 + 1) < (uint64_t{1} << 31);
}

const bool registered = add_kernel<SegmentedSum>(segmented_sum, supports);

}  // namespace
}  // namespace mlx::core::metal
