// The transform along one axis, as its kernel sees it.
#pragma once

#include "mlx/ops/rules.h"

namespace mlx::core::fft {

// out[k] = scale sum_j in[j] exp(-+ 2 pi i j k / n) of n complex numbers; or of n reals, with only the first
// n / 2 + 1 of the results; or of those n / 2 + 1 to n reals.
enum class Kind { complex_to_complex, real_to_half, half_to_real };
constexpr Kind last_of(Kind) { return Kind::half_to_real; }

class FFT final : public Primitive {
 public:
  FFT(Stream s, Kind kind, int axis, int n, bool inverse, double scale)
      : Primitive(s), kind(kind), axis(axis), n(n), inverse(inverse), scale(scale) {}
  const Kind kind;
  const int axis, n;
  const bool inverse;  // false of real_to_half, true of half_to_real
  const double scale;

  Arrays vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
             const Arrays& outputs) override;
  Arrays jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) override;
  Batched vmap(const Arrays& inputs, const Axes& at) override;
  const char* name() const override { return "fft"; }
  auto fields() const { return std::tie(kind, axis, n, inverse, scale); }
  std::vector<Shape> output_shapes(const Arrays& inputs) override;
};

}  // namespace mlx::core::fft
