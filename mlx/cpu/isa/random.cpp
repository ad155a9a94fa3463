#include "mlx/cpu/isa/random.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

template <int r>
inline uint32_t rotate(uint32_t x) {
  return (x << r) | (x >> (32 - r));
}

template <int r>
inline void round(uint32_t& a, uint32_t& b) {
  a += b;
  b = rotate<r>(b) ^ a;
}

void threefry(uint32_t key0, uint32_t key1, uint32_t begin, uint32_t distance, uint32_t* __restrict first,
              uint32_t* __restrict second, int64_t n) {
  const uint32_t key2 = key0 ^ key1 ^ 0x1bd11bdau;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t a = begin + static_cast<uint32_t>(i) + key0;
    uint32_t b = begin + static_cast<uint32_t>(i) + distance + key1;
    const auto even = [&] { round<13>(a, b), round<15>(a, b), round<26>(a, b), round<6>(a, b); };
    const auto odd = [&] { round<17>(a, b), round<29>(a, b), round<16>(a, b), round<24>(a, b); };
    even(), a += key1, b += key2 + 1;
    odd(), a += key2, b += key0 + 2;
    even(), a += key0, b += key1 + 3;
    odd(), a += key1, b += key2 + 4;
    even(), a += key2, b += key0 + 5;
    first[i] = a;
    second[i] = b;
  }
}

}  // namespace

const RandomTable& random_table() {
  static constexpr RandomTable table{threefry};
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
