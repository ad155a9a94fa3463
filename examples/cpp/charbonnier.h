// An operation of our own, with its derivatives and its batching rule:
//
//   charbonnier(a, b, eps) = sqrt((a - b)^2 + eps^2)
//
// a smooth |a - b|, element by element. The function checks and converts its arguments and builds a node; the
// primitive says how the node is computed and how the transforms (grad, jvp, vmap, compile) see it.
#pragma once

#include <utility>
#include <vector>

#include "mlx/mlx.h"

namespace examples {

mlx::core::array charbonnier(const mlx::core::array& a, const mlx::core::array& b, float eps,
                             mlx::core::StreamOrDevice s = {});

// Takes two row-contiguous arrays of one shape and of a floating dtype.
class Charbonnier : public mlx::core::Primitive {
 public:
  Charbonnier(mlx::core::Stream stream, float eps) : Primitive(stream), eps_(eps) {}

  const char* name() const override { return "Charbonnier"; }

  void eval_cpu(const std::vector<mlx::core::array>& inputs, std::vector<mlx::core::array>& outputs) override;

  std::vector<mlx::core::array> jvp(const std::vector<mlx::core::array>& primals,
                                    const std::vector<mlx::core::array>& tangents,
                                    const std::vector<int>& argnums) override;
  std::vector<mlx::core::array> vjp(const std::vector<mlx::core::array>& primals,
                                    const std::vector<mlx::core::array>& cotangents,
                                    const std::vector<int>& argnums,
                                    const std::vector<mlx::core::array>& outputs) override;
  std::pair<std::vector<mlx::core::array>, std::vector<int>> vmap(const std::vector<mlx::core::array>& inputs,
                                                                  const std::vector<int>& axes) override;

  // compile merges equal nodes; shapeless compile asks for the shapes.
  bool is_equivalent(const Primitive& other) const override;
  std::vector<mlx::core::Shape> output_shapes(const std::vector<mlx::core::array>& inputs) override;

 private:
  float eps_;
};

}  // namespace examples
