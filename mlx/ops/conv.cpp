// Convolutions (cross-correlations, as is usual; `flip` mirrors the kernel) and transposed convolutions of
// one to three spatial dimensions, channels last:
//
//     out[n, p, o] = sum over taps t, channels c of  x'[n, p * stride - padding_lo + t * kernel_dilation, c]
//     * w[o, t, c]
//
// with x' the input with input_dilation - 1 zeros between neighbours.
#include "mlx/ops/conv.h"

#include <numeric>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {
namespace {

size_t dims(const ConvParameters& p) { return p.stride.size(); }

Shape output_shape(const Shape& x, const Shape& w, const ConvParameters& p) {
  Shape out = {x[0]};
  for (size_t i = 0; i < dims(p); ++i) {
    const int64_t in = x[i + 1] == 0 ? 0 : static_cast<int64_t>(x[i + 1] - 1) * p.input_dilation[i] + 1;
    const int64_t padded = in + p.padding_lo[i] + p.padding_hi[i];
    const int64_t kernel = static_cast<int64_t>(w[i + 1] - 1) * p.kernel_dilation[i] + 1;
    if (padded < kernel)
      throw invalid(
          "conv",
          "Spatial dimensions of input after padding cannot be smaller than weight spatial dimensions. ",
          "Got error at axis ", i + 1, " for input with shape ", x, ", padding low ", p.padding_lo[i],
          ", padding high ", p.padding_hi[i], ", and weight of shape ", w, ": ", padded, " < ", kernel);
    out.push_back(safe_cast((padded - kernel) / p.stride[i] + 1, "conv"));
  }
  out.push_back(w[0]);
  return out;
}

array convolution(const array& x, const array& w, const ConvParameters& p, StreamOrDevice s) {
  return make<Convolution>(output_shape(x.shape(), w.shape(), p), x.dtype(), s, {x, w}, p);
}

array weight_gradient(const array& x, const array& g, const ConvParameters& p, const Shape& weight,
                      StreamOrDevice s) {
  return make<ConvolutionWeightGradient>(weight, x.dtype(), s, {x, g}, p, weight);
}

// (O, kernel..., C / groups) to (C, kernel..., O / groups).
array exchanged_channels(const array& w, int groups, StreamOrDevice s) {
  const int last = static_cast<int>(w.ndim()) - 1;
  if (groups == 1) return swapaxes(w, 0, last, s);
  Shape split = {groups, w.shape(0) / groups};
  for (int i = 1; i <= last; ++i) split.push_back(w.shape(i));
  const array turned = swapaxes(reshape(w, split, s), 1, last + 1, s);
  return flatten(turned, 0, 1, s);
}

// The adjoint in x: output position i of this convolution of g meets tap t at i * input_dilation + padding_lo
// - t * kernel_dilation = p * stride, which is a convolution with stride and input dilation exchanged and the
// taps mirrored.
array input_gradient(const array& g, const array& w, const ConvParameters& p, const Shape& input,
                     StreamOrDevice s) {
  ConvParameters q = p;
  q.stride = p.input_dilation;
  q.input_dilation = p.stride;
  q.flip = !p.flip;
  for (size_t i = 0; i < dims(p); ++i) {
    const int reach = (w.shape(static_cast<int>(i) + 1) - 1) * p.kernel_dilation[i];
    const int dilated = (g.shape(static_cast<int>(i) + 1) - 1) * p.stride[i] + 1;
    q.padding_lo[i] = reach - p.padding_lo[i];
    q.padding_hi[i] = (input[i + 1] - 1) * p.input_dilation[i] + reach + 1 - dilated - q.padding_lo[i];
  }
  if (g.size() == 0 || input[0] == 0) return zeros(input, g.dtype(), s);
  return convolution(g, exchanged_channels(w, p.groups, s), q, s);
}

// Batch axis b of a (..., channels) array merged with the last axis: in front of it, or behind the groups.
array merged_into_last(const array& a, int axis, StreamOrDevice s) {
  const array moved = moveaxis(a, axis, -2, s);
  return flatten(moved, -2, -1, s);
}
// The last axis (B * n) as a leading batch axis.
array batch_from_last(const array& a, int batch, StreamOrDevice s) {
  const int last = static_cast<int>(a.ndim()) - 1;
  return moveaxis(unflatten(a, last, {batch, a.shape(last) / batch}, s), last, 0, s);
}

}  // namespace

// --- rules
// ----------------------------------------------------------------------------------------------------------

Arrays Convolution::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  for (const int arg : argnums)
    out.push_back(arg == 0 ? input_gradient(cotangents[0], primals[1], p, primals[0].shape(), stream())
                           : weight_gradient(primals[0], cotangents[0], p, primals[1].shape(), stream()));
  return out;
}

Arrays Convolution::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  for (size_t i = 0; i < argnums.size(); ++i)
    terms.push_back(argnums[i] == 0 ? convolution(tangents[i], primals[1], p, stream())
                                    : convolution(primals[0], tangents[i], p, stream()));
  return {terms.size() == 2 ? add(terms[0], terms[1], stream()) : terms[0]};
}

Batched Convolution::vmap(const Arrays& inputs, const Axes& axes) {
  const Stream s = stream();
  const int batch = batch_size(inputs, axes);
  if (axes[1] < 0) {  // more images
    const array x = moveaxis(inputs[0], axes[0], 0, s);
    const array out = convolution(flatten(x, 0, 1, s), inputs[1], p, s);
    return {{unflatten(out, 0, {batch, x.shape(1)}, s)}, {0}};
  }
  const array w = moveaxis(inputs[1], axes[1], 0, s);  // (B, O, kernel..., C / groups)
  if (axes[0] >= 0) {                                  // each its own: B times the groups
    ConvParameters q = p;
    q.groups *= batch;
    const array x = merged_into_last(inputs[0], axes[0], s);
    return {{batch_from_last(convolution(x, flatten(w, 0, 1, s), q, s), batch, s)}, {0}};
  }
  if (p.groups == 1)
    return {{batch_from_last(convolution(inputs[0], flatten(w, 0, 1, s), p, s), batch, s)}, {0}};
  // More output channels, within each group: (groups, B, O / groups).
  const int per_group = w.shape(1) / p.groups;
  const array split = moveaxis(unflatten(w, 1, {p.groups, per_group}, s), 0, 1, s);
  const array out = convolution(inputs[0], flatten(split, 0, 2, s), p, s);
  const int last = static_cast<int>(out.ndim()) - 1;
  const array parts = moveaxis(unflatten(out, last, {p.groups, batch, per_group}, s), last + 1, 0, s);
  return {{flatten(parts, last + 1, last + 2, s)}, {0}};
}

std::vector<Shape> Convolution::output_shapes(const Arrays& inputs) {
  return {output_shape(inputs[0].shape(), inputs[1].shape(), p)};
}

Arrays ConvolutionWeightGradient::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                                      const Arrays&) {
  Arrays out;
  for (const int arg : argnums)
    out.push_back(arg == 0 ? input_gradient(primals[1], cotangents[0], p, primals[0].shape(), stream())
                           : convolution(primals[0], cotangents[0], p, stream()));
  return out;
}

Arrays ConvolutionWeightGradient::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays terms;
  for (size_t i = 0; i < argnums.size(); ++i)
    terms.push_back(argnums[i] == 0 ? weight_gradient(tangents[i], primals[1], p, weight, stream())
                                    : weight_gradient(primals[0], tangents[i], p, weight, stream()));
  return {terms.size() == 2 ? add(terms[0], terms[1], stream()) : terms[0]};
}

Batched ConvolutionWeightGradient::vmap(const Arrays& inputs, const Axes& axes) {
  const Stream s = stream();
  const int batch = batch_size(inputs, axes);
  const array x = merged_into_last(batch_to_front(inputs[0], axes[0], batch), 0, s);
  const array g = merged_into_last(batch_to_front(inputs[1], axes[1], batch), 0, s);
  ConvParameters q = p;
  q.groups *= batch;
  Shape all = weight;
  all[0] *= batch;
  return {{unflatten(weight_gradient(x, g, q, all, s), 0, {batch, weight[0]}, s)}, {0}};
}

// --- functions
// ------------------------------------------------------------------------------------------------------

array conv_general(array input, array weight, std::vector<int> stride, std::vector<int> padding_lo,
                   std::vector<int> padding_hi, std::vector<int> kernel_dilation,
                   std::vector<int> input_dilation, int groups, bool flip, StreamOrDevice s) {
  const Dtype dtype = promote_types(input.dtype(), weight.dtype());
  if (!issubdtype(dtype, floating))
    throw invalid("conv", "Invalid input array with type ", input.dtype(), " and weight with type ",
                  weight.dtype(), ". Convolution currently only supports floating point types");
  const int spatial = static_cast<int>(input.ndim()) - 2;
  if (spatial < 1 || spatial > 3)
    throw invalid("conv",
                  "Only works for inputs with 1-3 spatial dimensions. The inputs must be in the format ",
                  "[N, ..., C_in], got shape ", input.shape());
  if (weight.ndim() != input.ndim())
    throw invalid("conv", "Invalid weight array with ", weight.ndim(), " dimensions for ", spatial,
                  "D convolution. Expected an array with ", spatial + 2, " dimensions following the format ",
                  "[C_out, ..., C_in].");
  const auto per_dimension = [&](std::vector<int>& values, const char* what, int otherwise, int least) {
    if (values.empty()) values.push_back(otherwise);
    if (values.size() == 1) values.resize(static_cast<size_t>(spatial), values[0]);
    if (static_cast<int>(values.size()) != spatial)
      throw invalid("conv", "Invalid ", what, " ", Shape(values.begin(), values.end()), " for ", spatial,
                    "D convolution.");
    for (const int v : values)
      if (v < least)
        throw invalid("conv", what, " must be positive. Got ", Shape(values.begin(), values.end()), ".");
  };
  constexpr int any = std::numeric_limits<int>::min();
  per_dimension(stride, "strides", 1, 1);
  per_dimension(padding_lo, "padding", 0, any);
  per_dimension(padding_hi, "padding", 0, any);
  per_dimension(kernel_dilation, "kernel dilation", 1, 1);
  per_dimension(input_dilation, "input dilation", 1, 1);
  if (groups < 1) throw invalid("conv", "groups must be positive, got ", groups);
  const int channels = input.shape(-1), outputs = weight.shape(0);
  if (weight.shape(-1) * groups != channels)
    throw invalid("conv",
                  "Expect the input channels in the input and weight array to match but got shapes - input: ",
                  input.shape(), " and weight: ", weight.shape(), " with ", groups, " groups (", channels,
                  " and ", weight.shape(-1) * groups, " channels)");
  if (outputs % groups != 0)
    throw invalid("conv",
                  "If groups > 1, the output channels must be divisible by the number of groups. Got ",
                  outputs, " output channels and ", groups, " groups.");
  for (int i = 1; i <= spatial; ++i)
    if (weight.shape(i) < 1)
      throw invalid("conv", "got a kernel without taps: weight of shape ", weight.shape());
  const ConvParameters p{std::move(stride),
                         std::move(padding_lo),
                         std::move(padding_hi),
                         std::move(kernel_dilation),
                         std::move(input_dilation),
                         groups,
                         flip};
  return convolution(astype(input, dtype, s), astype(weight, dtype, s), p, s);
}

array conv_general(const array& input, const array& weight, std::vector<int> stride, std::vector<int> padding,
                   std::vector<int> kernel_dilation, std::vector<int> input_dilation, int groups, bool flip,
                   StreamOrDevice s) {
  return conv_general(array(input), array(weight), std::move(stride), padding, padding,
                      std::move(kernel_dilation), std::move(input_dilation), groups, flip, s);
}

array conv1d(const array& input, const array& weight, int stride, int padding, int dilation, int groups,
             StreamOrDevice s) {
  return conv_general(input, weight, std::vector<int>{stride}, std::vector<int>{padding},
                      std::vector<int>{dilation}, std::vector<int>{1}, groups, false, s);
}

array conv2d(const array& input, const array& weight, const std::pair<int, int>& stride,
             const std::pair<int, int>& padding, const std::pair<int, int>& dilation, int groups,
             StreamOrDevice s) {
  const auto both = [](const std::pair<int, int>& p) { return std::vector<int>{p.first, p.second}; };
  return conv_general(input, weight, both(stride), both(padding), both(dilation), std::vector<int>{1, 1},
                      groups, false, s);
}

namespace {

using Triple = std::tuple<int, int, int>;
std::vector<int> all_of(const Triple& t) { return {std::get<0>(t), std::get<1>(t), std::get<2>(t)}; }

// The adjoint of a convolution with these parameters, as a function of its output's gradient.
array transposed(const array& input, const array& weight, const std::vector<int>& stride,
                 const std::vector<int>& padding, const std::vector<int>& dilation,
                 const std::vector<int>& output_padding, int groups, StreamOrDevice s) {
  const size_t n = stride.size();
  if (weight.ndim() != n + 2 || input.ndim() != n + 2)
    throw invalid("conv_transpose", "got input of shape ", input.shape(), " and weight of shape ",
                  weight.shape(), ", expected ", n + 2, " dimensions in each");
  std::vector<int> low(n), high(n);
  for (size_t i = 0; i < n; ++i) {
    if (output_padding[i] < 0)
      throw invalid("conv_transpose", "output padding must not be negative, got ", output_padding[i]);
    low[i] = dilation[i] * (weight.shape(static_cast<int>(i) + 1) - 1) - padding[i];
    high[i] = low[i] + output_padding[i];
  }
  return conv_general(array(input), array(weight), std::vector<int>(n, 1), low, high, dilation, stride,
                      groups, true, s);
}

}  // namespace

array conv3d(const array& input, const array& weight, const Triple& stride, const Triple& padding,
             const Triple& dilation, int groups, StreamOrDevice s) {
  return conv_general(input, weight, all_of(stride), all_of(padding), all_of(dilation),
                      std::vector<int>{1, 1, 1}, groups, false, s);
}

array conv_transpose1d(const array& input, const array& weight, int stride, int padding, int dilation,
                       int output_padding, int groups, StreamOrDevice s) {
  return transposed(input, weight, {stride}, {padding}, {dilation}, {output_padding}, groups, s);
}

array conv_transpose2d(const array& input, const array& weight, const std::pair<int, int>& stride,
                       const std::pair<int, int>& padding, const std::pair<int, int>& dilation,
                       const std::pair<int, int>& output_padding, int groups, StreamOrDevice s) {
  return transposed(input, weight, {stride.first, stride.second}, {padding.first, padding.second},
                    {dilation.first, dilation.second}, {output_padding.first, output_padding.second}, groups,
                    s);
}

array conv_transpose3d(const array& input, const array& weight, const Triple& stride, const Triple& padding,
                       const Triple& dilation, const Triple& output_padding, int groups, StreamOrDevice s) {
  return transposed(input, weight, all_of(stride), all_of(padding), all_of(dilation), all_of(output_padding),
                    groups, s);
}

namespace {

array convolved(const Primitive& primitive, const ConvParameters& p, const array& x, const array& w) {
  return conv_general(x, w, p.stride, p.padding_lo, p.padding_hi, p.kernel_dilation, p.input_dilation,
                      p.groups, p.flip, primitive.stream());
}

const bool kept_conv =
    primitive_table().add<Convolution>(
        "Convolution", 2,
        [](const Convolution& p, const Arrays& in) { return Arrays{convolved(p, p.p, in[0], in[1])}; }) &&
    primitive_table().add<ConvolutionWeightGradient>(
        "ConvolutionWeightGradient", 2, [](const ConvolutionWeightGradient& p, const Arrays& in) {
          const array w(Shape(p.weight), in[0].dtype(), nullptr, {});
          check_inputs(p, p.p.stride.size() + 2 == in[0].ndim() && alike(convolved(p, p.p, in[0], w), in[1]),
                       in);
          return Arrays{weight_gradient(in[0], in[1], p.p, p.weight, p.stream())};
        });

}  // namespace

}  // namespace mlx::core
