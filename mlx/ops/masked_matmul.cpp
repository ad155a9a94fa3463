// block_masked_mm and segmented_mm.
#include <optional>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/gather_matmul.h"

namespace mlx::core {
namespace {

constexpr int kSegments = 2;  // the operand of segmented_mm

Dtype checked_floats(std::string_view op, const array& a, const array& b) {
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  if (!issubdtype(dtype, floating))
    throw invalid(op, "got ", a.dtype(), " and ", b.dtype(), ", expected real floats");
  return dtype;
}

int blocks(int size, int block) { return (size + block - 1) / block; }

// One element of the mask for every element of a matrix: what a bool mask excludes is zero (not nan times
// zero), other masks are factors.
array masked(const array& a, const array& mask, int block, StreamOrDevice s) {
  const int rows = a.shape(-2), cols = a.shape(-1);
  array full = repeat(repeat(mask, block, -2, s), block, -1, s);
  Shape start(full.ndim(), 0), stop = full.shape();
  stop[stop.size() - 2] = rows;
  stop.back() = cols;
  full = slice(full, start, stop, s);
  if (full.dtype() == bool_) return where(full, a, like(a, 0), s);
  return multiply(a, astype(full, a.dtype(), s), s);
}

void check_mask(const char* name, const array& mask, const Shape& matrix, int block) {
  Shape expected = matrix;
  expected[expected.size() - 2] = blocks(expected[expected.size() - 2], block);
  expected.back() = blocks(expected.back(), block);
  bool fits = mask.ndim() >= 2;
  try {
    fits = fits && broadcast_shapes(mask.shape(), expected) == expected;
  } catch (const std::invalid_argument&) {
    fits = false;
  }
  if (!fits)
    throw invalid("block_masked_mm", "got ", name, " with shape ", mask.shape(),
                  ", expected one that broadcasts to ", expected, ": an element for every block of ", block,
                  " by ", block);
}

// The mask with all rows and columns of blocks: those of size 1 broadcast.
array whole(const array& mask, const Shape& matrix, int block, StreamOrDevice s) {
  Shape shape = mask.shape();
  shape[shape.size() - 2] = blocks(matrix[matrix.size() - 2], block);
  shape.back() = blocks(matrix.back(), block);
  return broadcast_to(mask, shape, s);
}

}  // namespace

array block_masked_mm(array a, array b, int block_size, std::optional<array> mask_out,
                      std::optional<array> mask_lhs, std::optional<array> mask_rhs, StreamOrDevice s) {
  constexpr std::string_view op = "block_masked_mm";
  if (block_size < 1) throw invalid(op, "got the block size ", block_size, ", expected 1 or more");
  const Dtype dtype = checked_floats(op, a, b);
  if (a.ndim() < 2 || b.ndim() < 2)
    throw invalid(op, "got shapes ", a.shape(), " and ", b.shape(), ", expected two dimensions at least");
  if (a.shape(-1) != b.shape(-2))
    throw invalid(op, "got shapes ", a.shape(), " and ", b.shape(),
                  ", expected the last dimension of the first to be the last but one of the second");
  a = astype(a, dtype, s);
  b = astype(b, dtype, s);
  Shape out = broadcast_shapes(Shape(a.shape().begin(), a.shape().end() - 2),
                               Shape(b.shape().begin(), b.shape().end() - 2));
  Shape of_a = out, of_b = out;
  const auto finish = [](Shape& shape, int rows, int cols) {
    shape.push_back(rows);
    shape.push_back(cols);
  };
  finish(of_a, a.shape(-2), a.shape(-1));
  finish(of_b, b.shape(-2), b.shape(-1));
  finish(out, a.shape(-2), b.shape(-1));
  if (mask_lhs) {
    check_mask("mask_lhs", *mask_lhs, of_a, block_size);
    a = masked(a, whole(*mask_lhs, of_a, block_size, s), block_size, s);
  }
  if (mask_rhs) {
    check_mask("mask_rhs", *mask_rhs, of_b, block_size);
    b = masked(b, whole(*mask_rhs, of_b, block_size, s), block_size, s);
  }
  if (mask_out) check_mask("mask_out", *mask_out, out, block_size);
  const array product = matmul(a, b, s);
  return mask_out ? masked(product, whole(*mask_out, out, block_size, s), block_size, s) : product;
}

// --- segmented_mm ---

namespace {

// out = f(a, b) is linear in both: each tangent goes through f with the other operand.
template <class F>
array product_change(const Arrays& primals, const Arrays& tangents, const Axes& argnums, F&& f,
                     StreamOrDevice s) {
  std::optional<array> sum;
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == kSegments) continue;
    Arrays in = primals;
    in[static_cast<size_t>(argnums[i])] = tangents[i];
    const array part = f(in);
    sum = sum ? add(*sum, part, s) : part;
  }
  return sum ? *sum : zeros_of(f(primals));
}
array segmented_sum(const array& x, const array& b, const array& segments, StreamOrDevice s) {
  return make<SegmentedSum>({x.shape(-2), b.shape(0)}, x.dtype(), s, {x, b, segments});
}
array flipped(const array& a, StreamOrDevice s) { return swapaxes(a, -1, -2, s); }

}  // namespace

Arrays SegmentedMM::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const StreamOrDevice s = stream();
  const array &a = primals[0], &b = primals[1], &segments = primals[kSegments], &g = cotangents[0];
  Arrays out;
  for (int i : argnums) {
    if (i == 0) out.push_back(segmented_sum(g, b, segments, s));
    if (i == 1) out.push_back(flipped(segmented_sum(flipped(g, s), flipped(a, s), segments, s), s));
    if (i == kSegments) out.push_back(zeros_of(segments));
  }
  return out;
}
Arrays SegmentedMM::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const auto f = [&](const Arrays& in) { return segmented_mm(in[0], in[1], in[kSegments], stream()); };
  return {product_change(primals, tangents, argnums, f, stream())};
}
Batched SegmentedMM::vmap(const Arrays& inputs, const Axes& axes) {
  const StreamOrDevice s = stream();
  if (axes[0] < 0 && axes[1] < 0)
    return {{segmented_mm(inputs[0], inputs[1], moveaxis(inputs[kSegments], axes[kSegments], 0, s), s)}, {0}};
  return one_by_one(inputs, axes, s,
                    [&](const Arrays& in) { return Arrays{segmented_mm(in[0], in[1], in[kSegments], s)}; });
}

std::vector<Shape> SegmentedMM::output_shapes(const Arrays& in) {
  Shape out(in[2].shape().begin(), in[2].shape().end() - 1);
  out.push_back(in[0].shape(0));
  out.push_back(in[1].shape(1));
  return {out};
}

Arrays SegmentedSum::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays&) {
  const StreamOrDevice s = stream();
  const array &x = primals[0], &b = primals[1], &segments = primals[kSegments], &g = cotangents[0];
  Arrays out;
  for (int i : argnums) {
    if (i == 0) out.push_back(segmented_mm(g, b, segments, s));
    if (i == 1) out.push_back(flipped(segmented_sum(flipped(x, s), flipped(g, s), segments, s), s));
    if (i == kSegments) out.push_back(zeros_of(segments));
  }
  return out;
}
Arrays SegmentedSum::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const auto f = [&](const Arrays& in) { return segmented_sum(in[0], in[1], in[kSegments], stream()); };
  return {product_change(primals, tangents, argnums, f, stream())};
}
Batched SegmentedSum::vmap(const Arrays& inputs, const Axes& axes) {
  return one_by_one(inputs, axes, stream(), [&](const Arrays& in) {
    return Arrays{segmented_sum(in[0], in[1], in[kSegments], stream())};
  });
}
std::vector<Shape> SegmentedSum::output_shapes(const Arrays& in) {
  return {{in[0].shape(-2), in[1].shape(0)}};
}

array segmented_mm(array a, array b, array segments, StreamOrDevice s) {
  constexpr std::string_view op = "segmented_mm";
  const Dtype dtype = checked_floats(op, a, b);
  if (a.ndim() != 2 || b.ndim() != 2)
    throw invalid(op, "got shapes ", a.shape(), " and ", b.shape(), ", expected two matrices");
  if (a.shape(1) != b.shape(0))
    throw invalid(op, "got shapes ", a.shape(), " and ", b.shape(),
                  ", expected the last dimension of the first to be the first of the second");
  if (!issubdtype(segments.dtype(), integer))
    throw invalid(op, "got segments of ", segments.dtype(), ", expected integers");
  if (segments.ndim() < 1 || segments.shape(-1) != 2)
    throw invalid(op, "got segments with shape ", segments.shape(), ", expected (..., 2): begins and ends");
  Shape out(segments.shape().begin(), segments.shape().end() - 1);
  out.push_back(a.shape(0));
  out.push_back(b.shape(1));
  return make<SegmentedMM>(out, dtype, s, {astype(a, dtype, s), astype(b, dtype, s), segments});
}

namespace {
const bool kept_masked_matmul =
    primitive_table().add<SegmentedMM>("SegmentedMM", 3,
                                       [](const SegmentedMM& p, const Arrays& in) {
                                         return Arrays{segmented_mm(in[0], in[1], in[2], p.stream())};
                                       }) &&
    primitive_table().add<SegmentedSum>("SegmentedSum", 3, [](const SegmentedSum& p, const Arrays& in) {
      const array &x = in[0], &b = in[1], &segments = in[kSegments];
      bool fit = x.dtype() == b.dtype() && issubdtype(x.dtype(), floating) && b.ndim() == 2 &&
                 x.ndim() >= 2 && issubdtype(segments.dtype(), integer) && segments.ndim() + 1 == x.ndim() &&
                 segments.shape(-1) == 2 && x.shape(-1) == b.shape(1);
      for (size_t i = 0; fit && i + 2 < x.ndim(); ++i) fit = x.shape()[i] == segments.shape()[i];
      check_inputs(p, fit, in);
      return Arrays{segmented_sum(x, b, segments, p.stream())};
    });
}  // namespace

}  // namespace mlx::core
