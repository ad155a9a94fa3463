// How quantized matrices lie in memory: what quantize() writes, what quantized products, other backends and
// the readers of model files rely on.
//
// A matrix of `rows` by `columns` is quantized along its last axis, in groups of `group_size` columns.
//
//   w       uint32, (..., rows, columns * bits / 32). The codes of a row are one little-endian stream of
//           bits: column j occupies bits [j * bits, (j + 1) * bits), bit 0 is the lowest bit of the first
//           word. A code may lie across two words (3, 5 and 6 bits), but 32 codes fill `bits` words exactly.
//   scales  (..., rows, columns / group_size), one for each group.
//   biases  as scales; affine only.
//
//   mode    code                      scale                            value
//   affine  unsigned integer          the dtype of the matrix          code * scale + bias
//   mxfp4   e2m1 float of 4 bits      uint8, e8m0: 2^(scale - 127)     code * scale
//   mxfp8   e4m3 float of 8 bits      uint8, e8m0                      code * scale
//   nvfp4   e2m1 float of 4 bits      uint8, e4m3 float                code * scale (* global / 2688)
//
// e2m1: bit 3 is the sign, the other three name 0, 0.5, 1, 1.5, 2, 3, 4, 6. e4m3: bit 7 is the sign, four
// bits of exponent with a bias of 7, three of mantissa; denormals, no infinities, 0x7f is nan, the largest is
// 448.
#pragma once

#include <cstdint>
#include <string_view>

namespace mlx::core {

enum class QuantizationMode : uint8_t { affine, mxfp4, mxfp8, nvfp4 };

constexpr std::string_view mode_name(QuantizationMode mode) {
  switch (mode) {
    case QuantizationMode::mxfp4:
      return "mxfp4";
    case QuantizationMode::mxfp8:
      return "mxfp8";
    case QuantizationMode::nvfp4:
      return "nvfp4";
    default:
      return "affine";
  }
}

struct QuantizedLayout {
  QuantizationMode mode = QuantizationMode::affine;
  int group_size = 64;
  int bits = 4;

  constexpr bool affine() const { return mode == QuantizationMode::affine; }
  // Words, groups and columns of one row.
  constexpr int64_t words(int64_t columns) const { return columns * bits / 32; }
  constexpr int64_t groups(int64_t columns) const { return columns / group_size; }
  constexpr int64_t columns(int64_t words) const { return words * 32 / bits; }
  constexpr bool operator==(const QuantizedLayout&) const = default;

  // The code of one column: the definition that faster readers are tested against.
  constexpr uint32_t code(const uint32_t* row, int64_t column) const {
    const int64_t bit = column * bits;
    const uint32_t low = row[bit / 32] >> (bit % 32);
    const int64_t read = 32 - bit % 32;
    const uint32_t high = read < bits ? row[bit / 32 + 1] << read : 0;
    return (low | high) & ((1u << bits) - 1);
  }
};

// Group size and bits that a mode has where the caller names none.
constexpr QuantizedLayout default_layout(QuantizationMode mode) {
  switch (mode) {
    case QuantizationMode::mxfp4:
      return {mode, 32, 4};
    case QuantizationMode::mxfp8:
      return {mode, 32, 8};
    case QuantizationMode::nvfp4:
      return {mode, 16, 4};
    default:
      return {mode, 64, 4};
  }
}

inline constexpr int kAffineBits[] = {1, 2, 3, 4, 5, 6, 8};
inline constexpr int kAffineGroups[] = {32, 64, 128};
inline constexpr float kE2m1Values[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
inline constexpr float kE2m1Max = 6.0f, kE4m3Max = 448.0f;

// What readers assume: groups are whole words, so that a row, a group and a run of 32 codes start at a word.
constexpr bool layout_is_sound(const QuantizedLayout& l) {
  return l.group_size * l.bits % 32 == 0 && l.group_size % 16 == 0 && l.words(l.group_size) > 0 &&
         l.columns(l.words(4 * l.group_size)) == 4 * l.group_size;
}
constexpr bool layouts_are_sound() {
  for (const int bits : kAffineBits)
    for (const int group : kAffineGroups)
      if (!layout_is_sound({QuantizationMode::affine, group, bits})) return false;
  return layout_is_sound(default_layout(QuantizationMode::mxfp4)) &&
         layout_is_sound(default_layout(QuantizationMode::mxfp8)) &&
         layout_is_sound(default_layout(QuantizationMode::nvfp4));
}
static_assert(layouts_are_sound());

namespace quantized_layout_checks {
// Bits 0b...: codes 0 1 2 3 4 5 6 7 0 1 2 of 3 bits; the eleventh lies across the first two words.
inline constexpr uint32_t three_bits[] = {0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu};
static_assert(QuantizedLayout{QuantizationMode::affine, 32, 3}.code(three_bits, 1) == 1);
static_assert(QuantizedLayout{QuantizationMode::affine, 32, 3}.code(three_bits, 7) == 7);
static_assert(QuantizedLayout{QuantizationMode::affine, 32, 3}.code(three_bits, 10) == 2);
static_assert(QuantizedLayout{QuantizationMode::affine, 32, 3}.code(three_bits, 31) == 7);
inline constexpr uint32_t four_bits[] = {0x76543210u, 0xFEDCBA98u};
static_assert(QuantizedLayout{QuantizationMode::nvfp4, 16, 4}.code(four_bits, 9) == 9);
static_assert(QuantizedLayout{QuantizationMode::affine, 64, 4}.words(4096) == 512);
static_assert(QuantizedLayout{QuantizationMode::affine, 64, 6}.words(64) == 12);
}  // namespace quantized_layout_checks

}  // namespace mlx::core
