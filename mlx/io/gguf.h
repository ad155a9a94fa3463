// The GGUF format: numbers that stand in files, and the node that takes blocks of quantized elements apart.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "mlx/ops/rules.h"

namespace mlx::core {
namespace io {

// How a kind of tensor becomes arrays.
enum class GgufUse : uint8_t {
  plain,     // elements of `dtype`
  affine,    // packed codes of `bits` bits, scales and biases: affine quantization in groups of 32
  expanded,  // float16 elements
  refused,
};

// A kind of tensor: blocks of `elements` elements in `bytes` bytes each.
struct GgufKind {
  uint32_t number;
  std::string_view name;
  int elements = 1, bytes = 1;
  GgufUse use = GgufUse::refused;
  Dtype dtype = float16;
  int bits = 0;
};

// Q8_1, Q8_K and Q1_0 do not occur in files of models; the refused IQ kinds are defined by large tables.
inline constexpr GgufKind kGgufKinds[] = {
    {0, "F32", 1, 4, GgufUse::plain, float32},
    {1, "F16", 1, 2, GgufUse::plain, float16},
    {2, "Q4_0", 32, 18, GgufUse::affine, float16, 4},
    {3, "Q4_1", 32, 20, GgufUse::affine, float16, 4},
    {6, "Q5_0", 32, 22, GgufUse::expanded},
    {7, "Q5_1", 32, 24, GgufUse::expanded},
    {8, "Q8_0", 32, 34, GgufUse::affine, float16, 8},
    {9, "Q8_1"},
    {10, "Q2_K", 256, 84, GgufUse::expanded},
    {11, "Q3_K", 256, 110, GgufUse::expanded},
    {12, "Q4_K", 256, 144, GgufUse::expanded},
    {13, "Q5_K", 256, 176, GgufUse::expanded},
    {14, "Q6_K", 256, 210, GgufUse::expanded},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {20, "IQ4_NL", 32, 18, GgufUse::expanded},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {23, "IQ4_XS", 256, 136, GgufUse::expanded},
    {24, "I8", 1, 1, GgufUse::plain, int8},
    {25, "I16", 1, 2, GgufUse::plain, int16},
    {26, "I32", 1, 4, GgufUse::plain, int32},
    {27, "I64", 1, 8, GgufUse::plain, int64},
    {28, "F64", 1, 8, GgufUse::plain, float64},
    {29, "IQ1_M"},
    {30, "BF16", 1, 2, GgufUse::plain, bfloat16},
    {34, "TQ1_0", 256, 54, GgufUse::expanded},
    {35, "TQ2_0", 256, 66, GgufUse::expanded},
    {39, "MXFP4", 32, 17, GgufUse::expanded},
    {40, "NVFP4", 64, 36, GgufUse::expanded},
    {41, "Q1_0"},
};

// Types of metadata. A value of type `array` is a type, a count, and elements of that type.
enum class GgufValue : uint32_t { string = 8, array = 9 };
struct GgufNumber {
  uint32_t number;
  Dtype dtype;
};
inline constexpr GgufNumber kGgufNumbers[] = {
    {0, uint8},   {1, int8},  {2, uint16},  {3, int16},  {4, uint32},   {5, int32},
    {6, float32}, {7, bool_}, {10, uint64}, {11, int64}, {12, float64},
};

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr std::string_view kGgufAlignment = "general.alignment";
inline constexpr uint64_t kGgufDefaultAlignment = 32;
inline constexpr uint32_t kGgufVersion = 3;
inline constexpr size_t kGgufMaxDims = 8;

}  // namespace io

// Blocks as they stand in a file, uint8 of shape (blocks, bytes), become what the kind's use says: codes in
// words, scales and biases, or float16 elements.
class UnpackBlocks final : public Primitive {
 public:
  UnpackBlocks(Stream s, const io::GgufKind& kind, std::vector<Shape> shapes)
      : Primitive(s), kind(kind), shapes(std::move(shapes)) {}
  const io::GgufKind& kind;  // of kGgufKinds
  const std::vector<Shape> shapes;
  const char* name() const override { return "unpack_blocks"; }
  bool is_equivalent(const Primitive& other) const override;
  std::vector<Shape> output_shapes(const Arrays&) override { return shapes; }
};

}  // namespace mlx::core
