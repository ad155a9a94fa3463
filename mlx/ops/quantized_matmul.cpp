// Products with quantized matrices: the weights stay packed, floats are made of them in registers or in the
// cache.
#include <algorithm>
#include <numeric>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/matmul.h"
#include "mlx/ops/quantized.h"

namespace mlx::core {
namespace {

Shape product_shape(const Shape& x, const Shape& w, const QuantizedLayout& layout, bool transpose) {
  Shape out = broadcast_shapes(Shape(x.begin(), x.end() - 2), Shape(w.begin(), w.end() - 2));
  out.push_back(x[x.size() - 2]);
  out.push_back(transpose ? w[w.size() - 2] : static_cast<ShapeElem>(layout.columns(w.back())));
  return out;
}

array product(const Arrays& inputs, const QuantizedLayout& layout, bool transpose, StreamOrDevice s) {
  return make<QuantizedMatmul>(product_shape(inputs[0].shape(), inputs[1].shape(), layout, transpose),
                               inputs[0].dtype(), s, inputs, layout, transpose);
}

Arrays with(Arrays inputs, size_t i, const array& a) {
  inputs[i] = a;
  return inputs;
}

// The gradient of the unpacked matrix in groups, (..., rows, groups, group_size).
array matrix_gradient(const QuantizedMatmul& p, const Arrays& in, const array& g) {
  const StreamOrDevice s = p.stream();
  const array &x = in[0], &w = in[1];
  const array left = p.transpose ? g : x, right = p.transpose ? x : g;
  array d = w.ndim() == 2 && x.ndim() > 2
                ? matmul(swapaxes(flatten(left, 0, -2, s), -1, -2, s), flatten(right, 0, -2, s), s)
                : matmul(swapaxes(left, -1, -2, s), right, s);
  Shape unpacked = w.shape();
  unpacked.back() = static_cast<ShapeElem>(p.layout.columns(w.shape(-1)));
  d = sum_to_shape(d, unpacked, s);
  unpacked.back() /= p.layout.group_size;
  unpacked.push_back(p.layout.group_size);
  return reshape(d, unpacked, s);
}

array line_up(const array& a, int axis, int ndim, StreamOrDevice s) {
  if (axis < 0) return a;
  const array front = moveaxis(a, axis, 0, s);
  const int missing = ndim + 1 - static_cast<int>(a.ndim());
  if (missing <= 0) return front;
  std::vector<int> axes(static_cast<size_t>(missing));
  std::iota(axes.begin(), axes.end(), 1);
  return expand_dims(front, axes, s);
}

}  // namespace

Arrays QuantizedMatmul::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                            const Arrays&) {
  Arrays out;
  const array& g = cotangents[0];
  std::optional<array> dw;
  for (const int arg : argnums) {
    if (arg == 0) {
      out.push_back(sum_to_shape(product(with(primals, 0, g), layout, !transpose, stream()),
                                 primals[0].shape(), stream()));
      continue;
    }
    if (arg == 1)
      throw std::invalid_argument(
          "[QuantizedMatmul::vjp] no gradient with respect to packed weights: they are integers; train "
          "scales and biases, or the matrix before it is quantized");
    if (!layout.affine())
      throw std::invalid_argument(text("[QuantizedMatmul::vjp] no gradient with respect to the scales of ",
                                       mode_name(layout.mode), ": they are 8-bit numbers"));
    if (!dw) dw = matrix_gradient(*this, primals, g);
    const array& scales = primals[2];
    array d = *dw;
    if (arg == 2) {
      const array codes = dequantize(primals[1], ones_of(astype(scales, float32, stream())),
                                     zeros_of(astype(scales, float32, stream())), layout.group_size,
                                     layout.bits, "affine", std::nullopt, std::nullopt, stream());
      d = multiply(d, reshape(codes, d.shape(), stream()), stream());
    }
    out.push_back(astype(sum(d, -1, false, stream()), primals[static_cast<size_t>(arg)].dtype(), stream()));
  }
  return out;
}

Arrays QuantizedMatmul::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  std::optional<array> scales, biases;
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 0) {
      terms.push_back(product(with(primals, 0, tangents[i]), layout, transpose, stream()));
    } else if (argnums[i] == 1 || !layout.affine()) {
      throw std::invalid_argument("[QuantizedMatmul::jvp] no derivative with respect to packed numbers");
    } else {
      (argnums[i] == 2 ? scales : biases) = tangents[i];
    }
  }
  if (scales || biases)  // the matrix is linear in both together
    terms.push_back(product({primals[0], primals[1], scales.value_or(zeros_of(primals[2])),
                             biases.value_or(zeros_of(primals[3]))},
                            layout, transpose, stream()));
  array total = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) total = add(total, terms[i], stream());
  return {total};
}

Batched QuantizedMatmul::vmap(const Arrays& inputs, const Axes& axes) {
  // What describes the matrix stays together: one shape of batch for words, scales and biases.
  Axes all = axes;
  Arrays in = inputs;
  const int size = batch_size(inputs, axes);
  if (std::any_of(axes.begin() + 1, axes.end(), [](int a) { return a >= 0; }))
    for (size_t i = 1; i < in.size(); ++i) {
      in[i] = batch_to_front(inputs[i], axes[i], size);
      all[i] = 0;
    }
  int ndim = 0;
  for (size_t i = 0; i < in.size(); ++i)
    ndim = std::max(ndim, static_cast<int>(in[i].ndim()) - (all[i] >= 0 ? 1 : 0));
  for (size_t i = 0; i < in.size(); ++i) in[i] = line_up(in[i], all[i], ndim, stream());
  return {{product(in, layout, transpose, stream())}, {0}};
}

std::vector<Shape> QuantizedMatmul::output_shapes(const Arrays& inputs) {
  return {product_shape(inputs[0].shape(), inputs[1].shape(), layout, transpose)};
}

Dtype quantized_product_dtype(std::string_view op, const QuantizedLayout& layout, const array& x,
                              const array& scales, const std::optional<array>& biases) {
  const Dtype out =
      layout.affine() ? promote_types(promote_types(x.dtype(), scales.dtype()), biases->dtype()) : x.dtype();
  if (!issubdtype(out, floating)) throw invalid(op, "got x of ", x.dtype(), ", expected a real float");
  return out;
}

array quantized_matmul(const array& x, const array& w, const array& scales,
                       const std::optional<array>& biases, bool transpose, std::optional<int> group_size,
                       std::optional<int> bits, const std::string& mode, StreamOrDevice s) {
  constexpr std::string_view op = "quantized_matmul";
  const QuantizedLayout layout = checked_layout(op, group_size, bits, mode);
  const int64_t columns = checked_columns(op, layout, w, scales, biases);
  if (x.ndim() == 0) throw invalid(op, "got x without dimensions, expected one at least");
  const int64_t inner = transpose ? columns : w.shape(-2);
  if (x.shape(-1) != inner)
    throw invalid(op, "got x with shape ", x.shape(), ", expected a last dimension of ", inner,
                  " for a quantized matrix with shape (", w.shape(-2), ",", columns,
                  ") and transpose=", transpose ? "true" : "false");
  const Dtype result = quantized_product_dtype(op, layout, x, scales, biases);
  const Dtype computed = result == float64 ? float32 : result;
  array left = astype(x, computed, s);
  if (x.ndim() == 1) left = expand_dims(left, 0, s);
  Arrays inputs{left, w, scales};
  if (layout.affine()) {
    Dtype of_scales = promote_types(scales.dtype(), biases->dtype());
    if (of_scales == float64) of_scales = float32;
    inputs[2] = astype(scales, of_scales, s);
    inputs.push_back(astype(*biases, of_scales, s));
  }
  const array out = astype(product(inputs, layout, transpose, s), result, s);
  return x.ndim() == 1 ? squeeze(out, -2, s) : out;
}

namespace {
const bool kept_quantized_matmul = primitive_table().add<QuantizedMatmul>(
    "QuantizedMatmul", -1, [](const QuantizedMatmul& p, const Arrays& in) {
      const QuantizedLayout& l = p.layout;
      check_inputs(p, in.size() == (l.affine() ? 4u : 3u), in);
      return Arrays{quantized_matmul(in[0], in[1], in[2], l.affine() ? std::optional(in[3]) : std::nullopt,
                                     p.transpose, l.group_size, l.bits, std::string(mode_name(l.mode)),
                                     p.stream())};
    });
}  // namespace

}  // namespace mlx::core
