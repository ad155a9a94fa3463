// What the row-kernel tests share: random data of every dtype with its value as double, failures that name
// the case.
#pragma once

#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "mlx/cpu/isa.h"
#include "mlx/dtype.h"

namespace rows_test {

using namespace mlx::core;
using cpu::Isa;

inline int failures = 0;
inline int checks = 0;

inline void check(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  if (++failures <= 20) std::fprintf(stderr, "FAILED %s\n", what.c_str());
}
inline int report(const char* name) {
  std::printf("%s: %d checks, %d failures\n", name, checks, failures);
  return failures || !checks ? 1 : 0;
}

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
#ifdef MLX_X86
  for (Isa isa : {Isa::v2, Isa::v3, Isa::v4, Isa::v4bf16, Isa::v4amx})
    if (cpu::isa_supported(isa)) all.push_back(isa);
#else
  all.push_back(Isa::generic);
#endif
  return all;
}

inline constexpr int kSizes[kDtypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2, 8};
inline constexpr const char* kNames[kDtypes] = {"bool",    "uint8",   "uint16",   "uint32",   "uint64",
                                                "int8",    "int16",   "int32",    "int64",    "float16",
                                                "float32", "float64", "bfloat16", "complex64"};
inline bool is_float(int dtype) { return dtype >= 9 && dtype <= 12; }

using Value = std::complex<double>;

inline Value value_at(int dtype, const void* data, int64_t i) {
  const auto as = [&]<class T>(T) { return Value(static_cast<double>(static_cast<const T*>(data)[i])); };
  switch (dtype) {
    case 0:
      return as(uint8_t{});
    case 1:
      return as(uint8_t{});
    case 2:
      return as(uint16_t{});
    case 3:
      return as(uint32_t{});
    case 4:
      return as(uint64_t{});
    case 5:
      return as(int8_t{});
    case 6:
      return as(int16_t{});
    case 7:
      return as(int32_t{});
    case 8:
      return as(int64_t{});
    case 9:
      return Value(static_cast<float>(static_cast<const float16_t*>(data)[i]));
    case 10:
      return as(float{});
    case 11:
      return as(double{});
    case 12:
      return Value(static_cast<float>(static_cast<const bfloat16_t*>(data)[i]));
    default: {
      const auto& z = static_cast<const complex64_t*>(data)[i];
      return Value(z.real(), z.imag());
    }
  }
}
inline void set_at(int dtype, void* data, int64_t i, Value v) {
  const auto as = [&]<class T>(T) { static_cast<T*>(data)[i] = static_cast<T>(v.real()); };
  switch (dtype) {
    case 0:
      static_cast<uint8_t*>(data)[i] = v.real() != 0;
      break;
    case 1:
      as(uint8_t{});
      break;
    case 2:
      as(uint16_t{});
      break;
    case 3:
      as(uint32_t{});
      break;
    case 4:
      as(uint64_t{});
      break;
    case 5:
      as(int8_t{});
      break;
    case 6:
      as(int16_t{});
      break;
    case 7:
      as(int32_t{});
      break;
    case 8:
      as(int64_t{});
      break;
    case 9:
      static_cast<float16_t*>(data)[i] = float16_t(static_cast<float>(v.real()));
      break;
    case 10:
      as(float{});
      break;
    case 11:
      as(double{});
      break;
    case 12:
      static_cast<bfloat16_t*>(data)[i] = bfloat16_t(static_cast<float>(v.real()));
      break;
    default:
      static_cast<complex64_t*>(data)[i] =
          complex64_t(static_cast<float>(v.real()), static_cast<float>(v.imag()));
  }
}

// Small whole numbers and quarters: exact in every dtype, so that references are too.
struct Data {
  Data(int dtype, int64_t n, int seed, double spread = 3)
      : dtype(dtype), n(n), bytes(n * kSizes[dtype] + 64) {
    std::mt19937 rng(seed * 7919 + dtype);
    std::normal_distribution<double> normal(0, spread);
    for (int64_t i = 0; i < n; ++i) {
      double re = normal(rng), im = normal(rng);
      if (!is_float(dtype) && dtype != 13) re = std::round(std::abs(re)) * (dtype >= 5 && re < 0 ? -1 : 1);
      if (dtype == 0) re = re > 2;
      set_at(dtype, data(), i, {re, im});
    }
  }
  void* data() { return bytes.data(); }
  const void* data() const { return bytes.data(); }
  Value operator[](int64_t i) const { return value_at(dtype, data(), i); }
  void set(int64_t i, Value v) { set_at(dtype, data(), i, v); }
  const char* at(int64_t i) const { return bytes.data() + i * kSizes[dtype]; }
  int dtype;
  int64_t n;
  std::vector<char> bytes;
};

// Half a unit in the last place of the stored type, relative, with some room for the computation.
inline double epsilon(int dtype) {
  return dtype == 9 ? 0x1p-11 : dtype == 12 ? 0x1p-8 : dtype == 11 ? 0x1p-50 : 0x1p-22;
}
inline bool close(double got, double want, double tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return got == want;
  return std::abs(got - want) <= tolerance;
}
inline std::string label(const char* what, Isa isa, int dtype, int64_t a = -1, int64_t b = -1) {
  return std::string(what) + " " + cpu::isa_name(isa) + " " + kNames[dtype] + " " + std::to_string(a) + " " +
         std::to_string(b);
}

}  // namespace rows_test
