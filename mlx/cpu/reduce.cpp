// Reductions of arrays with any strides: dims are sorted into kept and reduced ones, and the driver does the
// rest.
#include "mlx/cpu/reduce.h"

#include <algorithm>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/rows/rows.h"
#include "mlx/cpu/rows/windows.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/windows.h"

namespace mlx::core::cpu {

ReduceLayout layout_of(const Shape& shape, const Strides& strides, const Axes& axes) {
  ReduceLayout layout;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    auto& dims = std::binary_search(axes.begin(), axes.end(), d) ? layout.reduced : layout.kept;
    dims.push_back({shape[static_cast<size_t>(d)], strides[static_cast<size_t>(d)]});
  }
  return layout;
}

ReduceRule reduction_of(const Reduce& p, const array& in, const array& out) {
  switch (p.kind) {
    case Reduction::sum:
      return {ReduceOp::sum, 1};
    case Reduction::mean: {
      const auto count = static_cast<double>(in.size());
      return {issubdtype(in.dtype(), inexact) ? ReduceOp::sum : ReduceOp::integer_mean,
              out.size() ? count / static_cast<double>(out.size()) : 0};
    }
    case Reduction::prod:
      return {ReduceOp::prod, 1};
    case Reduction::max:
      return {ReduceOp::max, 1};
    case Reduction::min:
      return {ReduceOp::min, 1};
    case Reduction::any:
      return {ReduceOp::any, 1};
    case Reduction::all:
      break;
  }
  return {ReduceOp::all, 1};
}

namespace {

int number(Dtype dtype) { return static_cast<int>(dtype.val()); }

void reduce_array(const Reduce& p, const Arrays& inputs, Arrays& outputs) {
  const array& a = inputs[0];
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const ReduceRule rule = reduction_of(p, a, out);
  const ReduceLayout layout = layout_of(a.shape(), a.strides(), p.axes);
  if (!reduce_windows(rule.op, number(a.dtype()), a.data<char>(), layout, out.data<char>(), rule.divisor))
    reduce(rule.op, number(a.dtype()), a.data<char>(), layout, out.data<char>(), rule.divisor);
}

void extreme_share(const ExtremeShare& p, const Arrays& inputs, Arrays& outputs) {
  const array x = row_contiguous(inputs[0]), y = row_contiguous(inputs[1]), g = row_contiguous(inputs[2]);
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  share_windows(number(x.dtype()), x.data<char>(), layout_of(x.shape(), x.strides(), p.axes), y.data<char>(),
                g.data<char>(), out.data<char>());
}

void variance(const Variance& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array& a = inputs[0];
  moments(number(a.dtype()), a.data<char>(), layout_of(a.shape(), a.strides(), p.axes), p.ddof,
          outputs[0].data<char>(), outputs[1].data<char>());
}

void arg_reduce(const ArgReduce& p, const Arrays& inputs, Arrays& outputs) {
  const array a = row_contiguous(inputs[0]);
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < p.axis; ++d) outer *= a.shape(d);
  for (int d = p.axis + 1; d < static_cast<int>(a.ndim()); ++d) inner *= a.shape(d);
  argreduce(p.max, number(a.dtype()), a.data<char>(), outer, a.shape(p.axis), inner, out.data<uint32_t>());
}

void log_sum_exp(const LogSumExp&, const Arrays& inputs, Arrays& outputs) {
  const array a = row_contiguous(inputs[0]);
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  logsumexp(number(a.dtype()), a.data<char>(), static_cast<int64_t>(out.size()), a.shape(-1),
            out.data<char>());
}

const bool registered =
    kernels(Device::cpu).add<Reduce>(reduce_array) && kernels(Device::cpu).add<Variance>(variance) &&
    kernels(Device::cpu).add<ArgReduce>(arg_reduce) && kernels(Device::cpu).add<LogSumExp>(log_sum_exp) &&
    kernels(Device::cpu).add<ExtremeShare>(extreme_share);

}  // namespace
}  // namespace mlx::core::cpu
