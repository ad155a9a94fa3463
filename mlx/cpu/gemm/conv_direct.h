// Convolution with the direct kernels (direct.h), which pack no patches; for one phase and all groups.
#pragma once

#include "mlx/cpu/gemm/conv.h"
#include "mlx/cpu/gemm/conv_geometry.h"
#include "mlx/cpu/gemm/conv_kernels.h"
#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/gemm/kernels.h"

namespace mlx::core::cpu::gemm_detail {

struct ConvTables {
  const GemmTable& gemm;
  const ConvTable& conv;
  const DirectTable& direct;
  const DirectPairTable& pairs;
};

// Whether tiles fill up: they are cut from lines, and of what is summed in float32.
bool direct_fits(const ConvShape& s, const Phase& phase);
// Whether the forward pass multiplies pairs of channels.
bool direct_in_pairs(const ConvTables& t, const ConvShape& s);
void conv_direct(const ConvTables& t, const ConvShape& s, const Phase& phase, const void* input,
                 const void* weight, void* output);

// A channel per group, as many outputs as inputs.
void conv_channelwise(Isa set, const ConvShape& s, const Phase& phase, const void* input, const void* weight,
                      void* output);
// Few channels of each group: whether the kernels have such groups, and the convolution.
bool grouped_fits(Isa set, const ConvShape& s);
void conv_grouped(Isa set, const ConvShape& s, const Phase& phase, const void* input, const void* weight,
                  void* output);
void conv_direct_gradient(const ConvTables& t, const ConvShape& s, const Phase& phase, const void* input,
                          const void* dout, void* dweight);

}  // namespace mlx::core::cpu::gemm_detail
