// What a row of the element-wise table consists of. A row is a struct without state:
//
//   name, arity, accepts, result, promotes_to_float, max_ulp, msl       what it is (OpInfo is made of these)
//   tangent(t, x, y), tangent0(t, a, b, y), tangent1 ...                its derivative, as a formula
//
// Derivatives are templates over the array type and find its functions (`exp`, `select`, `like`, operators
// ...) by argument-dependent lookup when they are instantiated, so that no row knows about arrays. `tangent`
// is linear in t: it serves jvp directly and vjp as conj(tangent(conj(g))). That identity needs a
// complex-differentiable function; a row that is none says `holomorphic = false` and brings `vjp(g, x, y)`.
// `like(x, c)` is the constant c in x's dtype and `like(x, re, im)` a complex one (the imaginary part is
// dropped for real dtypes).
//
// What the rows compute per element is in mlx/cpu/isa/values_*.h, where it is compiled once per instruction
// set.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "mlx/dtype.h"

namespace mlx::core::elementwise {

// Dtypes as a set of bits, one per Dtype::Val.
using DtypeSet = uint16_t;
constexpr DtypeSet bit(Dtype::Val v) { return static_cast<DtypeSet>(1u << static_cast<int>(v)); }
constexpr DtypeSet set_of(std::initializer_list<Dtype::Val> values) {
  DtypeSet set = 0;
  for (Dtype::Val v : values) set |= bit(v);
  return set;
}
constexpr bool contains(DtypeSet set, Dtype::Val v) { return (set & bit(v)) != 0; }

inline constexpr DtypeSet booleans = bit(Dtype::Val::bool_);
inline constexpr DtypeSet unsigned_integers =
    set_of({Dtype::Val::uint8, Dtype::Val::uint16, Dtype::Val::uint32, Dtype::Val::uint64});
inline constexpr DtypeSet signed_integers =
    set_of({Dtype::Val::int8, Dtype::Val::int16, Dtype::Val::int32, Dtype::Val::int64});
inline constexpr DtypeSet integers = unsigned_integers | signed_integers;
inline constexpr DtypeSet floats =
    set_of({Dtype::Val::float16, Dtype::Val::bfloat16, Dtype::Val::float32, Dtype::Val::float64});
inline constexpr DtypeSet complexes = bit(Dtype::Val::complex64);
inline constexpr DtypeSet inexacts = floats | complexes;
inline constexpr DtypeSet bits = integers | booleans;     // what bitwise operations take
inline constexpr DtypeSet reals = bits | floats;          // all but complex
inline constexpr DtypeSet numbers = integers | inexacts;  // all but bool
inline constexpr DtypeSet everything = numbers | booleans;

// The dtype of the result, given the (common) dtype of the value operands.
enum class Out : uint8_t {
  same,
  boolean,
  real,  // float32 for complex64, else the same
};

struct RowBase {
  static constexpr Out result = Out::same;
  static constexpr bool promotes_to_float =
      false;  // integers and bool are cast to float32 before the function
  static constexpr bool commutative = false;
  static constexpr bool flat = false;  // the derivative is zero everywhere: there is no formula
  static constexpr bool flat_on_reals =
      false;  // the formula is for complex operands, real ones have derivative zero
  static constexpr uint8_t flat_operands =
      0;  // bit i: the derivative by operand i is zero and has no formula
  static constexpr bool holomorphic = true;
  static constexpr double max_ulp =
      0.5;  // bound of the float32 error over all inputs; 0.5 is correct rounding
};

template <int N>
struct Row : RowBase {
  static constexpr int arity = N;
};
// A function of real numbers with float results, such as erf.
template <int N>
struct FloatRow : Row<N> {
  static constexpr DtypeSet accepts = floats;
  static constexpr bool promotes_to_float = true;
};
// Likewise with a continuation to complex numbers, such as exp.
template <int N>
struct InexactRow : FloatRow<N> {
  static constexpr DtypeSet accepts = inexacts;
};
// A question about the values: bool result, no derivative.
template <int N>
struct Predicate : Row<N> {
  static constexpr DtypeSet accepts = everything;
  static constexpr Out result = Out::boolean;
  static constexpr bool flat = true;
};

// One row as data, for code that handles operations by opcode.
struct OpInfo {
  std::string_view name;
  int arity;
  DtypeSet accepts;  // dtypes of the value operands (for select: of its second and third)
  Out result;
  bool promotes_to_float;
  bool commutative;
  bool flat;
  bool flat_on_reals;
  uint8_t flat_operands;
  bool holomorphic;
  double max_ulp;
  std::string_view msl;  // an expression of x, y, z with the functions of metal/kernels/vmath.h

  constexpr Dtype result_dtype(Dtype operand) const {
    if (result == Out::boolean) return bool_;
    return result == Out::real && operand.val() == Dtype::Val::complex64 ? float32 : operand;
  }
  constexpr bool flat_in(int operand) const { return flat || ((flat_operands >> operand) & 1) != 0; }
};

template <class R>
constexpr OpInfo info_of() {
  return {R::name, R::arity,         R::accepts,       R::result,      R::promotes_to_float, R::commutative,
          R::flat, R::flat_on_reals, R::flat_operands, R::holomorphic, R::max_ulp,           R::msl};
}

}  // namespace mlx::core::elementwise
