// Matrix products: matmul, addmm, and what is a matmul of reshaped operands (inner, outer, tensordot, vecdot,
// kron).
#include "mlx/ops/matmul.h"

#include <algorithm>
#include <numeric>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/view.h"

namespace mlx::core {
namespace {

Shape leading(const Shape& s) { return Shape(s.begin(), s.end() - 2); }

Shape with_matrix(Shape batch, ShapeElem rows, ShapeElem cols) {
  batch.push_back(rows);
  batch.push_back(cols);
  return batch;
}

// The shape of a product of arrays of two or more dimensions.
Shape product_shape(const Shape& a, const Shape& b) {
  return with_matrix(broadcast_shapes(leading(a), leading(b)), a[a.size() - 2], b[b.size() - 1]);
}

array product(const array& a, const array& b, StreamOrDevice s) {
  return make<Matmul>(product_shape(a.shape(), b.shape()), a.dtype(), s, {a, b});
}

// Whether b is the transpose of a matrix, as a layer's weights are when they are used.
bool is_turned(const array& b) {
  if (b.ndim() != 2 || !b.has_primitive()) return false;
  const Primitive& p = b.primitive();
  return typeid(p) == typeid(Transpose) && static_cast<const Transpose&>(p).axes == Axes{1, 0};
}

// d(ab)/db contracted with g. A shared b takes one product over all rows instead of a sum of products. If b
// is w.T, the gradient is the transpose of a product, so that w's is the product: row-contiguous, as its user
// (an optimizer) likes it.
array right_gradient(const array& a, const array& b, const array& g, StreamOrDevice s) {
  if (b.ndim() == 2 && a.ndim() >= 2 && a.ndim() == g.ndim()) {
    const bool rows = a.ndim() == 2;
    const array x = rows ? a : flatten(a, 0, -2, s), y = rows ? g : flatten(g, 0, -2, s);
    if (is_turned(b)) return transposed_matrix(product(transposed_matrix(y, s), x, s), s);
    return product(transposed_matrix(x, s), y, s);
  }
  return sum_to_shape(product(transposed_matrix(a, s), g, s), b.shape(), s);
}
array left_gradient(const array& a, const array& b, const array& g, StreamOrDevice s) {
  return sum_to_shape(product(g, transposed_matrix(b, s), s), a.shape(), s);
}

// Batch axes to the front, and ones behind them so that all inputs have `ndim` dimensions beside the batch:
// the leading dimensions then line up as they would without it.
array line_up(const array& a, int axis, int ndim, StreamOrDevice s) {
  if (axis < 0) return a;
  const array front = moveaxis(a, axis, 0, s);
  const int missing = ndim + 1 - static_cast<int>(a.ndim());
  if (missing <= 0) return front;
  std::vector<int> axes(static_cast<size_t>(missing));
  std::iota(axes.begin(), axes.end(), 1);
  return expand_dims(front, axes, s);
}
int ndim_without_batch(const array& a, int axis) { return static_cast<int>(a.ndim()) - (axis >= 0 ? 1 : 0); }

struct Operands {
  array a, b;
  bool row, column;  // a or b was a vector
};
Operands checked_operands(std::string_view op, array a, array b, StreamOrDevice s) {
  if (a.ndim() == 0 || b.ndim() == 0)
    throw invalid(op, "got shapes ", a.shape(), " and ", b.shape(),
                  ", expected at least one dimension in each");
  const bool row = a.ndim() == 1, column = b.ndim() == 1;
  if (a.shape(-1) != b.shape(column ? 0 : -2))
    throw invalid(op, "Last dimension of first input with shape ", a.shape(), " (", a.shape(-1),
                  ") must match second to last dimension of second input with shape ", b.shape(), " (",
                  b.shape(column ? 0 : -2), ").");
  if (row) a = expand_dims(a, 0, s);
  if (column) b = expand_dims(b, 1, s);
  return {std::move(a), std::move(b), row, column};
}

Dtype checked_type(std::string_view op, Dtype result, const array& a, const array& b) {
  if (!issubdtype(result, inexact))
    throw invalid(op, "Only inexact types are supported but ", a.dtype(), " and ", b.dtype(),
                  " were provided which results in ", result, ", which is not a floating point type.");
  return result;
}

array without_vector_axes(array out, const Operands& x, StreamOrDevice s) {
  if (x.row && x.column) return squeeze(out, {-1, -2}, s);
  if (x.row) return squeeze(out, -2, s);
  if (x.column) return squeeze(out, -1, s);
  return out;
}

}  // namespace

array transposed_matrix(const array& a, StreamOrDevice s) {
  const array turned = swapaxes(a, -1, -2, s);
  return a.dtype() == complex64 ? conjugate(turned, s) : turned;
}

// --- matmul ---

Arrays Matmul::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  for (const int arg : argnums)
    out.push_back(
        (arg == 0 ? left_gradient : right_gradient)(primals[0], primals[1], cotangents[0], stream()));
  return out;
}

Arrays Matmul::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  for (size_t i = 0; i < argnums.size(); ++i)
    terms.push_back(argnums[i] == 0 ? product(tangents[i], primals[1], stream())
                                    : product(primals[0], tangents[i], stream()));
  return {terms.size() == 2 ? add(terms[0], terms[1], stream()) : terms[0]};
}

Batched Matmul::vmap(const Arrays& inputs, const Axes& axes) {
  const int ndim = std::max(ndim_without_batch(inputs[0], axes[0]), ndim_without_batch(inputs[1], axes[1]));
  return {{product(line_up(inputs[0], axes[0], ndim, stream()), line_up(inputs[1], axes[1], ndim, stream()),
                   stream())},
          {0}};
}

std::vector<Shape> Matmul::output_shapes(const Arrays& inputs) {
  return {product_shape(inputs[0].shape(), inputs[1].shape())};
}

array matmul(const array& a, const array& b, StreamOrDevice s) {
  const Dtype dtype = checked_type("matmul", promote_types(a.dtype(), b.dtype()), a, b);
  const Operands x = checked_operands("matmul", astype(a, dtype, s), astype(b, dtype, s), s);
  return without_vector_axes(product(x.a, x.b, s), x, s);
}

// --- addmm
// ------------------------------------------------------------------------------------------------------

namespace {

array sum_of_product(const array& c, const array& a, const array& b, float alpha, float beta,
                     StreamOrDevice s) {
  return make<AddMM>(product_shape(a.shape(), b.shape()), a.dtype(), s, {a, b, c}, alpha, beta);
}

array scaled(const array& x, float by, StreamOrDevice s) {
  return by == 1.0f ? x : multiply(like(x, static_cast<double>(by)), x, s);
}

}  // namespace

Arrays AddMM::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  const array& g = cotangents[0];
  for (const int arg : argnums) {
    if (arg == 2) {
      out.push_back(scaled(sum_to_shape(g, primals[2].shape(), stream()), beta, stream()));
    } else {
      const auto gradient = arg == 0 ? left_gradient : right_gradient;
      out.push_back(scaled(gradient(primals[0], primals[1], g, stream()), alpha, stream()));
    }
  }
  return out;
}

Arrays AddMM::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const Shape shape = product_shape(primals[0].shape(), primals[1].shape());
  Arrays terms;
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 2) {
      terms.push_back(broadcast_to(scaled(tangents[i], beta, stream()), shape, stream()));
    } else {
      const array term = argnums[i] == 0 ? product(tangents[i], primals[1], stream())
                                         : product(primals[0], tangents[i], stream());
      terms.push_back(scaled(term, alpha, stream()));
    }
  }
  array total = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) total = add(total, terms[i], stream());
  return {total};
}

Batched AddMM::vmap(const Arrays& inputs, const Axes& axes) {
  int ndim = 0;
  for (size_t i = 0; i < 3; ++i) ndim = std::max(ndim, ndim_without_batch(inputs[i], axes[i]));
  Arrays in;
  for (size_t i = 0; i < 3; ++i) in.push_back(line_up(inputs[i], axes[i], ndim, stream()));
  // Where only c has the batch, a product without it is not as large as c.
  if (axes[0] < 0 && axes[1] < 0) {
    const Shape shape = broadcast_shapes(product_shape(in[0].shape(), in[1].shape()), in[2].shape());
    const array ab = scaled(product(in[0], in[1], stream()), alpha, stream());
    return {{add(broadcast_to(ab, shape, stream()), scaled(in[2], beta, stream()), stream())}, {0}};
  }
  return {{sum_of_product(in[2], in[0], in[1], alpha, beta, stream())}, {0}};
}

std::vector<Shape> AddMM::output_shapes(const Arrays& inputs) {
  return {product_shape(inputs[0].shape(), inputs[1].shape())};
}

array addmm(array c, array a, array b, const float& alpha, const float& beta, StreamOrDevice s) {
  const Dtype dtype =
      checked_type("addmm", promote_types(promote_types(a.dtype(), b.dtype()), c.dtype()), a, b);
  Operands x = checked_operands("addmm", astype(a, dtype, s), astype(b, dtype, s), s);
  c = astype(c, dtype, s);
  const Shape full = product_shape(x.a.shape(), x.b.shape());
  Shape shape(full.begin(), full.end() - 2);
  if (!x.row) shape.push_back(full[full.size() - 2]);
  if (!x.column) shape.push_back(full[full.size() - 1]);
  if (broadcast_shapes(c.shape(), shape) != shape)
    throw invalid("addmm", "input c of shape ", c.shape(), " must broadcast to the output shape ", shape);
  // The axes that a vector lacks, in c as well.
  if (x.row && c.ndim() >= 1) c = expand_dims(c, x.column ? static_cast<int>(c.ndim()) : -2, s);
  if (x.column && c.ndim() >= 1) c = expand_dims(c, -1, s);
  return without_vector_axes(sum_of_product(c, x.a, x.b, alpha, beta, s), x, s);
}

// --- reshaped products
// ------------------------------------------------------------------------------------------

array inner(const array& a, const array& b, StreamOrDevice s) {
  if (a.ndim() == 0 || b.ndim() == 0) return multiply(a, b, s);
  if (a.shape(-1) != b.shape(-1))
    throw invalid("inner", "a and b must have the same last dimension, got shapes ", a.shape(), " and ",
                  b.shape());
  if (a.ndim() == 1 && b.ndim() == 1) return matmul(a, b, s);
  return tensordot(a, b, {-1}, {-1}, s);
}

array outer(const array& a, const array& b, StreamOrDevice s) {
  return multiply(expand_dims(flatten(a, s), 1, s), flatten(b, s), s);
}

array tensordot(const array& a, const array& b, const int axis, StreamOrDevice s) {
  if (axis < 0) throw invalid("tensordot", "axis must be greater or equal to 0, got ", axis);
  if (axis > static_cast<int>(std::min(a.ndim(), b.ndim())))
    throw invalid("tensordot", "axis must be less than the number of dimensions of a and b, got ", axis,
                  " for shapes ", a.shape(), " and ", b.shape());
  std::vector<int> of_a, of_b;
  for (int i = 0; i < axis; ++i) {
    of_a.push_back(i - axis + static_cast<int>(a.ndim()));
    of_b.push_back(i);
  }
  return tensordot(a, b, of_a, of_b, s);
}

array tensordot(const array& a, const array& b, const std::vector<int>& axes_a,
                const std::vector<int>& axes_b, StreamOrDevice s) {
  if (axes_a.size() != axes_b.size())
    throw invalid("tensordot", "axes must have the same size, got ", axes_a.size(), " and ", axes_b.size());
  std::vector<bool> used_a(a.ndim()), used_b(b.ndim());
  std::vector<int> order_a, order_b;
  for (size_t i = 0; i < axes_a.size(); ++i) {
    const int x = checked_axis("tensordot", axes_a[i], a.shape()),
              y = checked_axis("tensordot", axes_b[i], b.shape());
    if (a.shape(x) != b.shape(y))
      throw invalid("tensordot", "a and b must have the same shape on the contracted axes, got ", a.shape(x),
                    " and ", b.shape(y));
    if (used_a[static_cast<size_t>(x)] || used_b[static_cast<size_t>(y)])
      throw invalid("tensordot", "an axis is contracted twice");
    used_a[static_cast<size_t>(x)] = used_b[static_cast<size_t>(y)] = true;
    order_a.push_back(x);
    order_b.push_back(y);
  }
  // a as (kept, contracted), b as (contracted, kept).
  Shape shape;
  std::vector<int> kept_a;
  ShapeElem rows = 1, inner = 1, cols = 1;
  for (const int x : order_a) inner *= a.shape(x);
  for (int i = 0; i < static_cast<int>(a.ndim()); ++i) {
    if (used_a[static_cast<size_t>(i)]) continue;
    kept_a.push_back(i);
    shape.push_back(a.shape(i));
    rows *= a.shape(i);
  }
  for (int i = 0; i < static_cast<int>(b.ndim()); ++i) {
    if (used_b[static_cast<size_t>(i)]) continue;
    order_b.push_back(i);
    shape.push_back(b.shape(i));
    cols *= b.shape(i);
  }
  kept_a.insert(kept_a.end(), order_a.begin(), order_a.end());
  if (a.ndim() == 2 && b.ndim() == 2 && order_a.size() == 1)
    return matmul(transpose(a, kept_a, s), transpose(b, order_b, s), s);
  fix_sizes("tensordot", {a, b});
  const array left = reshape(transpose(a, kept_a, s), {rows, inner}, s);
  const array right = reshape(transpose(b, order_b, s), {inner, cols}, s);
  return reshape(matmul(left, right, s), shape, s);
}

array vecdot(const array& a, const array& b, int axis, StreamOrDevice s) {
  if (a.ndim() == 0 || b.ndim() == 0)
    throw invalid("vecdot", "inputs must be at least 1D, got ", a.shape(), " and ", b.shape());
  const int x = checked_axis("vecdot", axis, a.shape()), y = checked_axis("vecdot", axis, b.shape());
  if (a.shape(x) != b.shape(y))
    throw invalid("vecdot", "a and b must have the same size along axis ", axis, ", got ", a.shape(x),
                  " and ", b.shape(y));
  if (!issubdtype(promote_types(a.dtype(), b.dtype()), inexact))
    return sum(multiply(moveaxis(a, x, -1, s), moveaxis(b, y, -1, s), s), -1, false, s);
  const array left = expand_dims(moveaxis(a.dtype() == complex64 ? conjugate(a, s) : a, x, -1, s), -2, s);
  const array right = expand_dims(moveaxis(b, y, -1, s), -1, s);
  return squeeze(matmul(left, right, s), {-2, -1}, s);
}

array kron(const array& a, const array& b, StreamOrDevice s) {
  fix_sizes("kron", {a, b});
  const size_t ndim = std::max(a.ndim(), b.ndim());
  Shape of_a, of_b, shape;
  for (size_t i = 0; i < ndim; ++i) {
    const ShapeElem x = i + a.ndim() < ndim ? 1 : a.shape(static_cast<int>(i + a.ndim() - ndim));
    const ShapeElem y = i + b.ndim() < ndim ? 1 : b.shape(static_cast<int>(i + b.ndim() - ndim));
    of_a.push_back(x);
    of_a.push_back(1);
    of_b.push_back(1);
    of_b.push_back(y);
    shape.push_back(safe_cast(static_cast<int64_t>(x) * y, "kron"));
  }
  return reshape(multiply(reshape(a, of_a, s), reshape(b, of_b, s), s), shape, s);
}

namespace {
const bool kept_matmul = primitive_table().add<Matmul>("Matmul", 2, [](const Matmul& p, const Arrays& in) {
  return Arrays{matmul(in[0], in[1], p.stream())};
}) && primitive_table().add<AddMM>("AddMM", 3, [](const AddMM& p, const Arrays& in) {
  return Arrays{addmm(in[2], in[0], in[1], p.alpha, p.beta, p.stream())};
});
}  // namespace

}  // namespace mlx::core
