// A convolution's weights as the right operand of a product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "mlx/cpu/gemm/conv_geometry.h"
#include "mlx/cpu/gemm/nest.h"

namespace mlx::core::cpu::gemm_detail {

// Columns of B: output channels; along k: (tap, channel) of the phase's taps.
class WeightSource final : public PanelSource {
 public:
  WeightSource(const ConvShape& s, const Phase& phase, const Family& f, Elem e, const void* weight,
               int64_t group)
      : p_(phase),
        f_(f),
        elem_size_(kElemSize[e]),
        pack_(f.pack_b[e]),
        channels_(s.in_channels / s.groups),
        row_(product(s.kernel) * channels_),
        weight_(static_cast<const char*>(weight) + group * (s.out_channels / s.groups) * row_ * elem_size_) {}

  void pack(int64_t r0, int rows, int64_t k0, int64_t kn, void* panel) const override {
    char* to = static_cast<char*>(panel);
    while (kn > 0) {
      size_t tap = static_cast<size_t>(k0 / channels_);
      const int64_t c = k0 % channels_, first = p_.taps[tap].weight * channels_ + c;
      int64_t len = std::min(kn, channels_ - c);
      // Neighbouring taps are neighbours in memory too, unless flipped or left out.
      while (len < kn && p_.taps[tap + 1].weight == p_.taps[tap].weight + 1) {
        len = std::min(kn, len + channels_);
        ++tap;
      }
      pack_(weight_ + (r0 * row_ + first) * elem_size_, row_, 1, rows, len, to);
      to += len / f_.k_unit * f_.nr * f_.packed_size;
      k0 += len;
      kn -= len;
    }
  }

 private:
  const Phase& p_;
  const Family& f_;
  const int64_t elem_size_;
  const PackFn pack_;
  const int64_t channels_, row_;
  const char* weight_;
};

}  // namespace mlx::core::cpu::gemm_detail
