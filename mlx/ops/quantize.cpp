// Matrices to codes of a few bits and back, and 8-bit floats. The layouts: mlx/quantized_layout.h.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/quantized.h"

namespace mlx::core {
namespace {

QuantizationMode checked_mode(std::string_view op, const std::string& mode) {
  for (const auto m :
       {QuantizationMode::affine, QuantizationMode::mxfp4, QuantizationMode::mxfp8, QuantizationMode::nvfp4})
    if (mode == mode_name(m)) return m;
  throw invalid(op, "got the mode '", mode, "', expected 'affine', 'mxfp4', 'mxfp8' or 'nvfp4'");
}

template <size_t N>
bool one_of(const int (&values)[N], int x) {
  return std::find(values, values + N, x) != values + N;
}

Shape with_last(Shape shape, int64_t size) {
  shape.back() = static_cast<ShapeElem>(size);
  return shape;
}

bool is_real_float(Dtype t) { return issubdtype(t, floating); }
// Float64 has no kernels of its own here: it is computed in float32.
bool is_small_float(Dtype t) { return t == float32 || t == float16 || t == bfloat16; }

std::vector<Shape> quantized_shapes(const Shape& w, const QuantizedLayout& layout) {
  std::vector<Shape> out(layout.affine() ? 3 : 2, with_last(w, layout.groups(w.back())));
  out[0] = with_last(w, layout.words(w.back()));
  return out;
}

// Sums over the columns of each group.
array group_sums(const array& x, int group_size, StreamOrDevice s) {
  Shape shape = x.shape();
  shape.back() /= group_size;
  shape.push_back(group_size);
  return sum(reshape(x, shape, s), -1, false, s);
}

}  // namespace

QuantizedLayout checked_layout(std::string_view op, std::optional<int> group_size, std::optional<int> bits,
                               const std::string& mode) {
  QuantizedLayout layout = default_layout(checked_mode(op, mode));
  const QuantizedLayout defaults = layout;
  layout.group_size = group_size.value_or(layout.group_size);
  layout.bits = bits.value_or(layout.bits);
  if (layout.affine()) {
    if (!one_of(kAffineGroups, layout.group_size))
      throw invalid(op, "got the group size ", layout.group_size, ", expected 32, 64 or 128");
    if (!one_of(kAffineBits, layout.bits))
      throw invalid(op, "got ", layout.bits, " bits, expected 1, 2, 3, 4, 5, 6 or 8");
    return layout;
  }
  if (layout.group_size != defaults.group_size)
    throw invalid(op, "got the group size ", layout.group_size, " for the mode '", mode, "', expected ",
                  defaults.group_size);
  if (layout.bits != defaults.bits)
    throw invalid(op, "got ", layout.bits, " bits for the mode '", mode, "', expected ", defaults.bits);
  return layout;
}

int64_t checked_columns(std::string_view op, const QuantizedLayout& layout, const array& w,
                        const array& scales, const std::optional<array>& biases) {
  if (w.dtype() != uint32) throw invalid(op, "got a quantized matrix of ", w.dtype(), ", expected uint32");
  if (w.ndim() < 2 || scales.ndim() < 2)
    throw invalid(op, "got a quantized matrix with shape ", w.shape(), " and scales with shape ",
                  scales.shape(), ", expected two dimensions at least");
  if (layout.affine()) {
    if (!biases) throw invalid(op, "got no biases, expected them in the mode 'affine'");
    if (!is_real_float(scales.dtype()) || !is_real_float(biases->dtype()))
      throw invalid(op, "got scales of ", scales.dtype(), " and biases of ", biases->dtype(),
                    ", expected floats in the mode 'affine'");
    if (biases->shape() != scales.shape())
      throw invalid(op, "got scales with shape ", scales.shape(), " and biases with shape ", biases->shape(),
                    ", expected the same");
  } else {
    if (biases) throw invalid(op, "got biases, expected none in the mode '", mode_name(layout.mode), "'");
    if (scales.dtype() != uint8)
      throw invalid(op, "got scales of ", scales.dtype(), ", expected uint8 in the mode '",
                    mode_name(layout.mode), "'");
  }
  // Of a number of words that no row has, the columns are rounded down and the words do not come out again.
  const int64_t columns = layout.columns(w.shape(-1));
  const Shape expected = with_last(w.shape(), layout.groups(columns));
  if (scales.shape() != expected || columns % layout.group_size != 0)
    throw invalid(op, "got a quantized matrix with shape ", w.shape(), " and scales with shape ",
                  scales.shape(), ", which do not belong together with group_size=", layout.group_size,
                  ", bits=", layout.bits, " and mode='", mode_name(layout.mode), "'");
  return columns;
}

void check_global_scale(std::string_view op, const QuantizedLayout& layout,
                        const std::optional<array>& global_scale) {
  if (!global_scale) return;
  if (layout.mode != QuantizationMode::nvfp4)
    throw invalid(op, "got a global scale in the mode '", mode_name(layout.mode),
                  "', expected it only in the mode 'nvfp4'");
  if (global_scale->dtype() != float32)
    throw invalid(op, "got a global scale of ", global_scale->dtype(), ", expected float32");
  if (global_scale->size() != 1)
    throw invalid(op, "got a global scale with shape ", global_scale->shape(), ", expected one number");
}

// --- quantize ---

Batched Quantize::vmap(const Arrays& inputs, const Axes& axes) {
  if (inputs.size() == 2 && axes[1] >= 0)
    throw std::invalid_argument("[Quantize::vmap] a global scale cannot be mapped over");
  Arrays in = inputs;
  in[0] = batch_to_front(inputs[0], axes[0], batch_size(inputs, axes));
  const Dtype scale_type = layout.affine() ? in[0].dtype() : uint8;
  const Arrays out =
      array::make_arrays(quantized_shapes(in[0].shape(), layout), {uint32, scale_type, scale_type},
                         std::make_shared<Quantize>(stream(), layout), in);
  return {out, Axes(out.size(), 0)};
}

std::vector<Shape> Quantize::output_shapes(const Arrays& inputs) {
  return quantized_shapes(inputs[0].shape(), layout);
}

std::vector<array> quantize(const array& w, std::optional<int> group_size, std::optional<int> bits,
                            const std::string& mode, const std::optional<array>& global_scale,
                            StreamOrDevice s) {
  const QuantizedLayout layout = checked_layout("quantize", group_size, bits, mode);
  check_global_scale("quantize", layout, global_scale);
  if (!is_real_float(w.dtype())) throw invalid("quantize", "got ", w.dtype(), ", expected a real float");
  if (w.ndim() < 2) throw invalid("quantize", "got shape ", w.shape(), ", expected two dimensions at least");
  if (w.shape(-1) % layout.group_size != 0)
    throw invalid("quantize", "got shape ", w.shape(), ", expected a last dimension that ", layout.group_size,
                  " (the group size) divides");
  const array x = is_small_float(w.dtype()) ? w : astype(w, float32, s);
  Arrays inputs{x};
  if (global_scale) inputs.push_back(*global_scale);
  std::vector<Dtype> dtypes{uint32, layout.affine() ? x.dtype() : uint8};
  if (layout.affine()) dtypes.push_back(x.dtype());
  Arrays out = array::make_arrays(quantized_shapes(x.shape(), layout), dtypes,
                                  std::make_shared<Quantize>(to_stream(s), layout), inputs);
  if (layout.affine())
    for (size_t i = 1; i < 3; ++i) out[i] = astype(out[i], w.dtype(), s);
  return out;
}

// --- dequantize ---

namespace {

array dequantized(const Arrays& inputs, const QuantizedLayout& layout, Dtype dtype, StreamOrDevice s) {
  return make<Dequantize>(with_last(inputs[0].shape(), layout.columns(inputs[0].shape(-1))), dtype, s, inputs,
                          layout, dtype);
}

}  // namespace

Arrays Dequantize::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  const array& g = cotangents[0];
  for (const int arg : argnums) {
    if (arg == 0 || !layout.affine())
      throw std::invalid_argument(arg == 0 ? "[Dequantize::vjp] no gradient with respect to packed weights"
                                           : "[Dequantize::vjp] no gradient with respect to packed scales");
    const array factor = arg == 2
                             ? g
                             : multiply(g,
                                        dequantized({primals[0], ones_of(primals[1]), zeros_of(primals[2])},
                                                    layout, dtype, stream()),
                                        stream());
    out.push_back(astype(group_sums(factor, layout.group_size, stream()),
                         primals[static_cast<size_t>(arg)].dtype(), stream()));
  }
  return out;
}

Arrays Dequantize::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  std::optional<array> scales, biases;
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 0 || !layout.affine())
      throw std::invalid_argument("[Dequantize::jvp] no derivative with respect to packed numbers");
    (argnums[i] == 1 ? scales : biases) = tangents[i];
  }
  return {
      dequantized({primals[0], scales.value_or(zeros_of(primals[1])), biases.value_or(zeros_of(primals[2]))},
                  layout, dtype, stream())};
}

Batched Dequantize::vmap(const Arrays& inputs, const Axes& axes) {
  const bool global = !layout.affine() && inputs.size() == 3;
  if (global && axes[2] >= 0)
    throw std::invalid_argument("[Dequantize::vmap] a global scale cannot be mapped over");
  Arrays in = inputs;
  const int size = batch_size(inputs, axes);
  for (size_t i = 0; i < (global ? 2 : in.size()); ++i) in[i] = batch_to_front(inputs[i], axes[i], size);
  return {{dequantized(in, layout, dtype, stream())}, {0}};
}

std::vector<Shape> Dequantize::output_shapes(const Arrays& inputs) {
  return {with_last(inputs[0].shape(), layout.columns(inputs[0].shape(-1)))};
}

array dequantize(const array& w, const array& scales, const std::optional<array>& biases,
                 std::optional<int> group_size, std::optional<int> bits, const std::string& mode,
                 const std::optional<array>& global_scale, std::optional<Dtype> dtype, StreamOrDevice s) {
  const QuantizedLayout layout = checked_layout("dequantize", group_size, bits, mode);
  check_global_scale("dequantize", layout, global_scale);
  checked_columns("dequantize", layout, w, scales, biases);
  const Dtype natural = layout.affine() ? promote_types(scales.dtype(), biases->dtype())
                        : global_scale  ? float32
                                        : bfloat16;
  const Dtype result = dtype.value_or(natural);
  if (!is_real_float(result)) throw invalid("dequantize", "got dtype ", result, ", expected a real float");
  // Affine codes are scaled in the dtype of the scales, small floats in that of the result.
  const Dtype computed = layout.affine() ? natural : result;
  const Dtype kernel = is_small_float(computed) ? computed : float32;
  Arrays inputs{w, scales};
  if (layout.affine()) inputs = {w, astype(scales, kernel, s), astype(*biases, kernel, s)};
  if (global_scale) inputs.push_back(*global_scale);
  return astype(dequantized(inputs, layout, kernel, s), result, s);
}

// --- 8-bit floats ---

Batched ToFp8::vmap(const Arrays& inputs, const Axes& axes) { return {{to_fp8(inputs[0], stream())}, axes}; }

array to_fp8(array x, StreamOrDevice s) {
  if (!is_real_float(x.dtype())) throw invalid("to_fp8", "got ", x.dtype(), ", expected a real float");
  if (!is_small_float(x.dtype())) x = astype(x, float32, s);
  return make<ToFp8>(x.shape(), uint8, s, {x});
}

Batched FromFp8::vmap(const Arrays& inputs, const Axes& axes) {
  return {{from_fp8(inputs[0], dtype, stream())}, axes};
}

array from_fp8(array x, Dtype dtype, StreamOrDevice s) {
  if (x.dtype() != uint8) throw invalid("from_fp8", "got ", x.dtype(), ", expected uint8");
  if (!is_real_float(dtype)) throw invalid("from_fp8", "got dtype ", dtype, ", expected a real float");
  const Dtype kernel = is_small_float(dtype) ? dtype : float32;
  return astype(make<FromFp8>(x.shape(), kernel, s, {x}, kernel), dtype, s);
}

namespace {

std::optional<array> input(const Arrays& in, size_t i) {
  return i < in.size() ? std::optional(in[i]) : std::nullopt;
}

const bool
    kept_quantize = primitive_table().add<Quantize>("Quantize", -1, [](const Quantize& p, const Arrays& in) {
      const QuantizedLayout& l = p.layout;
      check_inputs(p, (in.size() == 1 || in.size() == 2) && is_small_float(in[0].dtype()), in);
      return quantize(in[0], l.group_size, l.bits, std::string(mode_name(l.mode)), input(in, 1), p.stream());
    }) && primitive_table().add<Dequantize>("Dequantize", -1, [](const Dequantize& p, const Arrays& in) {
      const QuantizedLayout& l = p.layout;
      check_inputs(p, in.size() == 3 || (in.size() == 2 && !l.affine()), in);
      return Arrays{dequantize(in[0], in[1], l.affine() ? input(in, 2) : std::nullopt, l.group_size, l.bits,
                               std::string(mode_name(l.mode)), l.affine() ? std::nullopt : input(in, 2),
                               p.dtype, p.stream())};
    }) && primitive_table().add<ToFp8>("ToFP8", 1, [](const ToFp8& p, const Arrays& in) {
      return Arrays{to_fp8(in[0], p.stream())};
    }) && primitive_table().add<FromFp8>("FromFP8", 1, [](const FromFp8& p, const Arrays& in) {
      return Arrays{from_fp8(in[0], p.dtype, p.stream())};
    });

}  // namespace

}  // namespace mlx::core
