// Convolutions of arrays: dense operands and one call of the raw kernels.
#include "mlx/ops/conv.h"

#include "mlx/allocator.h"
#include "mlx/cpu/copy.h"
#include "mlx/cpu/gemm/conv.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

ConvShape shape_of(const ConvParameters& p, const Shape& x, const Shape& w, const Shape& out, Dtype dtype) {
  ConvShape s;
  s.dtype = dtype;
  s.batch = x[0], s.in_channels = x[x.size() - 1], s.out_channels = w[0];
  s.groups = p.groups, s.flip = p.flip;
  const size_t n = p.stride.size();
  for (size_t i = 0; i < n; ++i) {
    const size_t at = 3 - n + i;
    s.in[at] = x[i + 1], s.kernel[at] = w[i + 1], s.out[at] = out[i + 1];
    s.stride[at] = p.stride[i], s.pad[at] = p.padding_lo[i];
    s.dilation[at] = p.kernel_dilation[i], s.input_dilation[at] = p.input_dilation[i];
  }
  return s;
}

void convolution(const Convolution& primitive, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]), w = row_contiguous(inputs[1]);
  conv(shape_of(primitive.p, x.shape(), w.shape(), out.shape(), out.dtype()), x.data<void>(), w.data<void>(),
       out.data<void>());
}

void weight_gradient(const ConvolutionWeightGradient& primitive, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  const array x = row_contiguous(inputs[0]), g = row_contiguous(inputs[1]);
  conv_weight_gradient(shape_of(primitive.p, x.shape(), primitive.weight, g.shape(), out.dtype()),
                       x.data<void>(), g.data<void>(), out.data<void>());
}

const bool registered = kernels(Device::cpu).add<Convolution>(convolution) &&
                        kernels(Device::cpu).add<ConvolutionWeightGradient>(weight_gradient);

}  // namespace
}  // namespace mlx::core::cpu
