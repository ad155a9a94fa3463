// Element types: what they are called, how large they are, which family they belong to and how they promote.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mlx/types/complex.h"
#include "mlx/types/half_types.h"

namespace mlx::core {

struct Dtype {
  // The order is part of the design: tables of kernels are indexed by it.
  enum class Val : uint8_t {
    bool_,
    uint8,
    uint16,
    uint32,
    uint64,
    int8,
    int16,
    int32,
    int64,
    float16,
    float32,
    float64,
    bfloat16,
    complex64,
  };
  // The letter that NumPy's array interface uses; V (void) stands for bfloat16.
  enum class Kind { b, u, i, f, c, V };
  enum class Category {
    complexfloating,
    floating,
    inexact,
    signedinteger,
    unsignedinteger,
    integer,
    number,
    generic,
  };

  constexpr Dtype(Val val, uint8_t size) : val_(val), size_(size) {}
  constexpr operator Val() const { return val_; }
  constexpr Val val() const { return val_; }
  constexpr uint8_t size() const { return size_; }

 private:
  Val val_;
  uint8_t size_;
};

inline constexpr int kDtypes = 14;

inline constexpr Dtype bool_{Dtype::Val::bool_, 1};
inline constexpr Dtype uint8{Dtype::Val::uint8, 1};
inline constexpr Dtype uint16{Dtype::Val::uint16, 2};
inline constexpr Dtype uint32{Dtype::Val::uint32, 4};
inline constexpr Dtype uint64{Dtype::Val::uint64, 8};
inline constexpr Dtype int8{Dtype::Val::int8, 1};
inline constexpr Dtype int16{Dtype::Val::int16, 2};
inline constexpr Dtype int32{Dtype::Val::int32, 4};
inline constexpr Dtype int64{Dtype::Val::int64, 8};
inline constexpr Dtype float16{Dtype::Val::float16, 2};
inline constexpr Dtype float32{Dtype::Val::float32, 4};
inline constexpr Dtype float64{Dtype::Val::float64, 8};
inline constexpr Dtype bfloat16{Dtype::Val::bfloat16, 2};
inline constexpr Dtype complex64{Dtype::Val::complex64, 8};

inline constexpr Dtype::Category complexfloating = Dtype::Category::complexfloating;
inline constexpr Dtype::Category floating = Dtype::Category::floating;
inline constexpr Dtype::Category inexact = Dtype::Category::inexact;
inline constexpr Dtype::Category signedinteger = Dtype::Category::signedinteger;
inline constexpr Dtype::Category unsignedinteger = Dtype::Category::unsignedinteger;
inline constexpr Dtype::Category integer = Dtype::Category::integer;
inline constexpr Dtype::Category number = Dtype::Category::number;
inline constexpr Dtype::Category generic = Dtype::Category::generic;

// The smallest type that holds the values of both, as the API defines it: a float keeps its width against any
// integer, float16 with bfloat16 gives float32, uint64 with a signed integer gives float32.
Dtype promote_types(const Dtype& t1, const Dtype& t2);
// Itself for floating and complex types, float32 for integers and bool.
constexpr Dtype promote_to_float(const Dtype& t) { return t.val() < Dtype::Val::float16 ? float32 : t; }

Dtype::Kind kindof(const Dtype& t);
inline uint8_t size_of(const Dtype& t) { return t.size(); }

bool issubdtype(const Dtype& a, const Dtype& b);
bool issubdtype(const Dtype::Category& a, const Dtype& b);
bool issubdtype(const Dtype& a, const Dtype::Category& b);
bool issubdtype(const Dtype::Category& a, const Dtype::Category& b);

// "float32", without the namespace.
const char* dtype_name(Dtype t);
// NumPy's array-interface string, as "<f4".
std::string dtype_to_array_protocol(const Dtype& t);
Dtype dtype_from_array_protocol(std::string_view text);

template <class T>
struct TypeToDtype;
#define MLX_TYPE_TO_DTYPE(T, name)                    \
  template <>                                         \
  struct TypeToDtype<T> {                             \
    constexpr operator Dtype() const { return name; } \
  }
MLX_TYPE_TO_DTYPE(bool, bool_);
MLX_TYPE_TO_DTYPE(uint8_t, uint8);
MLX_TYPE_TO_DTYPE(uint16_t, uint16);
MLX_TYPE_TO_DTYPE(uint32_t, uint32);
MLX_TYPE_TO_DTYPE(uint64_t, uint64);
MLX_TYPE_TO_DTYPE(int8_t, int8);
MLX_TYPE_TO_DTYPE(int16_t, int16);
MLX_TYPE_TO_DTYPE(int32_t, int32);
MLX_TYPE_TO_DTYPE(int64_t, int64);
MLX_TYPE_TO_DTYPE(float16_t, float16);
MLX_TYPE_TO_DTYPE(float, float32);
MLX_TYPE_TO_DTYPE(double, float32);  // C++ literals are doubles; arrays of them are float32 unless asked for
MLX_TYPE_TO_DTYPE(bfloat16_t, bfloat16);
MLX_TYPE_TO_DTYPE(complex64_t, complex64);
#undef MLX_TYPE_TO_DTYPE

}  // namespace mlx::core
