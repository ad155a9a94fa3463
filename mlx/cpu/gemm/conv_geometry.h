// The geometry of a convolution: which taps reach which input positions. Shared by the forward pass and the
// weight gradient.
//
// With input dilation, an output position meets only the taps that land on an input element. Positions that
// agree modulo the dilation meet the same taps: such a phase is an ordinary convolution without input
// dilation over a coarser grid.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "mlx/cpu/gemm/conv.h"
#include "mlx/cpu/gemm/kernels.h"

namespace mlx::core::cpu::gemm_detail {

using Dims = ConvShape::Dims;

inline int64_t product(const Dims& d) { return d[0] * d[1] * d[2]; }

Elem conv_elem(Dtype t);

// One tap of a phase. Position q of the phase's grid reads input q * step + offset in each dimension.
struct Tap {
  int64_t weight;  // its place among the kernel's taps (mirrored where flipped)
  Dims offset;
};

struct Phase {
  Dims first, stride;  // output position of q: first + q * stride
  Dims size;           // of the grid
  Dims step;           // in the input
  std::vector<Tap> taps;
};

// All phases; without input dilation there is one, with all taps.
std::vector<Phase> phases(const ConvShape& s);

}  // namespace mlx::core::cpu::gemm_detail
