// Products of two quantized operands: the left one is quantized on the way, the right one may be already.
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/elementwise.h"
#include "mlx/ops/quantized.h"

namespace mlx::core {

// --- rounding to what codes can hold ---

Arrays QuantizedRounding::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                              const Arrays&) {
  Arrays out;
  for (const int arg : argnums) out.push_back(arg == 0 ? cotangents[0] : zeros_of(primals[1]));
  return out;
}

Arrays QuantizedRounding::jvp(const Arrays&, const Arrays& tangents, const Axes& argnums) {
  for (size_t i = 0; i < argnums.size(); ++i)
    if (argnums[i] == 0) return {tangents[i]};
  throw std::invalid_argument("[QuantizedRounding::jvp] no derivative with respect to a global scale");
}

Batched QuantizedRounding::vmap(const Arrays& inputs, const Axes& axes) {
  if (inputs.size() == 2 && axes[1] >= 0)
    throw std::invalid_argument("[QuantizedRounding::vmap] a global scale cannot be mapped over");
  Arrays in = inputs;
  in[0] = moveaxis(inputs[0], axes[0], 0, stream());  // the last axis stays the last one
  return {{make<QuantizedRounding>(in[0].shape(), in[0].dtype(), stream(), in, layout)}, {0}};
}

namespace {

array rounded(const array& x, const QuantizedLayout& layout, const std::optional<array>& global,
              StreamOrDevice s) {
  Arrays in{x};
  if (global) in.push_back(*global);
  return make<QuantizedRounding>(x.shape(), x.dtype(), s, in, layout);
}

void check_left(std::string_view op, const array& x) {
  if (!issubdtype(x.dtype(), floating) || x.dtype() == float64)
    throw invalid(op, "got x of ", x.dtype(), ", expected float32, float16 or bfloat16");
}

// Both global scales or none.
void check_global_scales(std::string_view op, const QuantizedLayout& layout, const std::optional<array>& of_x,
                         const std::optional<array>& of_w) {
  check_global_scale(op, layout, of_x);
  if (of_w && layout.mode != QuantizationMode::nvfp4) check_global_scale(op, layout, of_w);
  if (of_x.has_value() != of_w.has_value())
    throw invalid(op, "got one global scale, expected global_scale_x and global_scale_w or neither");
}

int64_t checked_inner(std::string_view op, const QuantizedLayout& layout, const array& x, const array& w,
                      const std::optional<array>& scales) {
  int64_t inner = 0;
  if (w.dtype() == uint32) {
    if (!scales) throw invalid(op, "got a quantized w without scales, expected them");
    inner = checked_columns(op, layout, w, *scales, std::nullopt);
  } else {
    if (!issubdtype(w.dtype(), floating))
      throw invalid(op, "got w of ", w.dtype(), ", expected a float or the words (uint32) of quantize");
    if (w.ndim() < 2) throw invalid(op, "got w with shape ", w.shape(), ", expected two dimensions at least");
    inner = w.shape(-1);
  }
  if (x.ndim() == 0 || x.shape(-1) != inner)
    throw invalid(op, "got x with shape ", x.shape(), ", expected a last dimension of ", inner,
                  ", that of w with shape ", w.shape());
  if (inner % layout.group_size != 0)
    throw invalid(op, "got x with shape ", x.shape(), ", expected a last dimension that ", layout.group_size,
                  " (the group size) divides");
  return inner;
}

void check_mode(std::string_view op, const QuantizedLayout& layout) {
  if (layout.affine()) throw invalid(op, "got the mode 'affine', expected 'mxfp4', 'mxfp8' or 'nvfp4'");
}

}  // namespace

array qqmm(const array& x, const array& w, const std::optional<array>& w_scales,
           std::optional<int> group_size, std::optional<int> bits, const std::string& mode,
           const std::optional<array>& global_scale_x, const std::optional<array>& global_scale_w,
           StreamOrDevice s) {
  constexpr std::string_view op = "qqmm";
  const QuantizedLayout layout = checked_layout(op, group_size, bits, mode);
  check_mode(op, layout);
  check_left(op, x);
  check_global_scales(op, layout, global_scale_x, global_scale_w);
  check_global_scale(op, layout, global_scale_w);
  if (w.ndim() != 2) throw invalid(op, "got w with shape ", w.shape(), ", expected two dimensions");
  checked_inner(op, layout, x, w, w_scales);
  const array left = rounded(x, layout, global_scale_x, s);
  if (w.dtype() != uint32) {
    const array right = rounded(astype(w, x.dtype(), s), layout, global_scale_w, s);
    return matmul(left, transpose(right, s), s);
  }
  const array out = quantized_matmul(left, w, *w_scales, std::nullopt, true, group_size, bits, mode, s);
  if (!global_scale_w) return out;
  const array factor = multiply(reshape(*global_scale_w, {}, s), array(1.0f / (kE2m1Max * kE4m3Max)), s);
  return astype(multiply(astype(out, float32, s), factor, s), x.dtype(), s);
}

array gather_qqmm(const array& x, const array& w, const std::optional<array>& scales_w,
                  const std::optional<array>& lhs_indices, const std::optional<array>& rhs_indices,
                  std::optional<int> group_size, std::optional<int> bits, const std::string& mode,
                  const std::optional<array>& global_scale_x, const std::optional<array>& global_scale_w,
                  bool sorted_indices, StreamOrDevice s) {
  constexpr std::string_view op = "gather_qqmm";
  const QuantizedLayout layout = checked_layout(op, group_size, bits, mode);
  check_mode(op, layout);
  check_left(op, x);
  check_global_scales(op, layout, global_scale_x, global_scale_w);
  checked_inner(op, layout, x, w, scales_w);
  const array left = rounded(x, layout, global_scale_x, s);
  if (w.dtype() == uint32)
    return gather_qmm(left, w, *scales_w, std::nullopt, lhs_indices, rhs_indices, true, group_size, bits,
                      mode, global_scale_w, sorted_indices, s);
  array right = astype(w, x.dtype(), s);
  if (!global_scale_w) {
    right = rounded(right, layout, std::nullopt, s);
  } else {  // one for each matrix
    const Shape experts(w.shape().begin(), w.shape().end() - 2);
    if (global_scale_w->dtype() != float32 || global_scale_w->shape() != experts)
      throw invalid(op, "got global_scale_w of ", global_scale_w->dtype(), " with shape ",
                    global_scale_w->shape(), ", expected float32 with shape ", experts,
                    ", one for each matrix");
    const array flat = reshape(right, {-1, w.shape(-2), w.shape(-1)}, s),
                scales = flatten(*global_scale_w, s);
    Arrays parts;
    for (int i = 0; i < flat.shape(0); ++i)
      parts.push_back(rounded(take(flat, i, 0, s), layout, take(scales, i, 0, s), s));
    if (!parts.empty()) right = reshape(stack(parts, 0, s), w.shape(), s);
  }
  return gather_mm(left, swapaxes(right, -1, -2, s), lhs_indices, rhs_indices, sorted_indices, s);
}

namespace {
const bool kept_qqmm = primitive_table().add<QuantizedRounding>(
    "QuantizedRounding", -1, [](const QuantizedRounding& p, const Arrays& in) {
      constexpr std::string_view op = "qqmm";
      const QuantizedLayout l =
          checked_layout(op, p.layout.group_size, p.layout.bits, std::string(mode_name(p.layout.mode)));
      check_mode(op, l);
      check_inputs(
          p, (in.size() == 1 || in.size() == 2) && in[0].ndim() > 0 && in[0].shape(-1) % l.group_size == 0,
          in);
      check_left(op, in[0]);
      const std::optional<array> global = in.size() == 2 ? std::optional(in[1]) : std::nullopt;
      check_global_scale(op, l, global);
      return Arrays{rounded(in[0], l, global, p.stream())};
    });
}  // namespace

}  // namespace mlx::core
