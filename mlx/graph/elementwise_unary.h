// Rows with one operand.
#pragma once

#include "mlx/graph/elementwise_row.h"

namespace mlx::core::elementwise {

inline constexpr double ln2 = 0.693147180559945309417;
inline constexpr double ln10 = 2.302585092994045684018;
inline constexpr double two_over_sqrt_pi = 1.128379167095512573896;
inline constexpr double half_sqrt_pi = 0.886226925452758013649;

// --- arithmetic ---

struct Abs : Row<1> {
  static constexpr std::string_view name = "abs", msl = "abs(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr Out result = Out::real;
  static constexpr bool holomorphic = false;
  // d|x| = Re(conj(x / |x|) t)
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return real(conjugate(sign(x)) * t);
  }
  template <class A>
  static A vjp(const A& g, const A& x, const A&) {
    return g * sign(x);
  }
};
struct Negative : Row<1> {
  static constexpr std::string_view name = "negative", msl = "negate(x)";
  static constexpr DtypeSet accepts = numbers;
  template <class A>
  static A tangent(const A& t, const A&, const A&) {
    return -t;
  }
};
// x / |x| for complex numbers; 0 for 0 and for nan.
struct Sign : Row<1> {
  static constexpr std::string_view name = "sign", msl = "sign(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool flat_on_reals = true, holomorphic = false;
  // Self-adjoint as a real-linear map: the vjp is the same formula.
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return (t - y * real(conjugate(y) * t)) / abs(x);
  }
  template <class A>
  static A vjp(const A& g, const A& x, const A& y) {
    return tangent(g, x, y);
  }
};
struct Square : Row<1> {
  static constexpr std::string_view name = "square", msl = "multiply(x, x)";
  static constexpr DtypeSet accepts = everything;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * x * like(x, 2.0);
  }
};
struct Sqrt : InexactRow<1> {
  static constexpr std::string_view name = "sqrt", msl = "sqrt(x)";
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * like(x, 0.5) / y;
  }
};
struct Rsqrt : InexactRow<1> {
  static constexpr std::string_view name = "rsqrt", msl = "rsqrt(x)";
  static constexpr double max_ulp = 1.5;
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * like(x, -0.5) * y / x;
  }
};
struct Reciprocal : InexactRow<1> {
  static constexpr std::string_view name = "reciprocal", msl = "reciprocal(x)";
  template <class A>
  static A tangent(const A& t, const A&, const A& y) {
    return -t * square(y);
  }
};

// --- exponentials and logarithms ---

struct Exp : InexactRow<1> {
  static constexpr std::string_view name = "exp", msl = "exp(x)";
  static constexpr double max_ulp = 1.05;
  template <class A>
  static A tangent(const A& t, const A&, const A& y) {
    return t * y;
  }
};
struct Expm1 : FloatRow<1> {
  static constexpr std::string_view name = "expm1", msl = "expm1(x)";
  static constexpr double max_ulp = 1.75;
  // y + 1, not exp(x): y is at hand, a second exp is not.
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * (y + like(x, 1.0));
  }
};
struct Log : InexactRow<1> {
  static constexpr std::string_view name = "log", msl = "log(x)";
  static constexpr double max_ulp = 1;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / x;
  }
};
struct Log2 : InexactRow<1> {
  static constexpr std::string_view name = "log2", msl = "log2(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / (x * like(x, ln2));
  }
};
struct Log10 : InexactRow<1> {
  static constexpr std::string_view name = "log10", msl = "log10(x)";
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / (x * like(x, ln10));
  }
};
struct Log1p : InexactRow<1> {
  static constexpr std::string_view name = "log1p", msl = "log1p(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / (x + like(x, 1.0));
  }
};

// --- trigonometric and hyperbolic ---

struct Sin : InexactRow<1> {
  static constexpr std::string_view name = "sin", msl = "sin(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * cos(x);
  }
};
struct Cos : InexactRow<1> {
  static constexpr std::string_view name = "cos", msl = "cos(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return -t * sin(x);
  }
};
struct Tan : InexactRow<1> {
  static constexpr std::string_view name = "tan", msl = "tan(x)";
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * (square(y) + like(x, 1.0));
  }
};
struct Sinh : InexactRow<1> {
  static constexpr std::string_view name = "sinh", msl = "sinh(x)";
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * cosh(x);
  }
};
struct Cosh : InexactRow<1> {
  static constexpr std::string_view name = "cosh", msl = "cosh(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * sinh(x);
  }
};
struct Tanh : InexactRow<1> {
  static constexpr std::string_view name = "tanh", msl = "tanh(x)";
  static constexpr double max_ulp = 1.5;
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * (like(x, 1.0) - square(y));
  }
};
struct Arcsin : InexactRow<1> {
  static constexpr std::string_view name = "arcsin", msl = "asin(x)";
  static constexpr double max_ulp = 1.25;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * rsqrt(like(x, 1.0) - square(x));
  }
};
struct Arccos : InexactRow<1> {
  static constexpr std::string_view name = "arccos", msl = "acos(x)";
  static constexpr double max_ulp = 1.25;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return -t * rsqrt(like(x, 1.0) - square(x));
  }
};
struct Arctan : InexactRow<1> {
  static constexpr std::string_view name = "arctan", msl = "atan(x)";
  static constexpr double max_ulp = 1.5;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / (square(x) + like(x, 1.0));
  }
};
struct Arcsinh : InexactRow<1> {
  static constexpr std::string_view name = "arcsinh", msl = "asinh(x)";
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * rsqrt(square(x) + like(x, 1.0));
  }
};
struct Arccosh : InexactRow<1> {
  static constexpr std::string_view name = "arccosh", msl = "acosh(x)";
  static constexpr double max_ulp = 0.51;
  // Two roots: sqrt(x * x - 1) has the wrong sign in the left half of the complex plane.
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * rsqrt(x - like(x, 1.0)) * rsqrt(x + like(x, 1.0));
  }
};
struct Arctanh : InexactRow<1> {
  static constexpr std::string_view name = "arctanh", msl = "atanh(x)";
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t / (like(x, 1.0) - square(x));
  }
};

// --- special functions ---

struct Sigmoid : FloatRow<1> {
  static constexpr std::string_view name = "sigmoid", msl = "sigmoid(x)";
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * y * (like(x, 1.0) - y);
  }
};
struct Erf : FloatRow<1> {
  static constexpr std::string_view name = "erf", msl = "erf(x)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * exp(-square(x)) * like(x, two_over_sqrt_pi);
  }
};
struct Erfc : FloatRow<1> {
  static constexpr std::string_view name = "erfc", msl = "erfc(x)";
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * exp(-square(x)) * like(x, -two_over_sqrt_pi);
  }
};
struct Erfinv : FloatRow<1> {
  static constexpr std::string_view name = "erfinv", msl = "erfinv(x)";
  static constexpr double max_ulp = 0.52;
  template <class A>
  static A tangent(const A& t, const A& x, const A& y) {
    return t * exp(square(y)) * like(x, half_sqrt_pi);
  }
};
// log |gamma(x)|
struct Lgamma : FloatRow<1> {
  static constexpr std::string_view name = "lgamma", msl = "lgamma(x)";
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * digamma(x);
  }
};
struct Digamma : FloatRow<1> {
  static constexpr std::string_view name = "digamma", msl = "digamma(x)";
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    return t * polygamma(like(x, 1.0), x);
  }
};

// --- activations ---

// x min(max(x + 3, 0), 6) / 6
struct Hardswish : FloatRow<1> {
  static constexpr std::string_view name = "hardswish";
  static constexpr std::string_view msl = "x * (minimum(maximum(x + T(3), T(0)), T(6)) * T(0.166666667f))";
  static constexpr double max_ulp = 2.5;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    const A share = minimum(maximum(x + like(x, 3.0), like(x, 0.0)), like(x, 6.0));
    const A slope = select(less(abs(x), like(x, 3.0)), x, like(x, 0.0));
    return t * ((share + slope) * like(x, 1.0 / 6));
  }
};
// x (1 + erf(x / sqrt(2))) / 2. Its error is relative to x, not to the result: below zero the sum cancels, as
// it does where the formula is written out.
struct Gelu : FloatRow<1> {
  static constexpr std::string_view name = "gelu";
  static constexpr std::string_view msl = "T(0.5f) * x * (T(1) + erf(x * T(0.707106781f)))";
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent(const A& t, const A& x, const A&) {
    const A share = like(x, 0.5) + like(x, 0.5) * erf(x * like(x, 0.7071067811865476));
    return t * (share + x * exp(square(x) * like(x, -0.5)) * like(x, 0.3989422804014327));
  }
};

// --- rounding: itself on integers and bool ---

struct Floor : Row<1> {
  static constexpr std::string_view name = "floor", msl = "floor(x)";
  static constexpr DtypeSet accepts = reals;
  static constexpr bool flat = true;
};
struct Ceil : Row<1> {
  static constexpr std::string_view name = "ceil", msl = "ceil(x)";
  static constexpr DtypeSet accepts = reals;
  static constexpr bool flat = true;
};
// Half to even; both parts of a complex number.
struct Round : Row<1> {
  static constexpr std::string_view name = "round", msl = "rint(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool flat = true;
};
struct Trunc : Row<1> {
  static constexpr std::string_view name = "trunc", msl = "trunc(x)";
  static constexpr DtypeSet accepts = reals;
  static constexpr bool flat = true;
};

// --- logic, bits, complex parts ---

struct LogicalNot : Predicate<1> {
  static constexpr std::string_view name = "logical_not", msl = "!bool(x)";
};
struct BitwiseInvert : Row<1> {
  static constexpr std::string_view name = "bitwise_invert", msl = "bit_not(x)";
  static constexpr DtypeSet accepts = bits;
  static constexpr bool flat = true;
};
struct Conjugate : Row<1> {
  static constexpr std::string_view name = "conjugate", msl = "conj(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool holomorphic = false;
  template <class A>
  static A tangent(const A& t, const A&, const A&) {
    return conjugate(t);
  }
  template <class A>
  static A vjp(const A& g, const A&, const A&) {
    return conjugate(g);
  }
};
struct Real : Row<1> {
  static constexpr std::string_view name = "real", msl = "real(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr Out result = Out::real;
  static constexpr bool holomorphic = false;
  template <class A>
  static A tangent(const A& t, const A&, const A&) {
    return real(t);
  }
  template <class A>
  static A vjp(const A& g, const A& x, const A&) {
    return g * like(x, 1.0);
  }
};
struct Imag : Row<1> {
  static constexpr std::string_view name = "imag", msl = "imag(x)";
  static constexpr DtypeSet accepts = everything;
  static constexpr Out result = Out::real;
  static constexpr bool holomorphic = false;
  template <class A>
  static A tangent(const A& t, const A&, const A&) {
    return imag(t);
  }
  template <class A>
  static A vjp(const A& g, const A& x, const A&) {
    return g * like(x, 0.0, 1.0);
  }
};
struct IsNan : Predicate<1> {
  static constexpr std::string_view name = "isnan", msl = "isnan(x)";
};
struct IsInf : Predicate<1> {
  static constexpr std::string_view name = "isinf", msl = "isinf(x)";
};
struct IsFinite : Predicate<1> {
  static constexpr std::string_view name = "isfinite", msl = "isfinite(x)";
};
struct IsPosInf : Predicate<1> {
  static constexpr std::string_view name = "isposinf", msl = "isposinf(x)";
};
struct IsNegInf : Predicate<1> {
  static constexpr std::string_view name = "isneginf", msl = "isneginf(x)";
};

}  // namespace mlx::core::elementwise
