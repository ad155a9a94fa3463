// Convolution of the CPU backend on raw memory, as matrix products whose packers gather image patches: no
// im2col matrix.
//
//     out[n, p, o] = sum over taps t and channels c of  in'[n, p * stride - pad + t * dilation, c] * w[o, t',
//     c]
//
// in' is the input with input_dilation - 1 zeros between neighbours and zeros outside; t' = t, or the
// mirrored tap where `flip` is set. Layouts are row-major: input (N, spatial..., C), weights (O, kernel..., C
// / groups), output (N, spatial..., O); output channel o belongs to group o / (O / groups). One to three
// spatial dimensions are given as three, the missing ones in front with sizes, strides and dilations of 1 and
// padding 0. Types: float32, float64, float16, bfloat16 (summed in float32). Same bits for any number of
// threads.
#pragma once

#include <array>
#include <cstdint>

#include "mlx/cpu/isa.h"
#include "mlx/dtype.h"

namespace mlx::core::cpu {

struct ConvShape {
  using Dims = std::array<int64_t, 3>;
  Dtype dtype = float32;
  int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  Dims in = {1, 1, 1}, kernel = {1, 1, 1}, out = {1, 1, 1};  // out: as many positions as are wanted
  Dims stride = {1, 1, 1}, pad = {0, 0, 0};  // pad: in front; behind follows from `out`; may be negative
  Dims dilation = {1, 1, 1}, input_dilation = {1, 1, 1};
  bool flip = false;
};

void conv(const ConvShape& shape, const void* input, const void* weight, void* output);
void conv_for(Isa isa, const ConvShape& shape, const void* input, const void* weight, void* output);

// dw[o, t', c] = sum over n and p of dout[n, p, o] * in'[n, p * stride - pad + t * dilation, c]: the gradient
// of the weights. (That of the input is a conv of dout.)
void conv_weight_gradient(const ConvShape& shape, const void* input, const void* dout, void* dweight);
void conv_weight_gradient_for(Isa isa, const ConvShape& shape, const void* input, const void* dout,
                              void* dweight);

}  // namespace mlx::core::cpu
