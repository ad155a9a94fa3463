// gather_mm and gather_qmm: batches of products whose operands are chosen by indices, as mixtures of experts
// have them.
#include "mlx/ops/gather_matmul.h"

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"

namespace mlx::core {
namespace {

ShapeElem size_of(const array& a) { return static_cast<ShapeElem>(a.size()); }

Shape with_matrix(Shape batch, ShapeElem rows, ShapeElem cols) {
  batch.push_back(rows);
  batch.push_back(cols);
  return batch;
}

// All matrices in a row, (count, rows, columns).
array stacked(const array& a, StreamOrDevice s) {
  if (a.ndim() == 3) return a;
  return a.ndim() == 2 ? expand_dims(a, 0, s) : flatten(a, 0, -3, s);
}

struct Indices {
  array lhs, rhs;
};
// Every matrix in order where no indices are given.
array indices_or_all(std::string_view op, const std::optional<array>& indices, const array& of,
                     StreamOrDevice s) {
  if (indices) {
    if (!issubdtype(indices->dtype(), integer))
      throw invalid(op, "got indices of ", indices->dtype(), ", expected integers");
    return *indices;
  }
  const Shape batch(of.shape().begin(), of.shape().end() - 2);
  int count = 1;
  for (const auto n : batch) count *= n;
  return reshape(arange(0, count, 1, s), batch, s);
}
Indices checked_indices(std::string_view op, const std::optional<array>& lhs, const std::optional<array>& rhs,
                        const array& a, const array& b, StreamOrDevice s) {
  const array l = indices_or_all(op, lhs, a, s), r = indices_or_all(op, rhs, b, s);
  const Shape shape = broadcast_shapes(l.shape(), r.shape());
  return {broadcast_to(l, shape, s), broadcast_to(r, shape, s)};
}

// Every product of a batch, in order: the indices that choose it.
array in_order(const array& indices, StreamOrDevice s) {
  return reshape(arange(0, size_of(indices), 1, s), indices.shape(), s);
}

// Terms of a gradient (one for each index) added up where their index points.
array added_at(const array& indices, const array& terms, const array& like, StreamOrDevice s) {
  Shape shape(terms.shape().end() - (static_cast<int>(like.ndim()) - 1), terms.shape().end());
  shape.insert(shape.begin(), {size_of(indices), 1});
  return scatter_add(zeros_like(like, s), flatten(indices, s), reshape(terms, shape, s), 0, s);
}

array gathered(const array& a, const array& b, const array& lhs, const array& rhs, StreamOrDevice s) {
  return make<GatherMM>(with_matrix(lhs.shape(), a.shape(1), b.shape(2)), a.dtype(), s, {a, b, lhs, rhs});
}

// vmap: matrices and their indices get the batch; an index then counts through the matrices of all of it.
array batched_indices(const array& indices, int axis, bool mapped, int count, int size, StreamOrDevice s) {
  array front = batch_to_front(indices, axis, size);
  if (!mapped) return front;
  front = astype(front, int32, s);
  front = where(less(front, like(front, 0), s), add(front, like(front, count), s), front, s);
  Shape shape(front.ndim(), 1);
  shape[0] = size;
  return add(front, reshape(arange(0, size * count, count, s), shape, s), s);
}
array batched_matrices(const array& a, int axis, StreamOrDevice s) {
  return axis < 0 ? a : flatten(moveaxis(a, axis, 0, s), 0, 1, s);
}

}  // namespace

// --- gather_mm ---

Arrays GatherMM::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const StreamOrDevice s = stream();
  const array &lhs = primals[2], &rhs = primals[3];
  const array g = flatten(cotangents[0], 0, -3, s);
  Arrays out;
  for (const int arg : argnums) {
    if (arg > 1) throw std::invalid_argument("[GatherMM::vjp] no gradient with respect to indices");
    if (arg == 0) {
      out.push_back(added_at(lhs, gathered(g, swapaxes(primals[1], -1, -2, s), in_order(lhs, s), rhs, s),
                             primals[0], s));
    } else {
      out.push_back(added_at(rhs, gathered(swapaxes(primals[0], -1, -2, s), g, lhs, in_order(rhs, s), s),
                             primals[1], s));
    }
  }
  return out;
}

Arrays GatherMM::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  for (size_t i = 0; i < argnums.size(); ++i) {
    Arrays in = primals;
    in[static_cast<size_t>(argnums[i])] = tangents[i];
    if (argnums[i] > 1) throw std::invalid_argument("[GatherMM::jvp] no derivative with respect to indices");
    terms.push_back(gathered(in[0], in[1], in[2], in[3], stream()));
  }
  return {terms.size() == 2 ? add(terms[0], terms[1], stream()) : terms[0]};
}

Batched GatherMM::vmap(const Arrays& inputs, const Axes& axes) {
  const int size = batch_size(inputs, axes);
  Arrays in;
  for (size_t i = 0; i < 2; ++i) in.push_back(batched_matrices(inputs[i], axes[i], stream()));
  for (size_t i = 0; i < 2; ++i) {
    const int count = inputs[i].shape(axes[i] == 0 ? 1 : 0);
    in.push_back(batched_indices(inputs[2 + i], axes[2 + i], axes[i] >= 0, count, size, stream()));
  }
  return {{gathered(in[0], in[1], in[2], in[3], stream())}, {0}};
}

std::vector<Shape> GatherMM::output_shapes(const Arrays& in) {
  return {with_matrix(in[2].shape(), in[0].shape(1), in[1].shape(2))};
}

array gather_mm(array a, array b, std::optional<array> lhs_indices, std::optional<array> rhs_indices,
                bool sorted_indices, StreamOrDevice s) {
  fix_sizes("gather_mm", {a, b});
  (void)sorted_indices;  // a promise that this implementation has no use for
  if (!lhs_indices && !rhs_indices) return matmul(a, b, s);
  if (a.ndim() == 0 || b.ndim() == 0)
    throw invalid("gather_mm", "got shapes ", a.shape(), " and ", b.shape(),
                  ", expected at least one dimension in each");
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  if (!issubdtype(dtype, floating))
    throw invalid("gather_mm", "got ", a.dtype(), " and ", b.dtype(), ", expected real floats");
  const bool row = a.ndim() == 1, column = b.ndim() == 1;
  if (row) a = expand_dims(a, 0, s);
  if (column) b = expand_dims(b, 1, s);
  if (a.shape(-1) != b.shape(-2))
    throw invalid("gather_mm", "got shapes ", a.shape(), " and ", b.shape(),
                  ", expected the last dimension of the first to be the last but one of the second");
  const Indices i = checked_indices("gather_mm", lhs_indices, rhs_indices, a, b, s);
  array out = gathered(stacked(astype(a, dtype, s), s), stacked(astype(b, dtype, s), s), i.lhs, i.rhs, s);
  if (column) out = squeeze(out, -1, s);
  return row ? squeeze(out, column ? -1 : -2, s) : out;
}

// --- gather_qmm ---

namespace {

array gathered(const Arrays& in, const QuantizedLayout& layout, bool transpose, StreamOrDevice s) {
  const array& w = in[1];
  const auto columns = static_cast<ShapeElem>(layout.columns(w.shape(2)));
  return make<GatherQMM>(with_matrix(in.back().shape(), in[0].shape(1), transpose ? w.shape(1) : columns),
                         in[0].dtype(), s, in, layout, transpose);
}

}  // namespace

Arrays GatherQMM::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  const StreamOrDevice s = stream();
  const size_t first_index = primals.size() - 2;
  const array &lhs = primals[first_index], &rhs = primals[first_index + 1];
  const array g = flatten(cotangents[0], 0, -3, s);
  Arrays out;
  for (const int arg : argnums) {
    if (arg == 0) {
      Arrays in = primals;
      in[0] = g;
      in[first_index] = in_order(lhs, s);
      out.push_back(added_at(lhs, core::gathered(in, layout, !transpose, s), primals[0], s));
      continue;
    }
    if (arg == 1 || !layout.affine() || arg > 3)
      throw std::invalid_argument(
          text("[GatherQMM::vjp] no gradient with respect to packed weights, indices and the scales of ",
               "modes of small floats"));
    const array xt = swapaxes(primals[0], -1, -2, s);
    const array dw = transpose ? core::gathered(swapaxes(g, -1, -2, s), primals[0], in_order(lhs, s), lhs, s)
                               : core::gathered(xt, g, lhs, in_order(lhs, s), s);
    const array& scales = primals[2];
    const auto grouped = [&](const array& a) {
      Shape shape = a.shape();
      shape.back() /= layout.group_size;
      shape.push_back(layout.group_size);
      return reshape(a, shape, s);
    };
    array d = grouped(dw);
    if (arg == 2) {
      const array codes = dequantize(primals[1], ones_like(astype(scales, float32, s), s),
                                     zeros_like(astype(scales, float32, s), s), layout.group_size,
                                     layout.bits, "affine", std::nullopt, std::nullopt, s);
      d = multiply(d, take(grouped(codes), rhs, 0, s), s);
    }
    const array terms = astype(sum(d, -1, false, s), scales.dtype(), s);
    out.push_back(added_at(rhs, terms, scales, s));
  }
  return out;
}

Arrays GatherQMM::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  Arrays matrix = primals;
  bool of_matrix = false;
  for (size_t i = 0; i < argnums.size(); ++i) {
    const auto arg = static_cast<size_t>(argnums[i]);
    if (arg == 0) {
      Arrays in = primals;
      in[0] = tangents[i];
      terms.push_back(core::gathered(in, layout, transpose, stream()));
    } else if (layout.affine() && (arg == 2 || arg == 3)) {
      if (!of_matrix)
        for (size_t j = 2; j < 4; ++j) matrix[j] = zeros_like(primals[j], stream());
      of_matrix = true;
      matrix[arg] = tangents[i];
    } else {
      throw std::invalid_argument(
          "[GatherQMM::jvp] no derivative with respect to packed numbers and indices");
    }
  }
  if (of_matrix) terms.push_back(core::gathered(matrix, layout, transpose, stream()));
  return {terms.size() == 2 ? add(terms[0], terms[1], stream()) : terms[0]};
}

Batched GatherQMM::vmap(const Arrays& inputs, const Axes& axes) {
  const int size = batch_size(inputs, axes);
  const size_t last = inputs.size() - 2;
  bool mapped = false;
  for (size_t i = 1; i < last; ++i) mapped = mapped || axes[i] >= 0;
  Arrays in{batched_matrices(inputs[0], axes[0], stream())};
  for (size_t i = 1; i < last; ++i)
    in.push_back(mapped ? flatten(batch_to_front(inputs[i], axes[i], size), 0, 1, stream()) : inputs[i]);
  in.push_back(batched_indices(inputs[last], axes[last], axes[0] >= 0, inputs[0].shape(axes[0] == 0 ? 1 : 0),
                               size, stream()));
  in.push_back(batched_indices(inputs[last + 1], axes[last + 1], mapped, in[1].shape(0) / (mapped ? size : 1),
                               size, stream()));
  return {{core::gathered(in, layout, transpose, stream())}, {0}};
}

std::vector<Shape> GatherQMM::output_shapes(const Arrays& in) {
  const auto columns = static_cast<ShapeElem>(layout.columns(in[1].shape(2)));
  return {with_matrix(in.back().shape(), in[0].shape(1), transpose ? in[1].shape(1) : columns)};
}

array gather_qmm(const array& x, const array& w, const array& scales, const std::optional<array>& biases,
                 std::optional<array> lhs_indices, std::optional<array> rhs_indices, bool transpose,
                 std::optional<int> group_size, std::optional<int> bits, const std::string& mode,
                 const std::optional<array>& global_scale, bool sorted_indices, StreamOrDevice s) {
  constexpr std::string_view op = "gather_qmm";
  (void)sorted_indices;
  const QuantizedLayout layout = checked_layout(op, group_size, bits, mode);
  if (!lhs_indices && !rhs_indices && !global_scale)
    return quantized_matmul(x, w, scales, biases, transpose, group_size, bits, mode, s);
  const int64_t columns = checked_columns(op, layout, w, scales, biases);
  if (x.ndim() < 2) throw invalid(op, "got x with shape ", x.shape(), ", expected two dimensions at least");
  const int64_t inner = transpose ? columns : w.shape(-2);
  if (x.shape(-1) != inner)
    throw invalid(op, "got x with shape ", x.shape(), ", expected a last dimension of ", inner,
                  " for quantized matrices of (", w.shape(-2), ",", columns,
                  ") and transpose=", transpose ? "true" : "false");
  if (global_scale) {
    if (layout.mode != QuantizationMode::nvfp4)
      throw invalid(op, "got a global scale in the mode '", mode, "', expected it only in the mode 'nvfp4'");
    const Shape experts(w.shape().begin(), w.shape().end() - 2);
    if (global_scale->dtype() != float32 || global_scale->shape() != experts)
      throw invalid(op, "got a global scale of ", global_scale->dtype(), " with shape ",
                    global_scale->shape(), ", expected float32 with shape ", experts,
                    ", one for each matrix");
  }
  const Dtype result = quantized_product_dtype(op, layout, x, scales, biases);
  const Dtype computed = result == float64 ? float32 : result;
  const Indices i = checked_indices(op, lhs_indices, rhs_indices, x, w, s);
  Arrays inputs{stacked(astype(x, computed, s), s), stacked(w, s), stacked(scales, s)};
  if (layout.affine()) {
    Dtype of_scales = promote_types(scales.dtype(), biases->dtype());
    if (of_scales == float64) of_scales = float32;
    inputs[2] = astype(inputs[2], of_scales, s);
    inputs.push_back(stacked(astype(*biases, of_scales, s), s));
  }
  inputs.push_back(i.lhs);
  inputs.push_back(i.rhs);
  array out = core::gathered(inputs, layout, transpose, s);
  if (global_scale) {
    const array factor = expand_dims(take(flatten(*global_scale, s), i.rhs, 0, s), {-1, -2}, s);
    out = astype(
        multiply(astype(out, float32, s), multiply(factor, like(factor, 1.0 / (kE2m1Max * kE4m3Max)), s), s),
        computed, s);
  }
  return astype(out, result, s);
}

namespace {
const bool kept_gather_matmul =
    primitive_table().add<GatherMM>("GatherMM", 4,
                                    [](const GatherMM& p, const Arrays& in) {
                                      return Arrays{gather_mm(in[0], in[1], in[2], in[3], false, p.stream())};
                                    }) &&
    primitive_table().add<GatherQMM>("GatherQMM", -1, [](const GatherQMM& p, const Arrays& in) {
      const QuantizedLayout& l = p.layout;
      check_inputs(p, in.size() == (l.affine() ? 6u : 5u), in);
      const std::optional<array> biases = l.affine() ? std::optional(in[3]) : std::nullopt;
      return Arrays{gather_qmm(in[0], in[1], in[2], biases, in[in.size() - 2], in.back(), p.transpose,
                               l.group_size, l.bits, std::string(mode_name(l.mode)), std::nullopt, false,
                               p.stream())};
    });
}  // namespace

}  // namespace mlx::core
