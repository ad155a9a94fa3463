// Dot products of bfloat16 with rows of quantized matrices: codes are exact in bfloat16, and vdpbf16ps adds
// the products of pairs to float32 sums, two where the other kernels have one.
#include "mlx/cpu/gemm/quantized_dot.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace gemm_detail;

#if MLX_ISA_LEVEL >= 5

// The permutation reads the low five bits of its index, so codes of fewer bits stand in it more than once.
template <Code C>
struct PairTable {
  alignas(64) uint16_t value[32] = {};
  constexpr PairTable() {
    for (int i = 0; i < 32; ++i)
      value[i] = static_cast<uint16_t>(__builtin_bit_cast(uint32_t, value_table<C>.value[i % 16]) >> 16);
  }
};
template <Code C>
inline constexpr PairTable<C> pair_table{};

template <Code C>
struct PairBlocks {
  using X = uint16_t;
  static constexpr int kShifts = 16 / code_bits(C), kStep = 32;
  MLX_INLINE static __m512i table() { return _mm512_load_si512(pair_table<C>.value); }
  MLX_INLINE static __m512i value(vu words, int shift, __m512i table) {
    const __m512i codes =
        _mm512_srli_epi16(reinterpret_cast<__m512i>(words), static_cast<unsigned>(shift * code_bits(C)));
    return _mm512_permutexvar_epi16(codes, table);
  }
  MLX_INLINE static __m512i load_x(const uint16_t* x) { return _mm512_loadu_si512(x); }
  MLX_INLINE static vf multiply_add(__m512i value, __m512i x, vf sum) {
#if defined(__clang__) && __clang_major__ < 17
    // as in kernel_tile.h
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(value));
    return sum;
#else
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(value));
#endif
  }
};

template <Code C>
void shuffle_pairs(const void* source, int64_t k, void* output) {
  constexpr int shifts = PairBlocks<C>::kShifts, block = kBlockColumns<C>;
  const uint16_t* x = static_cast<const uint16_t*>(source);
  uint16_t* out = static_cast<uint16_t*>(output);
  for (int64_t j = 0; j + block <= k; j += block)
    for (int i = 0; i < shifts; ++i)
      for (int l = 0; l < 32; ++l) out[j + i * 32 + l] = x[j + l * shifts + i];
}

template <Code C>
constexpr void add_code(QuantizedPairsTable& t) {
  if constexpr (kByShifts<C>) {
    add_dots<PairBlocks<C>, C>(t.dot[C], AllDots{});
    t.shuffle[C] = shuffle_pairs<C>;
  }
}
template <int... C>
constexpr QuantizedPairsTable make_table(std::integer_sequence<int, C...>) {
  QuantizedPairsTable t{};
  (add_code<static_cast<Code>(C)>(t), ...);
  return t;
}

#else

template <class Codes>
constexpr QuantizedPairsTable make_table(Codes) {
  return {};
}

#endif

}  // namespace

const QuantizedPairsTable& quantized_pairs_kernels_table() {
  static constexpr QuantizedPairsTable table = make_table(std::make_integer_sequence<int, kCodes>{});
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
