// Exchange between processes: operands as dense memory, handed to the group's back end.
#include <array>

#include "mlx/cpu/copy.h"
#include "mlx/distributed/collectives.h"
#include "mlx/graph/forecast.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

using namespace distributed;  // NOLINT

void allocate(array& out) { out.set_data(allocator::malloc(out.nbytes())); }

void all_reduce(const AllReduce& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array in = row_contiguous(inputs[0]);
  take_or_allocate(out, {&inputs[0], 1});
  p.members().all_reduce(p.reduction, out.dtype(), in.data<void>(), out.data<void>(), out.size());
}
void all_gather(const AllGather& p, const Arrays& inputs, Arrays& outputs) {
  const array in = row_contiguous(inputs[0]);
  allocate(outputs[0]);
  p.members().all_gather(in.dtype(), in.data<void>(), outputs[0].data<void>(), in.size());
}
void sum_scatter(const SumScatter& p, const Arrays& inputs, Arrays& outputs) {
  const array in = row_contiguous(inputs[0]);
  allocate(outputs[0]);
  p.members().sum_scatter(in.dtype(), in.data<void>(), outputs[0].data<void>(), outputs[0].size());
}
void send(const Send& p, const Arrays& inputs, Arrays& outputs) {
  const array in = row_contiguous(inputs[0]);
  p.members().send(in.dtype(), in.data<void>(), in.size(), p.dst);
  outputs[0].copy_shared_buffer(inputs[0]);
}
void recv(const Recv& p, const Arrays&, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  p.members().recv(out.dtype(), out.data<void>(), out.size(), p.src);
}

const std::array registered{kernels(Device::cpu).add<AllReduce>(all_reduce),
                            kernels(Device::cpu).add<AllGather>(all_gather),
                            kernels(Device::cpu).add<SumScatter>(sum_scatter),
                            kernels(Device::cpu).add<Send>(send), kernels(Device::cpu).add<Recv>(recv)};

}  // namespace
}  // namespace mlx::core::cpu
