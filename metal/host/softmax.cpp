#include "mlx/ops/softmax.h"

#include <algorithm>

#include "metal/host/indices.h"
#include "mlx/ops/norms.h"
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

// Class indices, which the host looks at first, as the CPU's kernel does, or the device where it is still
// computing them.
array class_indices(const array& targets, int64_t n, const Stream& s) {
  const auto error = [n](const std::string& target, size_t i) {
    return std::make_exception_ptr(std::out_of_range(
        text("[cross_entropy] target ", target, " at position ", i, " is outside [-", n, ", ", n, ")")));
  };
  if (used_by_gpu({targets})) {
    check_later(targets, n, n, error, s);
  } else {
    for_each_index(targets, [&](int64_t v, size_t i) {
      if (v < -n || v >= n) std::rethrow_exception(error(std::to_string(v), i));
    });
  }
  if (targets.dtype() == int64) return row_contiguous(targets, s);
  array out(targets.shape(), int64, nullptr, {});
  allocate(out);
  copy_to(targets, out, s);
  return out;
}

void cross_entropy(const fast::CrossEntropy& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  for (array& out : outputs) allocate(out);
  const auto n = static_cast<uint32_t>(inputs[0].shape(-1));
  const array targets = class_indices(inputs[1], n, s), x = row_contiguous(inputs[0], s);
  Dispatch d(s, typed_pipeline("softmax", x.dtype(), "cross_entropy"));
  d.in(x).in(targets).out(outputs[0]).out(outputs[1]).value(n);
  d.groups({static_cast<uint32_t>(x.size() / n), 1, 1}, {threads_for(n), 1, 1});
}

void cross_entropy_vjp(const fast::CrossEntropyVjp& p, const Arrays& inputs, Arrays& outputs) {
  const Stream& s = p.stream();
  array& out = outputs[0];
  const auto n = static_cast<uint32_t>(out.shape(-1));
  const array targets = class_indices(inputs[1], n, s);
  take_or_allocate(out, {&inputs[0], 1});
  const array x = row_contiguous(inputs[0], s);
  Arrays rows;
  for (size_t i = 2; i < 5; ++i) rows.push_back(row_contiguous(inputs[i], s));
  Dispatch d(s, typed_pipeline("softmax", x.dtype(), "cross_entropy_gradient"));
  d.in(x).in(targets).in(rows[0]).in(rows[1]).in(rows[2]).out(out).value(n);
  d.groups({static_cast<uint32_t>(out.size() / n), 1, 1}, {threads_for(n), 1, 1});
}

const bool registered = add_kernel<Softmax>(softmax, floats_only) &&
                        add_kernel<SoftmaxJacobian>(jacobian, floats_only) &&
                        add_kernel<LogSumExp>(log_sum_exp, floats_only) &&
                        add_kernel<fast::CrossEntropy>(cross_entropy, floats_only) &&
                        add_kernel<fast::CrossEntropyVjp>(cross_entropy_vjp, floats_only);

}  // namespace
}  // namespace mlx::core::metal
