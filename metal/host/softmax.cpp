#include "mlx/ops/softmax.h"

#include <algorithm>

#include "metal/host/kernels.h"
#include "mlx/ops/reduce.h"

namespace mlx::core::metal {
namespace {

constexpr uint32_t kPerThread = 8;  // elements that a thread keeps in registers
constexpr uint32_t kMostThreads = 1024;

uint32_t threads_for(uint32_t n) { return std::min(kMostThreads, (ceil_div(n, kPerThread) + 31) / 32 * 32); }

bool floats_only(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_only(p, inputs, outputs) && issubdtype(inputs[0].dtype(), floating) && inputs[0].size() > 0;
}

void softmax(const Softmax& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const auto n = static_cast<uint32_t>(out.shape(-1));
  take_or_allocate(out, inputs);
  const array x = row_contiguous(inputs[0], p.stream());
  const bool is_short = n <= kPerThread * kMostThreads;
  Dispatch d(p.stream(), typed_pipeline("softmax", x.dtype(), is_short ? "softmax_short" : "softmax_long"));
  d.in(x).out(out).value(n);
  d.groups({static_cast<uint32_t>(out.size() / n), 1, 1}, {threads_for(n), 1, 1});
}

void jacobian(const SoftmaxJacobian& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const auto n = static_cast<uint32_t>(out.shape(-1));
  take_or_allocate(out, inputs);
  const array y = row_contiguous(inputs[0], p.stream()), v = row_contiguous(inputs[1], p.stream());
  Dispatch d(p.stream(), typed_pipeline("softmax", y.dtype(), "jacobian"));
  d.in(y).in(v).out(out).value(n);
  d.groups({static_cast<uint32_t>(out.size() / n), 1, 1}, {threads_for(n), 1, 1});
}

void log_sum_exp(const LogSumExp& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const auto n = static_cast<uint32_t>(inputs[0].shape(-1));
  allocate(out);
  const array x = row_contiguous(inputs[0], p.stream());
  Dispatch d(p.stream(), typed_pipeline("softmax", x.dtype(), "log_sum_exp"));
  d.in(x).out(out).value(n);
  d.groups({static_cast<uint32_t>(out.size()), 1, 1}, {threads_for(n), 1, 1});
}

const bool registered = add_kernel<Softmax>(softmax, floats_only) &&
                        add_kernel<SoftmaxJacobian>(jacobian, floats_only) &&
                        add_kernel<LogSumExp>(log_sum_exp, floats_only);

}  // namespace
}  // namespace mlx::core::metal
