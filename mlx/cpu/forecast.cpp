// What the kernels of this folder allocate, for forecasts of memory: which of them write into an input that
// nobody else holds, which make views, and which copy their operands into row-major order first. A kernel
// that only allocates its outputs needs no line here; those of scatter stand in scatter.cpp.
// tests/core/test_forecast.py compares each with what evaluation measures.
#include "mlx/graph/forecast.h"

#include "mlx/cpu/copy.h"
#include "mlx/distributed/collectives.h"
#include "mlx/ops/conv.h"
#include "mlx/ops/cross.h"
#include "mlx/ops/hadamard.h"
#include "mlx/ops/matmul.h"
#include "mlx/ops/norms.h"
#include "mlx/ops/quantized.h"
#include "mlx/ops/recurrent.h"
#include "mlx/ops/reduce.h"
#include "mlx/ops/resample.h"
#include "mlx/ops/scan.h"
#include "mlx/ops/slice.h"
#include "mlx/ops/softmax.h"
#include "mlx/ops/sort.h"
#include "mlx/ops/view.h"
#include "mlx/ops/windows.h"

namespace mlx::core::cpu {
namespace {

MemoryRules& rules() { return memory_rules(Device::cpu); }

// row_contiguous() in the kernels.
void copies(const Arrays& inputs, ShadowMemory& memory) {
  for (const array& in : inputs)
    if (!in.flags().row_contiguous) memory.scratch(in.nbytes());
}

void take_or_allocate(array& out, const array& in, ShadowMemory& memory) {
  if (may_take(in, out)) {
    out.copy_shared_buffer(in);
  } else {
    memory.allocate(out);
  }
}

template <class P>
void view_or_copy(const P& p, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  if (!p.view(inputs[0], outputs[0])) memory.allocate(outputs[0]);
}
void as_strided(const AsStrided& p, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  if (!p.view(inputs[0], outputs[0])) memory.allocate(outputs[0], inputs[0].nbytes());  // of a copy
}
template <class P>
void first_input(const P&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  take_or_allocate(outputs[0], inputs[0], memory);
  copies(inputs, memory);
}
template <class P>
void any_input(const P&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  array& out = outputs[0];
  size_t i = 0;
  while (i < inputs.size() && !may_take(inputs[i], out)) ++i;
  if (i < inputs.size()) {
    out.copy_shared_buffer(inputs[i]);
  } else {
    memory.allocate(out);
  }
  copies(inputs, memory);
}
template <class P>
void copied_inputs(const P&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  for (array& out : outputs) memory.allocate(out);
  copies(inputs, memory);
}
template <class P>
void updated(const P&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  const array& src = inputs[0];
  if (src.is_donatable() && src.flags().contiguous) {
    outputs[0].copy_shared_buffer(src);
  } else {
    memory.allocate(outputs[0]);
  }
}
// Along an axis in the middle, rows are sorted beside the output, a slab at a time on every thread: one is
// counted.
template <class P>
void sorted(const P& p, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  copied_inputs(p, inputs, outputs, memory);
  size_t slab = outputs[0].nbytes();
  for (int d = 0; d < p.axis; ++d)
    if (outputs[0].shape(d) != 0) slab /= static_cast<size_t>(outputs[0].shape(d));
  if (slab > static_cast<size_t>(outputs[0].shape(p.axis)) * outputs[0].itemsize()) memory.scratch(slab);
}

void sent(const distributed::Send&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  copies(inputs, memory);
  outputs[0].copy_shared_buffer(inputs[0]);
}
void addmm(const AddMM&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  array& out = outputs[0];
  const array& c = inputs[2];
  if (c.shape() == out.shape()) {
    take_or_allocate(out, c, memory);
  } else {
    memory.allocate(out);
  }
}

template <class P>
void norm_vjp(const P&, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  take_or_allocate(outputs[0], inputs.back(), memory);
  for (size_t i = 1; i < outputs.size(); ++i) memory.allocate(outputs[i]);
  copies(inputs, memory);
}

void allocate_or_take(Arrays& outputs, int taker, const array& given, ShadowMemory& memory) {
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i)
    i == taker ? take_or_allocate(outputs[i], given, memory) : memory.allocate(outputs[i]);
}
void recurrent(const fast::RecurrentSteps& p, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  allocate_or_take(outputs, p.taker(p.cell), inputs[p.sequence], memory);
  copies(inputs, memory);
}
// Cotangents that are one number stay that.
void recurrent_gradient(const fast::RecurrentStepsGradient& p, const Arrays& inputs, Arrays& outputs,
                        ShadowMemory& memory) {
  allocate_or_take(outputs, p.taker(p.cell), inputs[p.taken(p.cell)], memory);
  for (const array& in : inputs)
    if (in.data_size() != 1) copies({in}, memory);
}

void full(const Full& p, const Arrays& inputs, Arrays& outputs, ShadowMemory& memory) {
  array& out = outputs[0];
  out.desc()->stored ? memory.allocate(out) : out.copy_shared_buffer(p.repeated(inputs[0]));
}

void split(const Split& p, const Arrays& inputs, Arrays& outputs, ShadowMemory&) {
  p.views(inputs[0], outputs);
}
void dynamic_slice(const DynamicSlice&, const Arrays& inputs, Arrays& outputs, ShadowMemory&) {
  share_view(outputs[0], inputs[0], inputs[0].strides());
}
void depends(const Depends&, const Arrays& inputs, Arrays& outputs, ShadowMemory&) {
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].copy_shared_buffer(inputs[i]);
}

template <class... P>
bool add_views() {
  return (rules().add<P>(view_or_copy<P>) && ...);
}
template <class... P>
bool add_first_input() {
  return (rules().add<P>(first_input<P>) && ...);
}
template <class... P>
bool add_copied_inputs() {
  return (rules().add<P>(copied_inputs<P>) && ...);
}

const bool registered =
    add_views<Copy, StopGradient, Contiguous, Reshape, Reaxis, Transpose, Broadcast, Diagonal, View,
              Slice>() &&
    rules().add<Full>(full) && rules().add<AsStrided>(as_strided) &&
    add_first_input<fast::Norm, fast::GroupNorm, fast::RoPE, fast::CrossEntropyVjp, Scan>() &&
    add_copied_inputs<fast::CrossEntropy, Convolution, ConvolutionWeightGradient, LogSumExp, ArgReduce,
                      ExtremeShare, Hadamard, linalg::Cross, Resample, Quantize, Dequantize,
                      QuantizedMatmul>() &&
    rules().add<Sort>(sorted<Sort>) && rules().add<ArgSort>(sorted<ArgSort>) &&
    rules().add<fast::RecurrentSteps>(recurrent) &&
    rules().add<fast::RecurrentStepsGradient>(recurrent_gradient) &&
    rules().add<distributed::AllReduce>(any_input<distributed::AllReduce>) &&
    add_copied_inputs<distributed::AllGather, distributed::SumScatter>() &&
    rules().add<distributed::Send>(sent) && rules().add<Softmax>(any_input<Softmax>) &&
    rules().add<SoftmaxJacobian>(any_input<SoftmaxJacobian>) &&
    rules().add<SliceUpdate>(updated<SliceUpdate>) &&
    rules().add<DynamicSliceUpdate>(updated<DynamicSliceUpdate>) && rules().add<AddMM>(addmm) &&
    rules().add<fast::NormVjp>(norm_vjp<fast::NormVjp>) &&
    rules().add<fast::GroupNormVjp>(norm_vjp<fast::GroupNormVjp>) && rules().add<Split>(split) &&
    rules().add<DynamicSlice>(dynamic_slice) && rules().add<Depends>(depends);

}  // namespace
}  // namespace mlx::core::cpu
