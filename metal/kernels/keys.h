// Unsigned integers that are ordered as values are: nan behind everything, complex numbers by their real
// parts first.
#pragma once
#include "metal/kernels/types.h"

// Of bits whose highest one says that the number is negative; what lies above `infinity` is no number.
template <class K>
METAL_FUNC K ordered(K bits, K sign, K infinity, bool merges_zeros) {
  const K magnitude = bits & (sign - 1);
  if (magnitude > infinity) return sign | (sign - 1);
  if (merges_zeros && magnitude == 0) return sign;
  return bits & sign ? ~bits & (sign | (sign - 1)) : bits | sign;
}
template <class K>
METAL_FUNC K disordered(K key, K sign) {
  return key & sign ? key ^ sign : ~key & (sign | (sign - 1));
}

// `type` is what threads compute with, `stored` what lies in memory between two passes. Whether -0 is 0: as
// `merges_zeros` says.
template <class T, class Unsigned>
struct IntegerKey {
  typedef Unsigned stored;
  static METAL_FUNC bool is_nan(ulong) { return false; }
  static METAL_FUNC Unsigned sign() {
    const bool has_sign = static_cast<T>(-1) < static_cast<T>(0);
    return has_sign ? static_cast<Unsigned>(static_cast<Unsigned>(1) << (8 * sizeof(T) - 1))
                    : static_cast<Unsigned>(0);
  }
  static METAL_FUNC Unsigned of(T x, bool) {
    return static_cast<Unsigned>(static_cast<Unsigned>(x) ^ sign());
  }
  static METAL_FUNC T value(Unsigned key) { return static_cast<T>(static_cast<Unsigned>(key ^ sign())); }
};
template <class T>
struct Key {};
template <>
struct Key<bool> : IntegerKey<bool, uint8_t> {
  typedef uint type;
  static METAL_FUNC uint of(bool x, bool) { return x ? 1 : 0; }
  static METAL_FUNC bool value(uint key) { return key != 0; }
};
template <>
struct Key<uint8_t> : IntegerKey<uint8_t, uint8_t> {
  typedef uint type;
};
template <>
struct Key<int8_t> : IntegerKey<int8_t, uint8_t> {
  typedef uint type;
};
template <>
struct Key<uint16_t> : IntegerKey<uint16_t, uint16_t> {
  typedef uint type;
};
template <>
struct Key<int16_t> : IntegerKey<int16_t, uint16_t> {
  typedef uint type;
};
template <>
struct Key<uint> : IntegerKey<uint, uint> {
  typedef uint type;
};
template <>
struct Key<int> : IntegerKey<int, uint> {
  typedef uint type;
};
template <>
struct Key<ulong> : IntegerKey<ulong, ulong> {
  typedef ulong type;
};
template <>
struct Key<long> : IntegerKey<long, ulong> {
  typedef ulong type;
};
template <>
struct Key<float> {
  typedef uint type;
  typedef uint stored;
  static METAL_FUNC bool is_nan(uint key) { return key == 0xffffffffu; }
  static METAL_FUNC uint of(float x, bool merges_zeros) {
    return ordered<uint>(as_type<uint>(x), 0x80000000u, 0x7f800000u, merges_zeros);
  }
  static METAL_FUNC float value(uint key) { return as_type<float>(disordered<uint>(key, 0x80000000u)); }
};
template <class T, uint infinity>
struct HalfKey {
  typedef uint type;
  typedef uint16_t stored;
  static METAL_FUNC bool is_nan(uint key) { return key == 0xffffu; }
  static METAL_FUNC uint of(T x, bool merges_zeros) {
    return ordered<uint>(as_type<uint16_t>(x), 0x8000u, infinity, merges_zeros);
  }
  static METAL_FUNC T value(uint key) {
    return as_type<T>(static_cast<uint16_t>(disordered<uint>(key, 0x8000u)));
  }
};
template <>
struct Key<half> : HalfKey<half, 0x7c00u> {};
template <>
struct Key<bfloat> : HalfKey<bfloat, 0x7f80u> {};
// Zeros are always one: the value cannot be found again.
template <>
struct Key<complex64_t> {
  typedef ulong type;
  typedef ulong stored;
  static METAL_FUNC bool is_nan(ulong key) { return key == ~static_cast<ulong>(0); }
  static METAL_FUNC ulong of(complex64_t x, bool) {
    if (x.re != x.re || x.im != x.im) return ~static_cast<ulong>(0);
    return static_cast<ulong>(Key<float>::of(x.re, true)) << 32 | Key<float>::of(x.im, true);
  }
  static METAL_FUNC complex64_t value(ulong) { return {0, 0}; }
};
