// block_masked_mm and segmented_mm.
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/gather_matmul.h"
#include "mlx/ops/matmul.h"

namespace mlx::core {
namespace {

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
  fix_sizes("block_masked_mm", {a, b});
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

std::vector<Shape> SegmentedMM::output_shapes(const Arrays& in) {
  Shape out(in[2].shape().begin(), in[2].shape().end() - 1);
  out.push_back(in[0].shape(0));
  out.push_back(in[1].shape(1));
  return {out};
}

namespace {
// For every segment which of the k inner positions are its: (segments, k), as numbers of x's dtype.
array members(const array& segments, const array& x, int k, StreamOrDevice s) {
  const array at = arange(0, k, s), pairs = reshape(segments, {-1, 2}, s);
  const array begin = slice(pairs, {0, 0}, {pairs.shape(0), 1}, s);
  const array end = slice(pairs, {0, 1}, {pairs.shape(0), 2}, s);
  return astype(logical_and(greater_equal(at, begin, s), less(at, end, s), s), x.dtype(), s);
}
}  // namespace

// C_s = sum over k in s of a[:, k] b[k, :].
Arrays SegmentedMM::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const Stream s = stream();
  const array &a = primals[0], &b = primals[1], &segments = primals[2];
  const int rows = a.shape(0), inner = a.shape(1), columns = b.shape(1);
  const array g = reshape(cotangents[0], {static_cast<ShapeElem>(segments.size() / 2), rows, columns}, s);
  const array of = members(segments, a, inner, s);
  Arrays out;
  for (int arg : argnums) {
    if (arg == 0) {
      const array each = matmul(g, transposed_matrix(b, s), s);  // (segments, rows, inner)
      out.push_back(sum(multiply(each, expand_dims(of, 1, s), s), 0, false, s));
    } else if (arg == 1) {
      const array each = matmul(transposed_matrix(a, s), g, s);  // (segments, inner, columns)
      out.push_back(sum(multiply(each, expand_dims(of, 2, s), s), 0, false, s));
    } else {
      out.push_back(zeros_of(segments));
    }
  }
  return out;
}
Arrays SegmentedMM::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  array total = zeros(output_shapes(primals)[0], primals[0].dtype(), stream());
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 0)
      total = add(total, segmented_mm(tangents[i], primals[1], primals[2], stream()), stream());
    if (argnums[i] == 1)
      total = add(total, segmented_mm(primals[0], tangents[i], primals[2], stream()), stream());
  }
  return {total};
}
Batched SegmentedMM::vmap(const Arrays& inputs, const Axes& axes) {
  const int batch = batch_size(inputs, axes);
  Arrays front, rows;
  for (size_t i = 0; i < inputs.size(); ++i) front.push_back(batch_to_front(inputs[i], axes[i], batch));
  for (int i = 0; i < batch; ++i) {
    const auto row = [&](size_t k) { return take(front[k], i, 0, stream()); };
    rows.push_back(segmented_mm(row(0), row(1), row(2), stream()));
  }
  return {{stack(rows, 0, stream())}, {0}};
}

array segmented_mm(array a, array b, array segments, StreamOrDevice s) {
  fix_sizes("segmented_mm", {a, b, segments});
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
const bool kept =
    primitive_table().add<SegmentedMM>("SegmentedMM", 3, [](const SegmentedMM& p, const Arrays& in) {
      return Arrays{segmented_mm(in[0], in[1], in[2], p.stream())};
    });
}  // namespace

}  // namespace mlx::core
