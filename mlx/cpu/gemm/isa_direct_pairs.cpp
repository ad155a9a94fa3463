// The direct kernels (direct.h) for pairs of bfloat16.
#if MLX_ISA_LEVEL >= 5
#include "mlx/cpu/gemm/direct_tiles.h"
#else
#include "mlx/cpu/gemm/direct.h"
#endif

namespace mlx::core::cpu::MLX_ISA {

#if MLX_ISA_LEVEL >= 5
namespace {

constexpr int kPairs = 16;  // in a vector

MLX_INLINE __m512i wide(const uint16_t* p, __mmask16 some) {
  return p ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, p)) : _mm512_setzero_si512();
}

void join(const void* first, const void* second, int64_t from_stride, int64_t steps, int64_t len, void* to,
          int64_t to_stride) {
  const auto *a = static_cast<const uint16_t*>(first), *b = static_cast<const uint16_t*>(second);
  auto* out = static_cast<uint32_t*>(to);
  for (int64_t k = 0; k < steps; ++k, out += to_stride) {
    for (int64_t i = 0; i < len; i += kPairs) {
      const auto some = static_cast<__mmask16>(len - i < kPairs ? (1u << (len - i)) - 1 : 0xffffu);
      const __m512i low = wide(a ? a + i : nullptr, some), high = wide(b ? b + i : nullptr, some);
      _mm512_mask_storeu_epi32(out + i, some, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
    if (a) a += from_stride;
    if (b) b += from_stride;
  }
}

}  // namespace
#endif

const gemm_detail::DirectPairTable& direct_pair_kernels_table() {
#if MLX_ISA_LEVEL >= 5
  static constexpr gemm_detail::DirectPairTable table = {any_patches<Bf16PairProduct>,
                                                         any_turned<Bf16PairProduct>, join};
#else
  static constexpr gemm_detail::DirectPairTable table = {};
#endif
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA
