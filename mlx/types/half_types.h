// IEEE binary16 and bfloat16 as storage types: arithmetic goes through float, results are rounded to nearest
// even. Kernels have vector conversions of their own (mlx/cpu/isa); these serve constructors, items and
// scalars.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace mlx::core {

struct bfloat16_t {
  uint16_t bits = 0;
  bfloat16_t() = default;
  template <class T>
    requires(std::is_arithmetic_v<T>)
  bfloat16_t(T value) : bits(from_float(static_cast<float>(value))) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

 private:
  static uint16_t from_float(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40);  // stay a nan
    return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
  }
};

struct float16_t {
  uint16_t bits = 0;
  float16_t() = default;
  template <class T>
    requires(std::is_arithmetic_v<T>)
  float16_t(T value) : bits(from_float(static_cast<float>(value))) {}
  operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    // Scaling by 2^112 rebiases normal and subnormal numbers alike.
    const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
  }

 private:
  static uint16_t from_float(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and above round to infinity
    if (magnitude < 0x38800000u) {  // below 2^-14: the float adder rounds to multiples of 2^-24
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
    }
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13));
  }
};

static_assert(sizeof(bfloat16_t) == 2 && sizeof(float16_t) == 2);

template <class T>
inline constexpr bool is_floating_point_v =
    std::is_floating_point_v<T> || std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>;

}  // namespace mlx::core
