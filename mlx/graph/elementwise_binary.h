// Rows with two and three operands. `tangent0` is the derivative by the first operand times t, and so on; a
// row without one of them has that bit in flat_operands.
#pragma once

#include "mlx/graph/elementwise_row.h"

namespace mlx::core::elementwise {

// --- arithmetic. Integers wrap; bool adds as `or`, multiplies as `and`, subtracts as `xor` ---

struct Add : Row<2> {
  static constexpr std::string_view name = "add", msl = "add(x, y)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool commutative = true;
  template <class A>
  static A tangent0(const A& t, const A&, const A&, const A&) {
    return t;
  }
  template <class A>
  static A tangent1(const A& t, const A&, const A&, const A&) {
    return t;
  }
};
struct Subtract : Row<2> {
  static constexpr std::string_view name = "subtract", msl = "subtract(x, y)";
  static constexpr DtypeSet accepts = everything;
  template <class A>
  static A tangent0(const A& t, const A&, const A&, const A&) {
    return t;
  }
  template <class A>
  static A tangent1(const A& t, const A&, const A&, const A&) {
    return -t;
  }
};
struct Multiply : Row<2> {
  static constexpr std::string_view name = "multiply", msl = "multiply(x, y)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool commutative = true;
  template <class A>
  static A tangent0(const A& t, const A&, const A& b, const A&) {
    return t * b;
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A&, const A&) {
    return t * a;
  }
};
struct Divide : InexactRow<2> {
  static constexpr std::string_view name = "divide", msl = "divide(x, y)";
  template <class A>
  static A tangent0(const A& t, const A&, const A& b, const A&) {
    return t / b;
  }
  template <class A>
  static A tangent1(const A& t, const A&, const A& b, const A& y) {
    return -t * y / b;
  }
};
// Rounds down. An integer divided by zero gives 0; complex numbers divide without rounding.
struct FloorDivide : Row<2> {
  static constexpr std::string_view name = "floor_divide", msl = "floor_divide(x, y)";
  static constexpr DtypeSet accepts = everything;
  static constexpr bool flat = true;
};
// a - b floor(a / b): the sign of the divisor. An integer modulo zero is itself.
struct Remainder : Row<2> {
  static constexpr std::string_view name = "remainder", msl = "remainder(x, y)";
  static constexpr DtypeSet accepts = reals;
  template <class A>
  static A tangent0(const A& t, const A&, const A&, const A&) {
    return t;
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A& b, const A&) {
    return -t * floor_divide(a, b);
  }
};
// Integers: wraps, and a negative exponent gives 0.
struct Power : Row<2> {
  static constexpr std::string_view name = "power", msl = "power(x, y)";
  static constexpr DtypeSet accepts = everything;
  static constexpr double max_ulp = 0.51;
  template <class A>
  static A tangent0(const A& t, const A& a, const A& b, const A&) {
    // 0, not 0 * inf, for the constant x^0 at x = 0
    return select(equal(b, like(b, 0.0)), like(b, 0.0), t * b * power(a, b - like(b, 1.0)));
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A&, const A& y) {
    return select(equal(y, like(y, 0.0)), like(y, 0.0), t * y * log(a));
  }
};
// A nan in either operand is the result; of equal values, the second (and the derivative is by the second).
struct Maximum : Row<2> {
  static constexpr std::string_view name = "maximum", msl = "maximum(x, y)";
  static constexpr DtypeSet accepts = everything;
  template <class A>
  static A tangent0(const A& t, const A& a, const A& b, const A&) {
    return select(greater(a, b), t, like(t, 0.0));
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A& b, const A&) {
    return select(less_equal(a, b), t, like(t, 0.0));
  }
};
struct Minimum : Row<2> {
  static constexpr std::string_view name = "minimum", msl = "minimum(x, y)";
  static constexpr DtypeSet accepts = everything;
  template <class A>
  static A tangent0(const A& t, const A& a, const A& b, const A&) {
    return select(less(a, b), t, like(t, 0.0));
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A& b, const A&) {
    return select(greater_equal(a, b), t, like(t, 0.0));
  }
};

// --- functions ---

// log(exp(a) + exp(b))
struct LogAddExp : InexactRow<2> {
  static constexpr std::string_view name = "logaddexp", msl = "logaddexp(x, y)";
  static constexpr bool commutative = true;
  static constexpr double max_ulp = 2;
  template <class A>
  static A tangent0(const A& t, const A& a, const A&, const A& y) {
    return t * exp(a - y);
  }
  template <class A>
  static A tangent1(const A& t, const A&, const A& b, const A& y) {
    return t * exp(b - y);
  }
};
struct Arctan2 : FloatRow<2> {
  static constexpr std::string_view name = "arctan2", msl = "atan2(x, y)";
  static constexpr double max_ulp = 1.75;
  template <class A>
  static A tangent0(const A& t, const A& a, const A& b, const A&) {
    return t * b / (square(a) + square(b));
  }
  template <class A>
  static A tangent1(const A& t, const A& a, const A& b, const A&) {
    return -t * a / (square(a) + square(b));
  }
};
struct Hypot : FloatRow<2> {
  static constexpr std::string_view name = "hypot", msl = "hypot(x, y)";
  static constexpr bool commutative = true;
  static constexpr double max_ulp = 1.5;
  template <class A>
  static A tangent0(const A& t, const A& a, const A&, const A& y) {
    return t * a / y;
  }
  template <class A>
  static A tangent1(const A& t, const A&, const A& b, const A& y) {
    return t * b / y;
  }
};
struct Copysign : FloatRow<2> {
  static constexpr std::string_view name = "copysign", msl = "copysign(x, y)";
  static constexpr uint8_t flat_operands = 0b10;
  template <class A>
  static A tangent0(const A& t, const A& a, const A&, const A& y) {
    return t * sign(a) * sign(y);
  }
};
struct Nextafter : FloatRow<2> {
  static constexpr std::string_view name = "nextafter", msl = "nextafter(x, y)";
  static constexpr uint8_t flat_operands = 0b10;
  template <class A>
  static A tangent0(const A& t, const A&, const A&, const A&) {
    return t;
  }
};
// The derivative of order n (a non-negative whole number, given as a float) of digamma at x.
struct Polygamma : FloatRow<2> {
  static constexpr std::string_view name = "polygamma", msl = "polygamma(x, y)";
  static constexpr uint8_t flat_operands = 0b01;
  static constexpr double max_ulp = 4;
  template <class A>
  static A tangent1(const A& t, const A& n, const A& x, const A&) {
    return t * polygamma(n + like(n, 1.0), x);
  }
};

// --- comparisons. Complex numbers are ordered by real part, then by imaginary part ---

struct Equal : Predicate<2> {
  static constexpr std::string_view name = "equal", msl = "x == y";
  static constexpr bool commutative = true;
};
struct NotEqual : Predicate<2> {
  static constexpr std::string_view name = "not_equal", msl = "x != y";
  static constexpr bool commutative = true;
};
// As equal, but a nan equals a nan.
struct NanEqual : Predicate<2> {
  static constexpr std::string_view name = "nan_equal", msl = "nan_equal(x, y)";
  static constexpr bool commutative = true;
};
struct Less : Predicate<2> {
  static constexpr std::string_view name = "less", msl = "x < y";
};
struct LessEqual : Predicate<2> {
  static constexpr std::string_view name = "less_equal", msl = "x <= y";
};
struct Greater : Predicate<2> {
  static constexpr std::string_view name = "greater", msl = "x > y";
};
struct GreaterEqual : Predicate<2> {
  static constexpr std::string_view name = "greater_equal", msl = "x >= y";
};

// --- logic and bits ---

struct LogicalAnd : Predicate<2> {
  static constexpr std::string_view name = "logical_and", msl = "bool(x) && bool(y)";
  static constexpr bool commutative = true;
};
struct LogicalOr : Predicate<2> {
  static constexpr std::string_view name = "logical_or", msl = "bool(x) || bool(y)";
  static constexpr bool commutative = true;
};
struct LogicalXor : Predicate<2> {
  static constexpr std::string_view name = "logical_xor", msl = "bool(x) != bool(y)";
  static constexpr bool commutative = true;
};
struct BitwiseAnd : Row<2> {
  static constexpr std::string_view name = "bitwise_and", msl = "x & y";
  static constexpr DtypeSet accepts = bits;
  static constexpr bool flat = true, commutative = true;
};
struct BitwiseOr : Row<2> {
  static constexpr std::string_view name = "bitwise_or", msl = "x | y";
  static constexpr DtypeSet accepts = bits;
  static constexpr bool flat = true, commutative = true;
};
struct BitwiseXor : Row<2> {
  static constexpr std::string_view name = "bitwise_xor", msl = "x ^ y";
  static constexpr DtypeSet accepts = bits;
  static constexpr bool flat = true, commutative = true;
};
// Shift counts are taken modulo 64 for 64-bit integers, else modulo 32.
struct LeftShift : Row<2> {
  static constexpr std::string_view name = "left_shift", msl = "left_shift(x, y)";
  static constexpr DtypeSet accepts = integers;
  static constexpr bool flat = true;
};
struct RightShift : Row<2> {
  static constexpr std::string_view name = "right_shift", msl = "right_shift(x, y)";
  static constexpr DtypeSet accepts = integers;
  static constexpr bool flat = true;
};

// --- pieces of lines and parabolas ---

// x, but x y where x is negative.
struct LeakyRelu : FloatRow<2> {
  static constexpr std::string_view name = "leaky_relu", msl = "x < 0 ? x * y : x";
  template <class A>
  static A tangent0(const A& t, const A& x, const A& slope, const A&) {
    return select(less(x, like(x, 0.0)), t * slope, t);
  }
  template <class A>
  static A tangent1(const A& t, const A& x, const A&, const A&) {
    return t * minimum(x, like(x, 0.0));
  }
};
// x^2 / 2 where |x| <= y, beyond it y (|x| - y / 2), which continues it: c (x - c / 2) with x limited to
// [-y, y] as c.
struct Huber : FloatRow<2> {
  static constexpr std::string_view name = "huber";
  static constexpr std::string_view msl = "minimum(maximum(x, -y), y) * (x - minimum(maximum(x, -y), y) / 2)";
  template <class A>
  static A tangent0(const A& t, const A& x, const A& delta, const A&) {
    return t * minimum(maximum(x, -delta), delta);
  }
  template <class A>
  static A tangent1(const A& t, const A& x, const A& delta, const A&) {
    return t * maximum(abs(x) - delta, like(x, 0.0));
  }
};
// x, but 0 where |x| <= y.
struct HardShrink : FloatRow<2> {
  static constexpr std::string_view name = "hard_shrink", msl = "metal::fabs(x) <= y ? T(0) : x";
  static constexpr uint8_t flat_operands = 2;
  template <class A>
  static A tangent0(const A& t, const A& x, const A& limit, const A&) {
    return select(less_equal(abs(x), limit), like(t, 0.0), t);
  }
};
// x less what of it lies within [-y, y].
struct SoftShrink : FloatRow<2> {
  static constexpr std::string_view name = "softshrink", msl = "x - minimum(maximum(x, -y), y)";
  template <class A>
  static A tangent0(const A& t, const A& x, const A& limit, const A&) {
    return select(greater(abs(x), limit), t, like(t, 0.0));
  }
  template <class A>
  static A tangent1(const A& t, const A& x, const A& limit, const A&) {
    return select(greater(abs(x), limit), -t * sign(x), like(t, 0.0));
  }
};

// --- three operands ---

// x ? y : z. The first operand is bool whatever the dtype of the others.
struct Select : Row<3> {
  static constexpr std::string_view name = "select", msl = "x ? y : z";
  static constexpr DtypeSet accepts = everything;
  static constexpr uint8_t flat_operands = 0b001;
  template <class A>
  static A tangent1(const A& t, const A& c, const A&, const A&, const A&) {
    return select(c, t, like(t, 0.0));
  }
  template <class A>
  static A tangent2(const A& t, const A& c, const A&, const A&, const A&) {
    return select(c, like(t, 0.0), t);
  }
};
// minimum(maximum(x, lo), hi), with the derivatives of those.
struct Clip : Row<3> {
  static constexpr std::string_view name = "clip", msl = "minimum(maximum(x, y), z)";
  static constexpr DtypeSet accepts = everything;
  template <class A>
  static A tangent0(const A& t, const A& x, const A& lo, const A& hi, const A&) {
    return select(logical_and(greater(x, lo), less(x, hi)), t, like(t, 0.0));
  }
  template <class A>
  static A tangent1(const A& t, const A& x, const A& lo, const A& hi, const A&) {
    return select(logical_and(less_equal(x, lo), less(lo, hi)), t, like(t, 0.0));
  }
  template <class A>
  static A tangent2(const A& t, const A& x, const A& lo, const A& hi, const A&) {
    return select(greater_equal(maximum(x, lo), hi), t, like(t, 0.0));
  }
};
// x limited to [-z, z], y where it is a nan.
struct NanToNum : FloatRow<3> {
  static constexpr std::string_view name = "nan_to_num";
  static constexpr std::string_view msl = "isnan(x) ? y : minimum(maximum(x, -z), z)";
  template <class A>
  static A tangent0(const A& t, const A& x, const A&, const A& largest, const A&) {
    return select(less_equal(abs(x), largest), t, like(t, 0.0));
  }
  template <class A>
  static A tangent1(const A& t, const A& x, const A&, const A&, const A&) {
    return select(isnan(x), t, like(t, 0.0));
  }
  template <class A>
  static A tangent2(const A& t, const A& x, const A&, const A& largest, const A&) {
    return select(greater(abs(x), largest), t * sign(x), like(t, 0.0));
  }
};

}  // namespace mlx::core::elementwise
