#include "mlx/cpu/gemm/conv_geometry.h"

#include <stdexcept>
#include <string>

namespace mlx::core::cpu::gemm_detail {

Elem conv_elem(Dtype t) {
  switch (t.val()) {
    case Dtype::Val::float32:
      return kF32;
    case Dtype::Val::float64:
      return kF64;
    case Dtype::Val::float16:
      return kF16;
    case Dtype::Val::bfloat16:
      return kBf16;
    default:
      throw std::invalid_argument(std::string("[conv] no kernel for ") + dtype_name(t));
  }
}

std::vector<Phase> phases(const ConvShape& s) {
  // Per dimension: positions p with (p * stride - pad + t * dilation) divisible by the input dilation repeat
  // every input_dilation / gcd(stride, input_dilation).
  Dims period;
  for (size_t i = 0; i < 3; ++i) period[i] = s.input_dilation[i] / std::gcd(s.stride[i], s.input_dilation[i]);
  std::vector<Phase> out;
  Dims first;
  for (first[0] = 0; first[0] < period[0]; ++first[0])
    for (first[1] = 0; first[1] < period[1]; ++first[1])
      for (first[2] = 0; first[2] < period[2]; ++first[2]) {
        Phase p;
        p.first = first;
        p.stride = period;
        bool empty = false;
        for (size_t i = 0; i < 3; ++i) {
          p.size[i] = (s.out[i] - first[i] + period[i] - 1) / period[i];
          p.step[i] = period[i] * s.stride[i] / s.input_dilation[i];
          empty |= p.size[i] <= 0;
        }
        if (empty) continue;
        Dims t;
        for (t[0] = 0; t[0] < s.kernel[0]; ++t[0])
          for (t[1] = 0; t[1] < s.kernel[1]; ++t[1])
            for (t[2] = 0; t[2] < s.kernel[2]; ++t[2]) {
              Tap tap;
              bool lands = true;
              for (size_t i = 0; i < 3; ++i) {
                const int64_t at = first[i] * s.stride[i] - s.pad[i] + t[i] * s.dilation[i];
                lands &= at % s.input_dilation[i] == 0;
                tap.offset[i] = at / s.input_dilation[i];
              }
              if (!lands) continue;
              tap.weight = (t[0] * s.kernel[1] + t[1]) * s.kernel[2] + t[2];
              if (s.flip) tap.weight = product(s.kernel) - 1 - tap.weight;
              p.taps.push_back(tap);
            }
        out.push_back(std::move(p));
      }
  return out;
}

}  // namespace mlx::core::cpu::gemm_detail
