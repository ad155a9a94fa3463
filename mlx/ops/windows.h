// The gradient of a maximum or minimum over small windows (pooling), as one operation.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core {

// Small enough to be taken window by window, and channels enough to take them as vectors.
inline bool is_small_window(int64_t elements, int64_t channels) {
  return elements >= 2 && elements <= 64 && channels >= 2 && channels <= 1024;
}

// Inputs x, its extreme y along the axes, and g; the last two with the axes as 1. Where x == y, g divided by
// how many such elements there are; 0 elsewhere. Real floating types.
class ExtremeShare final : public Primitive {
 public:
  ExtremeShare(Stream s, Axes axes) : Primitive(s), axes(std::move(axes)) {}
  const Axes axes;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "extreme_share"; }
  auto fields() const { return std::tie(axes); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// Whether the reduction is of this kind and the stream's backend has a kernel for it.
bool has_extreme_share(const array& x, const Axes& axes, Stream s);
array extreme_share(const array& x, const array& y, const array& g, const Axes& axes, Stream s);

}  // namespace mlx::core
