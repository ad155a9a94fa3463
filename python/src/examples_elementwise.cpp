// Element-wise functions: examples of each function.
#include "python/src/examples.h"

namespace mlx::python {
namespace {

constexpr Example kRows[] = {
    {"abs", R"(  >>> mx.abs(mx.array([-2, 3]))
  array([2, 3], dtype=int32)
)"},
    {"add", R"(  >>> mx.add(mx.array([1, 2]), 10)
  array([11, 12], dtype=int32)
)"},
    {"arccos", R"(  >>> mx.arccos(mx.array([1.0, 0.0]))
  array([0, 1.5708], dtype=float32)
)"},
    {"arccosh", R"(  >>> mx.arccosh(mx.array([1.0, 2.0]))
  array([0, 1.31696], dtype=float32)
)"},
    {"arcsin", R"(  >>> mx.arcsin(mx.array([0.0, 1.0]))
  array([0, 1.5708], dtype=float32)
)"},
    {"arcsinh", R"(  >>> mx.arcsinh(mx.array([0.0, 1.0]))
  array([0, 0.881374], dtype=float32)
)"},
    {"arctan", R"(  >>> mx.arctan(mx.array([0.0, 1.0]))
  array([0, 0.785398], dtype=float32)
)"},
    {"arctan2", R"(  >>> mx.arctan2(mx.array([1.0, -1.0]), mx.array([1.0, 1.0]))
  array([0.785398, -0.785398], dtype=float32)
)"},
    {"arctanh", R"(  >>> mx.arctanh(mx.array([0.0, 0.5]))
  array([0, 0.549306], dtype=float32)
)"},
    {"bitwise_and", R"(  >>> mx.bitwise_and(mx.array([12, 10]), 6)
  array([4, 2], dtype=int32)
)"},
    {"bitwise_invert", R"(  >>> mx.bitwise_invert(mx.array([0, 7]))
  array([-1, -8], dtype=int32)
)"},
    {"bitwise_or", R"(  >>> mx.bitwise_or(mx.array([12, 10]), 1)
  array([13, 11], dtype=int32)
)"},
    {"bitwise_xor", R"(  >>> mx.bitwise_xor(mx.array([12, 10]), 6)
  array([10, 12], dtype=int32)
)"},
    {"bitwise_left_shift", R"(  >>> mx.bitwise_left_shift(mx.array([1, 3]), 2)
  array([4, 12], dtype=int32)
)"},
    {"bitwise_right_shift", R"(  >>> mx.bitwise_right_shift(mx.array([4, 12]), 2)
  array([1, 3], dtype=int32)
)"},
    {"ceil", R"(  >>> mx.ceil(mx.array([1.2, -1.2]))
  array([2, -1], dtype=float32)
)"},
    {"clip", R"(  >>> mx.clip(mx.array([-2, 0, 5]), 0, 3)
  array([0, 0, 3], dtype=int32)
)"},
    {"conj", R"(  >>> mx.conj(mx.array([1 + 2j]))
  array([1-2j], dtype=complex64)
)"},
    {"conjugate", R"(  >>> mx.conjugate(mx.array([1 + 2j]))
  array([1-2j], dtype=complex64)
)"},
    {"copysign", R"(  >>> mx.copysign(mx.array([1.0, 2.0]), mx.array([-1.0, 1.0]))
  array([-1, 2], dtype=float32)
)"},
    {"cos", R"(  >>> mx.cos(mx.array([0.0, mx.pi]))
  array([1, -1], dtype=float32)
)"},
    {"cosh", R"(  >>> mx.cosh(mx.array([0.0, 1.0]))
  array([1, 1.54308], dtype=float32)
)"},
    {"degrees", R"(  >>> mx.degrees(mx.array([0.0, mx.pi]))
  array([0, 180], dtype=float32)
)"},
    {"digamma", R"(  >>> mx.digamma(mx.array([1.0, 2.0]))
  array([-0.577216, 0.422784], dtype=float32)
)"},
    {"divide", R"(  >>> mx.divide(mx.array([1, 3]), 2)
  array([0.5, 1.5], dtype=float32)
)"},
    {"divmod", R"(  >>> mx.divmod(mx.array([7, -7]), 3)
  (array([2, -3], dtype=int32), array([1, 2], dtype=int32))
)"},
    {"equal", R"(  >>> mx.equal(mx.array([1, 2]), 2)
  array([False, True], dtype=bool)
)"},
    {"erf", R"(  >>> mx.erf(mx.array([0.0, 1.0]))
  array([0, 0.842701], dtype=float32)
)"},
    {"erfc", R"(  >>> mx.erfc(mx.array([0.0, 1.0]))
  array([1, 0.157299], dtype=float32)
)"},
    {"erfinv", R"(  >>> mx.erfinv(mx.array([0.0, 0.5]))
  array([0, 0.476936], dtype=float32)
)"},
    {"exp", R"(  >>> mx.exp(mx.array([0.0, 1.0]))
  array([1, 2.71828], dtype=float32)
)"},
    {"expm1", R"(  >>> mx.expm1(mx.array([0.0, 1.0]))
  array([0, 1.71828], dtype=float32)
)"},
    {"floor", R"(  >>> mx.floor(mx.array([1.8, -1.2]))
  array([1, -2], dtype=float32)
)"},
    {"floor_divide", R"(  >>> mx.floor_divide(mx.array([7, -7]), 2)
  array([3, -4], dtype=int32)
)"},
    {"greater", R"(  >>> mx.greater(mx.array([1, 3]), 2)
  array([False, True], dtype=bool)
)"},
    {"greater_equal", R"(  >>> mx.greater_equal(mx.array([1, 2]), 2)
  array([False, True], dtype=bool)
)"},
    {"hypot", R"(  >>> mx.hypot(mx.array(3.0), mx.array(4.0))
  array(5, dtype=float32)
)"},
    {"imag", R"(  >>> mx.imag(mx.array([1 + 2j]))
  array([2], dtype=float32)
)"},
    {"isclose", R"(  >>> mx.isclose(mx.array([1.0, 2.0]), mx.array([1.0, 2.1]))
  array([True, False], dtype=bool)
)"},
    {"isfinite", R"(  >>> mx.isfinite(mx.array([1.0, mx.inf, mx.nan]))
  array([True, False, False], dtype=bool)
)"},
    {"isinf", R"(  >>> mx.isinf(mx.array([1.0, -mx.inf]))
  array([False, True], dtype=bool)
)"},
    {"isnan", R"(  >>> mx.isnan(mx.array([1.0, mx.nan]))
  array([False, True], dtype=bool)
)"},
    {"isneginf", R"(  >>> mx.isneginf(mx.array([mx.inf, -mx.inf]))
  array([False, True], dtype=bool)
)"},
    {"isposinf", R"(  >>> mx.isposinf(mx.array([mx.inf, -mx.inf]))
  array([True, False], dtype=bool)
)"},
    {"left_shift", R"(  >>> mx.left_shift(mx.array([1, 3]), 2)
  array([4, 12], dtype=int32)
)"},
    {"less", R"(  >>> mx.less(mx.array([1, 3]), 2)
  array([True, False], dtype=bool)
)"},
    {"less_equal", R"(  >>> mx.less_equal(mx.array([1, 2]), 1)
  array([True, False], dtype=bool)
)"},
    {"lgamma", R"(  >>> mx.lgamma(mx.array([1.0, 5.0]))
  array([0, 3.17805], dtype=float32)
)"},
    {"log", R"(  >>> mx.log(mx.array([1.0, mx.e]))
  array([0, 1], dtype=float32)
)"},
    {"log10", R"(  >>> mx.log10(mx.array([1.0, 1000.0]))
  array([0, 3], dtype=float32)
)"},
    {"log1p", R"(  >>> mx.log1p(mx.array([0.0, 1.0]))
  array([0, 0.693147], dtype=float32)
)"},
    {"log2", R"(  >>> mx.log2(mx.array([1.0, 8.0]))
  array([0, 3], dtype=float32)
)"},
    {"logaddexp", R"(  >>> mx.logaddexp(mx.array([0.0, 1000.0]), mx.array([0.0, 1000.0]))
  array([0.693147, 1000.69], dtype=float32)
)"},
    {"logical_and", R"(  >>> mx.logical_and(mx.array([True, False]), mx.array([True, True]))
  array([True, False], dtype=bool)
)"},
    {"logical_not", R"(  >>> mx.logical_not(mx.array([True, False]))
  array([False, True], dtype=bool)
)"},
    {"logical_or", R"(  >>> mx.logical_or(mx.array([True, False]), mx.array([False, False]))
  array([True, False], dtype=bool)
)"},
    {"logical_xor", R"(  >>> mx.logical_xor(mx.array([True, False]), mx.array([True, True]))
  array([False, True], dtype=bool)
)"},
    {"maximum", R"(  >>> mx.maximum(mx.array([1, 5]), 3)
  array([3, 5], dtype=int32)
)"},
    {"minimum", R"(  >>> mx.minimum(mx.array([1, 5]), 3)
  array([1, 3], dtype=int32)
)"},
    {"multiply", R"(  >>> mx.multiply(mx.array([1, 2]), 2.5)
  array([2.5, 5], dtype=float32)
)"},
    {"nan_to_num", R"(  >>> mx.nan_to_num(mx.array([1.0, mx.nan, mx.inf]), posinf=9.0)
  array([1, 0, 9], dtype=float32)
)"},
    {"negative", R"(  >>> mx.negative(mx.array([1, -2]))
  array([-1, 2], dtype=int32)
)"},
    {"nextafter", R"(  >>> mx.nextafter(mx.array(1.0), mx.array(2.0)) > 1
  array(True, dtype=bool)
)"},
    {"not_equal", R"(  >>> mx.not_equal(mx.array([1, 2]), 2)
  array([True, False], dtype=bool)
)"},
    {"positive", R"(  >>> mx.positive(mx.array([1, -2]))
  array([1, -2], dtype=int32)
)"},
    {"pow", R"(  >>> mx.pow(mx.array([2, 3]), 2)
  array([4, 9], dtype=int32)
)"},
    {"power", R"(  >>> mx.power(mx.array([2, 3]), 2)
  array([4, 9], dtype=int32)
)"},
    {"radians", R"(  >>> mx.radians(mx.array([0.0, 180.0]))
  array([0, 3.14159], dtype=float32)
)"},
    {"real", R"(  >>> mx.real(mx.array([1 + 2j]))
  array([1], dtype=float32)
)"},
    {"reciprocal", R"(  >>> mx.reciprocal(mx.array([2.0, 4.0]))
  array([0.5, 0.25], dtype=float32)
)"},
    {"remainder", R"(  >>> mx.remainder(mx.array([7, -7]), 3)
  array([1, 2], dtype=int32)
)"},
    {"right_shift", R"(  >>> mx.right_shift(mx.array([4, 12]), 2)
  array([1, 3], dtype=int32)
)"},
    {"round", R"(  >>> mx.round(mx.array([1.25, 2.5]), 1)
  array([1.2, 2.5], dtype=float32)
)"},
    {"rsqrt", R"(  >>> mx.rsqrt(mx.array([4.0, 16.0]))
  array([0.5, 0.25], dtype=float32)
)"},
    {"sigmoid", R"(  >>> mx.sigmoid(mx.array([0.0, 2.0]))
  array([0.5, 0.880797], dtype=float32)
)"},
    {"sign", R"(  >>> mx.sign(mx.array([-3, 0, 5]))
  array([-1, 0, 1], dtype=int32)
)"},
    {"signbit", R"(  >>> mx.signbit(mx.array([-0.0, 1.0]))
  array([True, False], dtype=bool)
)"},
    {"sin", R"(  >>> mx.sin(mx.array([0.0, 1.0]))
  array([0, 0.841471], dtype=float32)
)"},
    {"sinc", R"(  >>> mx.sinc(mx.array([0.0, 0.5]))
  array([1, 0.63662], dtype=float32)
)"},
    {"sinh", R"(  >>> mx.sinh(mx.array([0.0, 1.0]))
  array([0, 1.1752], dtype=float32)
)"},
    {"sqrt", R"(  >>> mx.sqrt(mx.array([4.0, 2.0]))
  array([2, 1.41421], dtype=float32)
)"},
    {"square", R"(  >>> mx.square(mx.array([3, -4]))
  array([9, 16], dtype=int32)
)"},
    {"subtract", R"(  >>> mx.subtract(mx.array([1, 2]), 10)
  array([-9, -8], dtype=int32)
)"},
    {"tan", R"(  >>> mx.tan(mx.array([0.0, 1.0]))
  array([0, 1.55741], dtype=float32)
)"},
    {"tanh", R"(  >>> mx.tanh(mx.array([0.0, 1.0]))
  array([0, 0.761594], dtype=float32)
)"},
    {"trunc", R"(  >>> mx.trunc(mx.array([1.8, -1.8]))
  array([1, -1], dtype=float32)
)"},
    {"where", R"(  >>> mx.where(mx.array([True, False]), 1, mx.array([8, 9]))
  array([1, 9], dtype=int32)
)"},
};

}  // namespace

const std::span<const Example> kElementwiseExamples(kRows);

}  // namespace mlx::python
