// Element-wise functions of two arrays, which broadcast: a row each.
#include <string>

#include "mlx/special.h"
#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

using Function = array (*)(const array&, const array&, StreamOrDevice);

enum class Form { named, positional, arrays };  // (a, b, stream), (a, b, /, *, stream)

struct Row {
  const char* name;
  Function function;
  const char* text;
  const char* type;
  Form form = Form::named;
};

constexpr const char* kPromoted = "The promoted dtype of both.";
constexpr const char* kFloating = "The promoted dtype of both, float32 for integers and booleans.";
constexpr const char* kBool = "bool.";
constexpr const char* kBits =
    "The promoted dtype of both.\nRaises:\n  ValueError: a dtype is floating or complex, or the shapes do "
    "not broadcast.";

const Row kRows[] = {
    {"add", core::add, "The sum ``a + b``.", kPromoted},
    {"subtract", core::subtract, "The difference ``a - b``.", kPromoted},
    {"multiply", core::multiply, "The product ``a * b``.", kPromoted},
    {"divide", core::divide, "The quotient ``a / b``, also of integers.", kFloating},
    {"floor_divide", core::floor_divide,
     "The quotient rounded down, ``floor(a / b)``; the integer quotient of integers.", kPromoted},
    {"remainder", core::remainder, "``a - b * floor(a / b)``: the remainder, with the sign of ``b``.",
     kPromoted},
    {"power", core::power, "``a`` to the power of ``b``.", kPromoted, Form::positional},
    {"maximum", core::maximum, "The larger of both; ``nan`` where either is ``nan``.", kPromoted,
     Form::positional},
    {"minimum", core::minimum, "The smaller of both; ``nan`` where either is ``nan``.", kPromoted,
     Form::positional},
    {"logaddexp", core::logaddexp, "``log(exp(a) + exp(b))``, without overflow.", kFloating,
     Form::positional},
    {"arctan2", core::arctan2, "The angle of the point (b, a), in [-pi, pi].", kFloating, Form::positional},
    {"hypot", core::hypot, "The length ``sqrt(a^2 + b^2)`` of the vector (a, b), without overflow.",
     kFloating, Form::positional},
    {"copysign", core::copysign, "The magnitude of ``a`` with the sign of ``b``, also of zeros and ``nan``.",
     kFloating, Form::positional},
    {"nextafter", core::nextafter,
     "The next number after ``a`` in the direction of ``b``; ``b`` where they are equal.", kFloating,
     Form::positional},
    {"equal", core::equal, "Whether ``a == b``; ``nan`` equals nothing.", kBool},
    {"not_equal", core::not_equal, "Whether ``a != b``.", kBool},
    {"less", core::less, "Whether ``a < b``.", kBool},
    {"less_equal", core::less_equal, "Whether ``a <= b``.", kBool},
    {"greater", core::greater, "Whether ``a > b``.", kBool},
    {"greater_equal", core::greater_equal, "Whether ``a >= b``.", kBool},
    {"logical_and", core::logical_and, "Whether both are different from zero.", kBool, Form::arrays},
    {"logical_or", core::logical_or, "Whether one or both are different from zero.", kBool, Form::arrays},
    {"logical_xor", core::logical_xor, "Whether exactly one is different from zero.", kBool,
     Form::positional},
    {"bitwise_and", core::bitwise_and, "The bits set in both, ``a & b``.", kBits},
    {"bitwise_or", core::bitwise_or, "The bits set in one or both, ``a | b``.", kBits},
    {"bitwise_xor", core::bitwise_xor, "The bits set in exactly one, ``a ^ b``.", kBits},
    {"left_shift", core::left_shift, "``a * 2^b``: the bits of ``a`` moved up, ``a << b``.", kBits},
    {"right_shift", core::right_shift, "``floor(a / 2^b)``: the bits of ``a`` moved down, ``a >> b``.",
     kBits},
};

std::string document(const Row& r) {
  return std::string(r.text) + R"(

Args:
  a, b: arrays or numbers whose shapes broadcast. A number takes the dtype of the array beside it, as far as that can
    hold its kind.
  stream: where to run; ``None`` is the default stream.
Returns:
  The broadcast shape. )" +
         r.type +
         (r.type == kBits ? ""
                          : "\nRaises:\n  ValueError: the shapes do not broadcast, or an int is out of the "
                            "dtype's range.");
}

void define(Module& m, const Row& r) {
  const std::string doc = document(r);
  auto call = [f = r.function, name = r.name](nb::handle a, nb::handle b, StreamOrDevice s) {
    const array* pa = as_array(a);
    const array* pb = as_array(b);
    if (pa && pb) return wrap(f(*pa, *pb, s));
    auto [x, y] = to_operands(a, b, name);
    return wrap(f(x, y, s));
  };
  const std::string type = r.form == Form::arrays ? "array" : "scalar | array";
  std::string sig = std::string("def ") + r.name + "(a: " + type + ", b: " + type;
  if (r.form == Form::named) {
    sig += ", stream: StreamOrDevice = None) -> array";
    m.def(r.name, call, "a"_a, "b"_a, "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  } else {
    sig += ", /, *, stream: StreamOrDevice = None) -> array";
    m.def(r.name, call, nb::arg(), nb::arg(), nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
          doc.c_str());
  }
}

}  // namespace

void init_binary(Module& m) {
  for (const Row& r : kRows) define(m, r);
  for (const auto& [alias, name] : {std::pair{"pow", "power"},
                                    {"atan2", "arctan2"},
                                    {"bitwise_left_shift", "left_shift"},
                                    {"bitwise_right_shift", "right_shift"}})
    m.attr(alias) = m.attr(name);

  m.def(
      "divmod",
      [](nb::handle a, nb::handle b, StreamOrDevice s) {
        auto [x, y] = to_operands(a, b, "divmod");
        return wrap_tuple(core::divmod(x, y, s));
      },
      "a"_a, "b"_a, "stream"_a = nb::none(),
      nb::sig("def divmod(a: scalar | array, b: scalar | array, stream: StreamOrDevice = None) -> array"),
      R"(Quotient rounded down and remainder, ``(a // b, a % b)``.

Args:
  a, b: arrays or numbers whose shapes broadcast.
  stream: where to run; ``None`` is the default stream.
Returns:
  Two arrays of the broadcast shape and the promoted dtype.
Raises:
  ValueError: the shapes do not broadcast.)");
  m.def(
      "array_equal",
      [](nb::handle a, nb::handle b, bool equal_nan, StreamOrDevice s) {
        auto [x, y] = to_operands(a, b, "array_equal");
        return wrap(core::array_equal(x, y, equal_nan, s));
      },
      "a"_a, "b"_a, "equal_nan"_a = false, "stream"_a = nb::none(),
      nb::sig("def array_equal(a: scalar | array, b: scalar | array, equal_nan: bool = False, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Whether two arrays have the same shape and equal elements.

Args:
  a, b: arrays or numbers.
  equal_nan: let ``nan`` equal ``nan``.
  stream: where to run; ``None`` is the default stream.
Returns:
  A bool without dimensions; False where the shapes differ.)");
  auto close = [](auto function, const char* name) {
    return [function, name](nb::handle a, nb::handle b, double rtol, double atol, bool equal_nan,
                            StreamOrDevice s) {
      auto [x, y] = to_operands(a, b, name);
      return wrap(function(x, y, rtol, atol, equal_nan, s));
    };
  };
  m.def(
      "isclose", close(core::isclose, "isclose"), nb::arg(), nb::arg(), "rtol"_a = 1e-5, "atol"_a = 1e-8,
      nb::kw_only(), "equal_nan"_a = false, "stream"_a = nb::none(),
      nb::sig("def isclose(a: array, b: array, /, rtol: float = 1e-05, atol: float = 1e-08, *, "
              "equal_nan: bool = False, stream: StreamOrDevice = None) -> array"),
      R"(Whether elements are equal within a tolerance, ``|a - b| <= atol + rtol * |b|``. Infinities of the same sign are.

Args:
  a, b: arrays whose shapes broadcast.
  rtol: relative tolerance.
  atol: absolute tolerance.
  equal_nan: let ``nan`` be close to ``nan``.
  stream: where to run; ``None`` is the default stream.
Returns:
  The broadcast shape, bool.)");
  m.def("allclose", close(core::allclose, "allclose"), nb::arg(), nb::arg(), "rtol"_a = 1e-5, "atol"_a = 1e-8,
        nb::kw_only(), "equal_nan"_a = false, "stream"_a = nb::none(),
        nb::sig("def allclose(a: array, b: array, /, rtol: float = 1e-05, atol: float = 1e-08, *, "
                "equal_nan: bool = False, stream: StreamOrDevice = None) -> array"),
        "Whether all elements are equal within a tolerance; see isclose. A bool without dimensions.");
  m.def(
      "where",
      [](nb::handle condition, nb::handle x, nb::handle y, StreamOrDevice s) {
        ArrayArg c = to_array(condition, {"where", "condition", 1});
        auto [a, b] = to_operands(x, y, "where");
        return wrap(core::where(c, a, b, s));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def where(condition: scalar | array, x: scalar | array, y: scalar | array, /, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Elements of ``x`` where the condition holds, of ``y`` elsewhere.

Args:
  condition: what is different from zero counts as true.
  x, y: arrays or numbers; all three shapes broadcast.
  stream: where to run; ``None`` is the default stream.
Returns:
  The broadcast shape, the promoted dtype of ``x`` and ``y``.
Raises:
  ValueError: the shapes do not broadcast.)");
}

}  // namespace mlx::python
