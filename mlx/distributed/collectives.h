// The primitives of mx.distributed, as their kernel sees them (mlx/cpu/distributed.cpp).
#pragma once

#include <typeinfo>

#include "mlx/distributed/distributed.h"
#include "mlx/distributed/group.h"
#include "mlx/graph/worker.h"
#include "mlx/ops/rules.h"

namespace mlx::core::distributed {

class Collective : public Primitive {
 public:
  Collective(Stream s, Group group) : Primitive(s), group(std::move(group)) {}
  detail::GroupImpl& members() const { return *group.raw_group(); }
  // Of one kind and of the same group.
  bool is_equivalent(const Primitive& other) const override {
    const auto* p = typeid(other) == typeid(*this) ? static_cast<const Collective*>(&other) : nullptr;
    return p && p->group.raw_group() == group.raw_group();
  }
  const Group group;

 private:
  const core::detail::InOrder in_order_;
};

class AllReduce final : public Collective {
 public:
  AllReduce(Stream s, Group group, detail::Reduction reduction)
      : Collective(s, std::move(group)), reduction(reduction) {}
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override;
  bool is_equivalent(const Primitive& other) const override;
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
  const detail::Reduction reduction;
};

class AllGather final : public Collective {
 public:
  using Collective::Collective;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "all_gather"; }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

class SumScatter final : public Collective {
 public:
  using Collective::Collective;
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "sum_scatter"; }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Two of these are two messages, whatever they hold: they are equivalent to nothing.
class Send final : public Collective {
 public:
  Send(Stream s, Group group, int dst) : Collective(s, std::move(group)), dst(dst) {}
  Arrays vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays&) override {
    return cotangents;  // the result is the argument
  }
  Arrays jvp(const Arrays&, const Arrays& tangents, const Axes&) override { return tangents; }
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "send"; }
  bool is_equivalent(const Primitive&) const override { return false; }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
  const int dst;
};

class Recv final : public Collective {
 public:
  Recv(Stream s, Group group, int src) : Collective(s, std::move(group)), src(src) {}
  const char* name() const override { return "recv"; }
  bool is_equivalent(const Primitive&) const override { return false; }
  const int src;
};

}  // namespace mlx::core::distributed
