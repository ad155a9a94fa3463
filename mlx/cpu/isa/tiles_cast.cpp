// Conversions between all dtypes; what they do outside the target's range is said in tiles.h.
#include "mlx/cpu/isa/tile_loops.h"

namespace mlx::core::cpu::MLX_ISA {

// --- real to integer ---

inline int32_t to_int32(float x) {
  const float c = at_least(x, -0x1p31f);
  const int32_t y = static_cast<int32_t>(c < 0x1p31f ? c : 0.0f);
  const int32_t high = x >= 0x1p31f ? INT32_MAX : y;
  return x != x ? 0 : high;
}
inline int32_t to_int32(double x) {
  const double c = at_most(at_least(x, -0x1p31), 0x1p31 - 1);
  return static_cast<int32_t>(c != c ? 0.0 : c);
}
inline uint32_t to_uint32(float x) {
  // Halves of the range: no set before AVX-512 converts to unsigned.
  const bool high = x >= 0x1p31f;
  const uint32_t y = static_cast<uint32_t>(to_int32(high ? x - 0x1p31f : x));
  const uint32_t r = high ? y + 0x80000000u : y;
  return x >= 0x1p32f ? UINT32_MAX : r;
}
inline uint32_t to_uint32(double x) {
  const bool high = x >= 0x1p31;
  const uint32_t y = static_cast<uint32_t>(to_int32(high ? x - 0x1p31 : x));
  const uint32_t r = high ? y + 0x80000000u : y;
  return x >= 0x1p32 ? UINT32_MAX : r;
}
inline int64_t to_int64(double x) {
  const double c = at_least(x, -0x1p63);
  const int64_t y = static_cast<int64_t>(c < 0x1p63 ? c : 0.0);
  const int64_t high = x >= 0x1p63 ? INT64_MAX : y;
  return x != x ? 0 : high;
}
inline uint64_t to_uint64(double x) {
  const bool high = x >= 0x1p63;
  const uint64_t y = static_cast<uint64_t>(to_int64(high ? x - 0x1p63 : x));
  const uint64_t r = high ? y + uint64_t{0x8000000000000000} : y;
  return x >= 0x1p64 ? UINT64_MAX : r;
}

template <Int To, Real From>
To real_to_integer(From x) {
  if constexpr (__is_same(To, uint64_t))
    return to_uint64(x);
  else if constexpr (__is_same(To, int64_t))
    return to_int64(x);
  else if constexpr (__is_same(To, uint32_t))
    return to_uint32(x);
  else
    return static_cast<To>(to_int32(x));
}

// --- every pair but the half types, which go through float32 ---

template <class To, class From>
To converted(From x) {
  if constexpr (__is_same(To, From))
    return x;
  else if constexpr (__is_same(From, b8))
    return converted<To>(x.value);
  else if constexpr (__is_same(To, b8) && __is_same(From, c64))
    return stored<b8>(static_cast<bool>((x.re != 0) | (x.im != 0)));
  else if constexpr (__is_same(From, c64))
    return converted<To>(x.re);
  else if constexpr (__is_same(To, b8))
    return stored<b8>(x != 0);
  else if constexpr (__is_same(To, c64))
    return {static_cast<float>(x), 0.0f};
  else if constexpr (Int<To> && Real<From>)
    return real_to_integer<To>(x);
  else
    return static_cast<To>(x);
}

template <class To, int64_t Lanes, class From>
MLX_OUTLINED void convert_vectors(To* out, const From* in, int64_t n) {
  n &= -Lanes;
  MLX_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) out[i] = converted<To>(in[i]);
}
template <class To, class From>
void convert(To* out, const From* in, int64_t n) {
  constexpr int64_t L = lanes<To, From>();
  const int64_t whole = n & -L;
  if (whole != 0) convert_vectors<To, L>(out, in, whole);
  if (whole == n) return;
  alignas(64) To rest[L];
  convert_vectors<To, L>(rest, Padded<From, L>(in + whole, n - whole).item, L);
  __builtin_memcpy(static_cast<void*>(out + whole), rest, static_cast<size_t>(n - whole) * sizeof(To));
}

// Not inlined into the casts that go through float32: those are fifty pairs.
template <class From, class To>
MLX_OUTLINED void cast_tile(void* out, const void* in, int64_t n) {
  constexpr int64_t piece = 512;
  To* y = static_cast<To*>(out);
  const From* x = static_cast<const From*>(in);
  if constexpr (__is_same(From, To)) {
    if (out != in) __builtin_memcpy(out, in, static_cast<size_t>(n) * sizeof(To));
  } else if constexpr (Half<From> && __is_same(To, float)) {
    widen(x, y, n);
  } else if constexpr (Half<To> && __is_same(From, float)) {
    narrow(x, y, n);
  } else if constexpr (Half<From> || Half<To>) {
    alignas(64) float buffer[piece];
    for (int64_t i = 0; i < n; i += piece) {
      const int64_t m = n - i < piece ? n - i : piece;
      cast_tile<From, float>(buffer, x + i, m);
      cast_tile<float, To>(y + i, buffer, m);
    }
  } else {
    convert(y, x, n);
  }
}

template <class... T>
struct Types {};
using AllTypes = Types<b8, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, f16,
                       float, double, bf16, c64>;

template <class From, class... To>
void enter_casts_from(Tiles& tiles, Types<To...>) {
  ((tiles.cast[static_cast<int>(val_of<From>)][static_cast<int>(val_of<To>)] = cast_tile<From, To>), ...);
}
template <class... From>
void enter_all_casts(Tiles& tiles, Types<From...> all) {
  (enter_casts_from<From>(tiles, all), ...);
}
void enter_casts(Tiles& tiles) { enter_all_casts(tiles, AllTypes{}); }

}  // namespace mlx::core::cpu::MLX_ISA
