// Blocks of GGUF files to arrays. Each function below is the definition of one kind: elements from bytes,
// computed in float32.
#include "mlx/io/gguf.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements that one item takes apart
constexpr int kLargestBlock = 256;

using Bytes = const uint8_t*;

float16_t half(Bytes p) { return std::bit_cast<float16_t>(static_cast<uint16_t>(p[0] | p[1] << 8)); }
int low(uint8_t b) { return b & 15; }
int high(uint8_t b) { return b >> 4; }
int bit(Bytes bits, int i) { return bits[i / 8] >> (i % 8) & 1; }

// Half of a block in the low nibbles, half in the high ones.
template <class F>
void nibbles(Bytes b, int half, float* x, F&& value) {
  for (int i = 0; i < half; ++i) {
    x[i] = value(low(b[i]), i);
    x[i + half] = value(high(b[i]), i + half);
  }
}

void q5_0(Bytes b, float* x) {
  const float d = half(b);
  nibbles(b + 6, 16, x, [&](int q, int i) { return d * static_cast<float>((q | bit(b + 2, i) << 4) - 16); });
}
void q5_1(Bytes b, float* x) {
  const float d = half(b), m = half(b + 2);
  nibbles(b + 8, 16, x, [&](int q, int i) { return d * static_cast<float>(q | bit(b + 4, i) << 4) + m; });
}

// Of the kinds with 256 elements: those of the first or second 128 lie in 32 bytes, element i in byte i % 32
// and there in the pair of bits i / 32. Calls value(q, i) for all elements of a group of 16.
template <class F>
void pairs(Bytes qs, int group, float* x, F&& value) {
  const int first = group * 16, shift = first % 128 / 32 * 2;
  const Bytes from = qs + first / 128 * 32 + first % 32;
  for (int i = 0; i < 16; ++i) x[first + i] = value(from[i] >> shift & 3, first + i);
}

void q2_k(Bytes b, float* x) {
  const float d = half(b + 80), m = half(b + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(low(b[group])), min = m * static_cast<float>(high(b[group]));
    pairs(b + 16, group, x, [&](int q, int) { return scale * static_cast<float>(q) - min; });
  }
}
void q3_k(Bytes b, float* x) {
  const Bytes scales = b + 96;
  const float d = half(b + 108);
  for (int group = 0; group < 16; ++group) {
    // 6 bits: four in the nibbles of 8 bytes, two in the 4 bytes behind.
    const int six =
        (scales[group % 8] >> (group / 8 * 4) & 15) | (scales[8 + group % 4] >> (group / 4 * 2) & 3) << 4;
    const float scale = d * static_cast<float>(six - 32);
    const Bytes tops = b + group % 2 * 16;  // the third bit, of element i in bit i / 32
    const int shift = group / 2;
    pairs(b + 32, group, x, [&](int q, int i) {
      return scale * static_cast<float>((q | (tops[i % 16] >> shift & 1) << 2) - 4);
    });
  }
}

// Scales and minima of 6 bits for 8 groups in 12 bytes.
struct ScaleAndMin {
  float scale, min;
};
ScaleAndMin scale_and_min(Bytes s, int group) {
  if (group < 4) return {static_cast<float>(s[group] & 63), static_cast<float>(s[group + 4] & 63)};
  return {static_cast<float>(low(s[group + 4]) | s[group - 4] >> 6 << 4),
          static_cast<float>(high(s[group + 4]) | s[group] >> 6 << 4)};
}
void q4_k(Bytes b, float* x) {
  const float d = half(b), m = half(b + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMin s = scale_and_min(b + 4, group);
    const float scale = d * s.scale, min = m * s.min;
    const Bytes qs = b + 16 + group / 2 * 32;
    for (int i = 0; i < 32; ++i)
      x[group * 32 + i] = scale * static_cast<float>(qs[i] >> (group % 2 * 4) & 15) - min;
  }
}
void q5_k(Bytes b, float* x) {
  const float d = half(b), m = half(b + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMin s = scale_and_min(b + 4, group);
    const float scale = d * s.scale, min = m * s.min;
    const Bytes qs = b + 48 + group / 2 * 32, top = b + 16;
    for (int i = 0; i < 32; ++i)
      x[group * 32 + i] =
          scale * static_cast<float>((qs[i] >> (group % 2 * 4) & 15) | (top[i] >> group & 1) << 4) - min;
  }
}
void q6_k(Bytes b, float* x) {
  const float d = half(b + 208);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + group]));
    const Bytes lows = b + group / 8 * 64 + group % 4 * 16;
    const int shift = group % 8 / 4 * 4;
    pairs(b + 128, group, x, [&](int q, int i) {
      return scale * static_cast<float>(((lows[i % 16] >> shift & 15) | q << 4) - 32);
    });
  }
}

constexpr float kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
void iq4_nl(Bytes b, float* x) {
  const float d = half(b);
  nibbles(b + 2, 16, x, [&](int q, int) { return d * kIq4Values[q]; });
}
void iq4_xs(Bytes b, float* x) {
  const float d = half(b);
  for (int group = 0; group < 8; ++group) {
    const int low_bits = b[4 + group / 2] >> (group % 2 * 4) & 15;
    const int high_bits = b[2 + group / 4] >> (group % 4 * 2) & 3;
    const float scale = d * static_cast<float>((low_bits | high_bits << 4) - 32);
    nibbles(b + 8 + 16 * group, 16, x + 32 * group, [&](int q, int) { return scale * kIq4Values[q]; });
  }
}

// Digits of base 3 that fractions of a byte stand for: the first one is the largest.
void trits(Bytes b, int bytes, int digits, float d, float* x) {
  uint8_t power = 1;
  for (int digit = 0; digit < digits; ++digit, power = static_cast<uint8_t>(power * 3))
    for (int i = 0; i < bytes; ++i)
      x[digit * bytes + i] = d * static_cast<float>((static_cast<uint8_t>(b[i] * power) * 3 >> 8) - 1);
}
void tq1_0(Bytes b, float* x) {
  const float d = half(b + 52);
  trits(b, 32, 5, d, x);
  trits(b + 32, 16, 5, d, x + 160);
  trits(b + 48, 4, 4, d, x + 240);
}
void tq2_0(Bytes b, float* x) {
  const float d = half(b + 64);
  for (int group = 0; group < 16; ++group)
    pairs(b, group, x, [&](int q, int) { return d * static_cast<float>(q - 1); });
}

constexpr float kE2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
void mxfp4(Bytes b, float* x) {
  // One exponent less, as the largest one times 6 is no float32.
  const float d = std::ldexp(1.0f, b[0] - 128);
  nibbles(b + 1, 16, x, [&](int q, int) { return d * (2 * kE2m1[q]); });
}
float e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (bits == 127) return 0;  // the one that is no number; there is no sign
  return exponent ? std::ldexp(static_cast<float>(8 + mantissa), exponent - 10)
                  : std::ldexp(static_cast<float>(mantissa), -9);
}
void nvfp4(Bytes b, float* x) {
  for (int group = 0; group < 4; ++group) {
    const float d = e4m3(b[group]);
    nibbles(b + 4 + 8 * group, 8, x + 16 * group, [&](int q, int) { return d * kE2m1[q]; });
  }
}

using Expand = void (*)(Bytes, float*);
Expand expand_of(std::string_view name) {
  static constexpr std::pair<std::string_view, Expand> rows[] = {
      {"Q5_0", q5_0},   {"Q5_1", q5_1},   {"Q2_K", q2_k},     {"Q3_K", q3_k},     {"Q4_K", q4_k},
      {"Q5_K", q5_k},   {"Q6_K", q6_k},   {"IQ4_NL", iq4_nl}, {"IQ4_XS", iq4_xs}, {"TQ1_0", tq1_0},
      {"TQ2_0", tq2_0}, {"MXFP4", mxfp4}, {"NVFP4", nvfp4},
  };
  for (const auto& [kind, f] : rows)
    if (kind == name) return f;
  throw std::logic_error("[load_gguf] no way to expand " + std::string(name));
}

void expand(const io::GgufKind& kind, const array& blocks, array& out) {
  const Expand f = expand_of(kind.name);
  const Bytes from = blocks.data<uint8_t>();
  float16_t* to = out.data<float16_t>();
  parallel_ranges(blocks.shape(0), kGrain / kind.elements, [&](int64_t begin, int64_t end) {
    float x[kLargestBlock];
    for (int64_t i = begin; i < end; ++i) {
      f(from + i * kind.bytes, x);
      for (int k = 0; k < kind.elements; ++k) to[i * kind.elements + k] = x[k];
    }
  });
}

// Codes of 4 bits: the file has those of the first 16 elements in low nibbles.
void pack4(Bytes qs, uint8_t* codes) {
  for (int k = 0; k < 8; ++k) {
    codes[k] = static_cast<uint8_t>(low(qs[2 * k]) | low(qs[2 * k + 1]) << 4);
    codes[k + 8] = static_cast<uint8_t>(high(qs[2 * k]) | high(qs[2 * k + 1]) << 4);
  }
}

// Signed codes become unsigned ones with a bias, a power of two times the scale: exact where that is finite.
void pack(const io::GgufKind& kind, const array& blocks, Arrays& outputs) {
  const Bytes from = blocks.data<uint8_t>();
  uint8_t* codes = outputs[0].data<uint8_t>();
  float16_t *scales = outputs[1].data<float16_t>(), *biases = outputs[2].data<float16_t>();
  const bool has_min = kind.name == "Q4_1";
  const float zero = kind.bits == 8 ? -128.0f : -8.0f;
  parallel_ranges(blocks.shape(0), kGrain / kind.elements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Bytes b = from + i * kind.bytes;
      scales[i] = half(b);
      biases[i] = has_min ? half(b + 2) : float16_t(zero * half(b));
      if (kind.bits == 4) {
        pack4(b + (has_min ? 4 : 2), codes + 16 * i);
      } else {
        for (int k = 0; k < 32; ++k) codes[32 * i + k] = b[2 + k] ^ 128;
      }
    }
  });
}

void unpack(const UnpackBlocks& p, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  if (p.kind.use == io::GgufUse::affine) return pack(p.kind, inputs[0], outputs);
  expand(p.kind, inputs[0], outputs[0]);
}

const bool registered = kernels(Device::cpu).add<UnpackBlocks>(unpack);

}  // namespace
}  // namespace mlx::core::cpu
