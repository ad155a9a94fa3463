// Parameters of the kernels of convolutions.
#pragma once

#include "metal/host/kernels.h"
#include "mlx/ops/conv.h"

namespace mlx::core::metal {

// As struct ConvParams of metal/kernels/conv.h.
struct ConvParams {
  int32_t batch = 0, groups = 1, channels = 0, outputs = 0;  // channels and outputs of one group
  int32_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, taps[3] = {1, 1, 1}, stride[3] = {1, 1, 1};
  int32_t dilation[3] = {1, 1, 1}, low[3] = {0, 0, 0};
  int32_t input_dilation[3] = {1, 1, 1}, tap_step[3] = {1, 1, 1};
  int32_t part = 0, parts = 1;
  int64_t k = 0, size = 0;

  int64_t all_taps() const { return int64_t{taps[0]} * taps[1] * taps[2]; }
  int64_t positions() const { return int64_t{batch} * out[0] * out[1] * out[2]; }
  bool dilated_input() const {
    return input_dilation[0] > 1 || input_dilation[1] > 1 || input_dilation[2] > 1;
  }
  bool unit_strides() const { return stride[0] == 1 && stride[1] == 1 && stride[2] == 1; }
};
// Of shapes x (N, spatial..., C), w (O, kernel..., C / groups) and out (N, spatial..., O).
ConvParams conv_params(const ConvParameters& p, const Shape& x, const Shape& w, const Shape& out);

// `a` row by row, and whether four elements lie at multiples of four.
struct Dense {
  array held;
  bool aligned;
};
Dense dense(const array& a, const Stream& s);

// Kernels for groups with one input channel and not too many taps (metal/host/depthwise.cpp).
bool depthwise_fits(const ConvParams& p, Dtype dtype);
void depthwise(const array& x, const array& w, const array& out, ConvParams p, const Stream& s);
void depthwise_weights(const array& x, const array& g, const array& out, ConvParams p, const Stream& s);
// The weight gradient with the roles of x and g exchanged: positions are x's.
ConvParams exchanged(const ConvParams& p);

// `parts` results of `p.size` elements to `out`.
void sum_parts(const array& partial, const array& out, const ConvParams& p, const Stream& s);

// Three by three taps, as products of transformed tiles (metal/host/winograd.cpp).
bool winograd_pays(const ConvParams& p, const ConvParameters& given);
void winograd(const array& x, const array& w, const array& out, const ConvParams& p, bool flip,
              const Stream& s);

}  // namespace mlx::core::metal
