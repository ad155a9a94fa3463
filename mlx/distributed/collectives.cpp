// Exchange between processes: public functions, derivatives and batching. Derivatives follow the convention
// of programs in which every process computes the same loss: the cotangent of a result that all have is the
// same on all, so that of all_sum passes through, and that of all_gather is cut.
#include "mlx/distributed/collectives.h"

#include <limits>

#include "mlx/distributed/ops.h"
#include "mlx/ops.h"

namespace mlx::core::distributed {
namespace {

using detail::Reduction;

Group chosen_group(const std::optional<Group>& group) { return group ? *group : init(); }
// Sockets are the processor's business.
Stream to_comm_stream(const StreamOrDevice& s) { return to_stream(s, Device(Device::cpu)); }

array reduce(const array& x, const Group& group, Reduction op, const Stream& s) {
  return make<AllReduce>(x.shape(), x.dtype(), s, {x}, group, op);
}
array all_reduce(const array& x, const std::optional<Group>& group, Reduction op, const StreamOrDevice& s) {
  const Group members = chosen_group(group);
  return members.size() == 1 ? x : reduce(x, members, op, to_comm_stream(s));
}

Shape times_first(Shape shape, int n) {
  if (shape.empty()) return {n};
  if (shape[0] > std::numeric_limits<ShapeElem>::max() / n)
    throw invalid("distributed.all_gather", "got an array of shape ", shape, " in a group of ", n,
                  ", expected at most 2147483647 elements along the first axis of the result");
  shape[0] *= n;
  return shape;
}
array gather(const array& x, const Group& group, const Stream& s) {
  return make<AllGather>(times_first(x.shape(), group.size()), x.dtype(), s, {x}, group);
}

Shape part_of_first(Shape shape, int n) {
  if (shape.empty() || shape[0] % n != 0)
    throw invalid("distributed.sum_scatter", "got an array of shape ", shape,
                  ", expected a first axis that can be divided among ", n, " processes");
  shape[0] /= n;
  return shape;
}
array scatter(const array& x, const Group& group, const Stream& s) {
  return make<SumScatter>(part_of_first(x.shape(), group.size()), x.dtype(), s, {x}, group);
}

Group with_peer(const char* name, const char* what, int peer, const std::optional<Group>& group) {
  const Group members = chosen_group(group);
  if (members.size() == 1)
    throw invalid(name, "there is no process with rank ", peer,
                  " to exchange arrays with: the group has one member");
  if (peer < 0 || peer >= members.size())
    throw invalid(name, "got ", what, " ", peer, ", expected a rank from 0 to ", members.size() - 1);
  if (peer == members.rank())
    throw invalid(name, "got ", what, " ", peer, ", which is this process, expected another one");
  return members;
}

// The first axis is what is joined or divided, so that of the batch becomes the second.
template <class F>
Batched batch_second(const Arrays& inputs, const Axes& at, const Stream& s, F&& function) {
  array x = moveaxis(inputs[0], at[0], 0, s);
  x = x.ndim() == 1 ? expand_dims(x, 0, s) : moveaxis(x, 0, 1, s);
  return {{function(x)}, {1}};
}

}  // namespace

// --- AllReduce ---

const char* AllReduce::name() const {
  return reduction == Reduction::sum ? "all_sum" : (reduction == Reduction::max ? "all_max" : "all_min");
}
bool AllReduce::is_equivalent(const Primitive& other) const {
  return Collective::is_equivalent(other) && static_cast<const AllReduce&>(other).reduction == reduction;
}
// An extreme belongs to the processes that have it.
Arrays AllReduce::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  if (reduction == Reduction::sum) return cotangents;
  return {where(equal(primals[0], outputs[0], stream()), cotangents[0], zeros_of(cotangents[0]), stream())};
}
// Where several have it, their mean: what each of them would give alone may differ.
Arrays AllReduce::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  if (reduction == Reduction::sum) return {reduce(tangents[0], group, Reduction::sum, stream())};
  const array& x = primals[0];
  const array mine = equal(x, reduce(x, group, reduction, stream()), stream());
  const array sum =
      reduce(where(mine, tangents[0], zeros_of(tangents[0]), stream()), group, Reduction::sum, stream());
  const array count = reduce(astype(mine, x.dtype(), stream()), group, Reduction::sum, stream());
  return {divide(sum, count, stream())};
}
Batched AllReduce::vmap(const Arrays& inputs, const Axes& at) {
  return {{reduce(inputs[0], group, reduction, stream())}, at};
}

array all_sum(const array& x, std::optional<Group> group, StreamOrDevice s) {
  return all_reduce(x, group, Reduction::sum, s);
}
array all_max(const array& x, std::optional<Group> group, StreamOrDevice s) {
  return all_reduce(x, group, Reduction::max, s);
}
array all_min(const array& x, std::optional<Group> group, StreamOrDevice s) {
  return all_reduce(x, group, Reduction::min, s);
}

// --- AllGather ---

std::vector<Shape> AllGather::output_shapes(const Arrays& inputs) {
  return {times_first(inputs[0].shape(), group.size())};
}
Arrays AllGather::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays&) {
  Shape shape = primals[0].shape();
  shape.insert(shape.begin(), group.size());
  return {take(reshape(cotangents[0], shape, stream()), group.rank(), 0, stream())};
}
Arrays AllGather::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {gather(tangents[0], group, stream())};
}
Batched AllGather::vmap(const Arrays& inputs, const Axes& at) {
  return batch_second(inputs, at, stream(), [&](const array& x) { return gather(x, group, stream()); });
}

array all_gather(const array& x, std::optional<Group> group, StreamOrDevice s) {
  const Group members = chosen_group(group);
  return members.size() == 1 ? x : gather(x, members, to_comm_stream(s));
}

// --- SumScatter ---

std::vector<Shape> SumScatter::output_shapes(const Arrays& inputs) {
  return {part_of_first(inputs[0].shape(), group.size())};
}
Arrays SumScatter::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) {
  return {gather(cotangents[0], group, stream())};
}
Arrays SumScatter::jvp(const Arrays&, const Arrays& tangents, const Axes&) {
  return {scatter(tangents[0], group, stream())};
}
Batched SumScatter::vmap(const Arrays& inputs, const Axes& at) {
  return batch_second(inputs, at, stream(), [&](const array& x) { return scatter(x, group, stream()); });
}

array sum_scatter(const array& x, std::optional<Group> group, StreamOrDevice s) {
  const Group members = chosen_group(group);
  return members.size() == 1 ? x : scatter(x, members, to_comm_stream(s));
}

// --- one process to another ---

Batched Send::vmap(const Arrays& inputs, const Axes& at) {
  return {{make<Send>(inputs[0].shape(), inputs[0].dtype(), stream(), {inputs[0]}, group, dst)}, at};
}

array send(const array& x, int dst, std::optional<Group> group, StreamOrDevice s) {
  const Group members = with_peer("distributed.send", "destination", dst, group);
  return make<Send>(x.shape(), x.dtype(), to_comm_stream(s), {x}, members, dst);
}

array recv(Shape shape, Dtype dtype, int src, std::optional<Group> group, StreamOrDevice s) {
  const Group members = with_peer("distributed.recv", "source", src, group);
  for (ShapeElem n : shape)
    if (n < 0) throw invalid("distributed.recv", "got the shape ", shape, ", expected no negative size");
  return make<Recv>(std::move(shape), dtype, to_comm_stream(s), {}, members, src);
}
array recv_like(const array& x, int src, std::optional<Group> group, StreamOrDevice s) {
  fix_sizes("distributed.recv_like", {x});
  return recv(x.shape(), x.dtype(), src, std::move(group), s);
}

}  // namespace mlx::core::distributed
