// The primitives of ordering, as their kernels see them. Axes are not negative.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

// kth < 0: the values in ascending order, nan last. Else: value kth is where sorting would put it, none
// larger before it, none smaller after.
class Sort final : public Primitive {
 public:
  Sort(Stream s, int axis, int kth) : Primitive(s), axis(axis), kth(kth) {}
  const int axis, kth;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return kth < 0 ? "sort" : "partition"; }
  auto fields() const { return std::tie(axis, kth); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// The uint32 indices that bring the values into that order; stable where kth < 0.
class ArgSort final : public Primitive {
 public:
  ArgSort(Stream s, int axis, int kth) : Primitive(s), axis(axis), kth(kth) {}
  const int axis, kth;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return kth < 0 ? "argsort" : "argpartition"; }
  auto fields() const { return std::tie(axis, kth); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// inputs: a sorted vector and values of its dtype.
class SearchSorted final : public Primitive {
 public:
  SearchSorted(Stream s, bool right) : Primitive(s), right(right) {}
  const bool right;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "searchsorted"; }
  auto fields() const { return std::tie(right); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[1].shape()}; }
};

// From the stable order of a vector to which distinct value every element is. Inputs: the vector, its
// argsort. Outputs, all as long as the vector's `size` or the vector: index of the first occurrence (uint32,
// size), inverse (uint32, n), counts (int32, size).
class Unique final : public Primitive {
 public:
  Unique(Stream s, int size) : Primitive(s), size(size) {}
  const int size;

  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "unique"; }
  auto fields() const { return std::tie(size); }
};

}  // namespace mlx::core
