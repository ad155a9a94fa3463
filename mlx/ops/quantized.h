// The primitives of quantized matrices, and the checks that their functions share.
#pragma once

#include <optional>
#include <string>

#include "mlx/ops/rules.h"
#include "mlx/primitives.h"
#include "mlx/quantized_layout.h"

namespace mlx::core {

constexpr QuantizationMode last_of(QuantizationMode) { return QuantizationMode::nvfp4; }
inline auto fields_of(const QuantizedLayout& l) { return std::tie(l.mode, l.group_size, l.bits); }

// The layout that the arguments of a function name; ValueError where there is no such one.
QuantizedLayout checked_layout(std::string_view op, std::optional<int> group_size, std::optional<int> bits,
                               const std::string& mode);
// The columns of a matrix given in words; checks dtypes and shapes of words, scales and biases.
int64_t checked_columns(std::string_view op, const QuantizedLayout& layout, const array& w,
                        const array& scales, const std::optional<array>& biases);
void check_global_scale(std::string_view op, const QuantizedLayout& layout,
                        const std::optional<array>& global_scale);

// What a product with a quantized matrix is returned in.
Dtype quantized_product_dtype(std::string_view op, const QuantizedLayout& layout, const array& x,
                              const array& scales, const std::optional<array>& biases);

// Base of the primitives with a layout.
class Quantized : public Primitive {
 public:
  Quantized(Stream s, QuantizedLayout layout) : Primitive(s), layout(layout) {}
  const QuantizedLayout layout;
};

// w (and a global scale) to words, scales and, if affine, biases.
class Quantize final : public Quantized {
 public:
  using Quantized::Quantized;
  const char* name() const override { return "Quantize"; }
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(layout); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

// Words, scales and biases (affine) or a global scale (some nvfp4) to floats of one of three dtypes.
class Dequantize final : public Quantized {
 public:
  Dequantize(Stream s, QuantizedLayout layout, Dtype dtype) : Quantized(s, layout), dtype(dtype) {}
  const Dtype dtype;
  const char* name() const override { return "Dequantize"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(layout, dtype); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

class ToFp8 final : public Primitive {
 public:
  explicit ToFp8(Stream s) : Primitive(s) {}
  const char* name() const override { return "ToFP8"; }
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

class FromFp8 final : public Primitive {
 public:
  FromFp8(Stream s, Dtype dtype) : Primitive(s), dtype(dtype) {}
  const Dtype dtype;
  const char* name() const override { return "FromFP8"; }
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(dtype); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// x as quantizing and dequantizing leave it. Gradients pass as if nothing had been rounded.
class QuantizedRounding final : public Quantized {
 public:
  using Quantized::Quantized;
  const char* name() const override { return "QuantizedRounding"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(layout); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override { return {inputs[0].shape()}; }
};

// x (..., M, K) times a quantized matrix; leading dimensions broadcast in the kernel. Inputs x, w, scales
// and, if affine, biases. `transpose`: the matrix is (..., N, K), else (..., K, N).
class QuantizedMatmul final : public Quantized {
 public:
  QuantizedMatmul(Stream s, QuantizedLayout layout, bool transpose)
      : Quantized(s, layout), transpose(transpose) {}
  const bool transpose;
  const char* name() const override { return "QuantizedMatmul"; }
  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& axes) override;
  auto fields() const { return std::tie(layout, transpose); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core
