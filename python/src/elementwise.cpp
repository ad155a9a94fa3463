// Element-wise functions of one array: a row each.
#include <array>
#include <string>

#include "mlx/special.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

using Function = array (*)(const array&, StreamOrDevice);

// How the parameters are written, which differs for historical reasons.
enum class Form { standard, named_with_stream, named, scalar_standard, scalar_with_stream };

enum class Type { floating, same, boolean, magnitude, real_part };

struct Row {
  const char* name;
  Function function;
  const char* text;  // what it computes
  Type type;
  Form form = Form::standard;
  bool method = false;  // also a method of arrays
  const char* note = "";
};

constexpr const char* kType[] = {
    "Same shape; floating and complex dtypes are kept, integers and booleans are computed in float32.",
    "Same shape and dtype.",
    "Same shape, bool.",
    "Same shape and dtype; float32 for complex64.",
    "Same shape; float32 for complex64, otherwise the dtype itself.",
};

const Row kRows[] = {
    {"abs", core::abs, "The absolute value ``|a|``; the modulus of complex numbers.", Type::magnitude,
     Form::standard, true},
    {"arccos", core::arccos, "The inverse cosine, in [0, pi]; ``nan`` outside of [-1, 1].", Type::floating},
    {"arccosh", core::arccosh, "The inverse hyperbolic cosine, ``log(a + sqrt(a^2 - 1))``; ``nan`` below 1.",
     Type::floating},
    {"arcsin", core::arcsin, "The inverse sine, in [-pi/2, pi/2]; ``nan`` outside of [-1, 1].",
     Type::floating},
    {"arcsinh", core::arcsinh, "The inverse hyperbolic sine, ``log(a + sqrt(a^2 + 1))``.", Type::floating},
    {"arctan", core::arctan, "The inverse tangent, in (-pi/2, pi/2).", Type::floating},
    {"arctanh", core::arctanh,
     "The inverse hyperbolic tangent, ``log((1 + a) / (1 - a)) / 2``; ``nan`` outside of [-1, 1].",
     Type::floating},
    {"bitwise_invert", core::bitwise_invert, "Every bit flipped, ``~a``; the negation of booleans.",
     Type::same, Form::scalar_with_stream, false, "Raises:\n  ValueError: the dtype is floating or complex."},
    {"ceil", core::ceil, "The smallest integer that is not below ``a``.", Type::same},
    {"conj", core::conjugate, "The complex conjugate; real arrays are returned as they are.", Type::same,
     Form::named, true},
    {"conjugate", core::conjugate, "The complex conjugate; real arrays are returned as they are.", Type::same,
     Form::named},
    {"cos", core::cos, "The cosine of an angle in radians.", Type::floating, Form::standard, true},
    {"cosh", core::cosh, "The hyperbolic cosine, ``(exp(a) + exp(-a)) / 2``.", Type::floating},
    {"degrees", core::degrees, "Radians to degrees, ``a * 180 / pi``.", Type::floating,
     Form::scalar_standard},
    {"digamma", core::digamma,
     "The derivative of ``lgamma``, ``gamma'(a) / gamma(a)``; ``nan`` at the negative integers.",
     Type::floating},
    {"erf", core::erf,
     "The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to ``a``.",
     Type::floating},
    {"erfc", core::erfc,
     "The complement of the error function, ``1 - erf(a)``, accurate where that is small.", Type::floating},
    {"erfinv", core::erfinv, "The inverse of the error function; infinite at -1 and 1, ``nan`` beyond.",
     Type::floating},
    {"exp", core::exp, "The exponential function.", Type::floating, Form::standard, true},
    {"expm1", core::expm1, "``exp(a) - 1``, accurate near zero.", Type::floating},
    {"floor", core::floor, "The largest integer that is not above ``a``.", Type::same},
    {"imag", core::imag, "The imaginary part; zero for real arrays.", Type::real_part},
    {"isfinite", core::isfinite, "Whether each element is neither infinite nor ``nan``.", Type::boolean,
     Form::named_with_stream},
    {"isinf", core::isinf, "Whether each element is infinite.", Type::boolean, Form::named_with_stream},
    {"isnan", core::isnan, "Whether each element is ``nan``.", Type::boolean, Form::named_with_stream},
    {"isneginf", core::isneginf, "Whether each element is negative infinity.", Type::boolean,
     Form::named_with_stream},
    {"isposinf", core::isposinf, "Whether each element is positive infinity.", Type::boolean,
     Form::named_with_stream},
    {"lgamma", core::lgamma,
     "The logarithm of the absolute value of the gamma function; infinite at 0 and the negative integers.",
     Type::floating},
    {"log", core::log, "The natural logarithm; ``-inf`` at 0, ``nan`` below.", Type::floating, Form::standard,
     true},
    {"log10", core::log10, "The logarithm to base 10; ``-inf`` at 0, ``nan`` below.", Type::floating,
     Form::standard, true},
    {"log1p", core::log1p, "``log(1 + a)``, accurate near zero.", Type::floating, Form::standard, true},
    {"log2", core::log2, "The logarithm to base 2; ``-inf`` at 0, ``nan`` below.", Type::floating,
     Form::standard, true},
    {"logical_not", core::logical_not, "Whether each element is zero.", Type::boolean},
    {"negative", core::negative, "``-a``; unsigned integers wrap around.", Type::same, Form::standard, false,
     "Raises:\n  ValueError: the dtype is bool; use logical_not."},
    {"positive", core::positive, "``+a``: the array itself.", Type::same},
    {"radians", core::radians, "Degrees to radians, ``a * pi / 180``.", Type::floating,
     Form::scalar_standard},
    {"real", core::real, "The real part; real arrays are returned as they are.", Type::real_part},
    {"reciprocal", core::reciprocal, "``1 / a``.", Type::floating, Form::standard, true},
    {"rsqrt", core::rsqrt, "``1 / sqrt(a)``; ``inf`` at 0, ``nan`` below.", Type::floating, Form::standard,
     true},
    {"sigmoid", core::sigmoid, "The logistic function, ``1 / (1 + exp(-a))``, without overflow.",
     Type::floating},
    {"sign", core::sign, "-1, 0 or 1 by the sign of each element; ``a / |a|`` for complex numbers.",
     Type::same},
    {"sin", core::sin, "The sine of an angle in radians.", Type::floating, Form::standard, true},
    {"sinc", core::sinc, "``sin(pi a) / (pi a)``, 1 at 0.", Type::floating, Form::standard, false,
     "Raises:\n  ValueError: the dtype is complex."},
    {"sinh", core::sinh, "The hyperbolic sine, ``(exp(a) - exp(-a)) / 2``.", Type::floating},
    {"sqrt", core::sqrt, "The square root; ``nan`` below 0.", Type::floating, Form::standard, true},
    {"square", core::square, "``a * a``.", Type::same, Form::standard, true},
    {"stop_gradient", core::stop_gradient,
     "The array itself, which gradients do not pass: to grad, jvp and vjp it is a constant.", Type::same},
    {"tan", core::tan, "The tangent of an angle in radians.", Type::floating},
    {"tanh", core::tanh, "The hyperbolic tangent.", Type::floating},
    {"trunc", core::trunc, "The integer part, towards zero.", Type::same},
};

std::string document(const Row& r, bool method) {
  std::string doc = std::string(r.text) + "\n\n";
  doc += method ? "Args:\n" : "Args:\n  a: any shape.\n";
  doc += "  stream: where to run; ``None`` is the default stream.\nReturns:\n  ";
  doc += kType[static_cast<int>(r.type)];
  if (*r.note) doc += std::string("\n") + r.note;
  return doc;
}

void define(Module& m, const Row& r) {
  const std::string doc = document(r, false);
  const std::string name = r.name;
  auto call = [f = r.function, name = r.name](nb::handle a, StreamOrDevice s) {
    return wrap(f(to_array(a, {name, "a", 1}), s));
  };
  const char* a_type =
      r.form == Form::scalar_standard || r.form == Form::scalar_with_stream ? "scalar | array" : "array";
  switch (r.form) {
    case Form::standard:
    case Form::scalar_standard: {
      const std::string sig =
          "def " + name + "(a: " + a_type + ", /, *, stream: StreamOrDevice = None) -> array";
      m.def(r.name, call, nb::arg(), nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
            doc.c_str());
      break;
    }
    case Form::named: {
      const std::string sig = "def " + name + "(a: array, *, stream: StreamOrDevice = None) -> array";
      m.def(r.name, call, "a"_a, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
      break;
    }
    default: {
      const std::string sig = "def " + name + "(a: " + a_type + ", stream: StreamOrDevice = None) -> array";
      m.def(r.name, call, "a"_a, "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
    }
  }
  if (r.method) {
    const std::string sig =
        "def " + name +
        "(self, *, stream: Stream | ThreadLocalStream | Device | DeviceType | None = None) -> array";
    array_class().def(
        r.name, [f = r.function](const array& a, StreamOrDevice s) { return wrap(f(a, s)); }, nb::kw_only(),
        "stream"_a = nb::none(), nb::sig(sig.c_str()), document(r, true).c_str());
  }
}

}  // namespace

void init_elementwise(Module& m) {
  for (const Row& r : kRows) define(m, r);
  for (const auto& [alias, name] : {std::pair{"acos", "arccos"},
                                    {"acosh", "arccosh"},
                                    {"asin", "arcsin"},
                                    {"asinh", "arcsinh"},
                                    {"atan", "arctan"},
                                    {"atanh", "arctanh"}})
    m.attr(alias) = m.attr(name);

  auto round = [](nb::handle a, int decimals, StreamOrDevice s) {
    return wrap(core::round(to_array(a, {"round", "a", 1}), decimals, s));
  };
  m.def("round", round, nb::arg(), "decimals"_a = 0, "stream"_a = nb::none(),
        nb::sig("def round(a: array, /, decimals: int = 0, stream: StreamOrDevice = None) -> array"),
        R"(Each element rounded to the nearest number with the given count of decimals, halves to even.

Args:
  a: any shape.
  decimals: digits after the point; negative numbers round to tens, hundreds, ...
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype.)");
  array_class().def(
      "round", round, "decimals"_a = 0, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def round(self, decimals: int = 0, *, stream: Stream | ThreadLocalStream | Device | "
              "DeviceType | None = None) -> array"),
      "See mlx.core.round.");
  m.def(
      "nan_to_num",
      [](nb::handle a, float nan, std::optional<float> posinf, std::optional<float> neginf,
         StreamOrDevice s) {
        return wrap(core::nan_to_num(to_array(a, {"nan_to_num", "a", 1}), nan, posinf, neginf, s));
      },
      "a"_a, "nan"_a = 0.0f, "posinf"_a = nb::none(), "neginf"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def nan_to_num(a: scalar | array, nan: float = 0, posinf: float | None = None, "
              "neginf: float | None = None, *, stream: StreamOrDevice = None) -> array"),
      R"(``nan`` and infinities replaced by numbers.

Args:
  a: any shape.
  nan: what replaces ``nan``.
  posinf: what replaces infinity; ``None`` is the largest finite value of the dtype.
  neginf: what replaces negative infinity; ``None`` is the most negative finite value.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype.)");
  m.def(
      "clip",
      [](nb::handle a, nb::handle low, nb::handle high, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"clip", "a", 1});
        auto bound = [&](nb::handle h) -> std::optional<array> {
          if (h.is_none()) return std::nullopt;
          return to_operands(a, h, "clip").second.get();
        };
        return wrap(core::clip(x, bound(low), bound(high), s));
      },
      nb::arg(), "a_min"_a.none(), "a_max"_a.none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def clip(a: array, /, a_min: scalar | array | None, a_max: scalar | array | None, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Each element kept within bounds, ``minimum(maximum(a, a_min), a_max)``.

Args:
  a: any shape.
  a_min: the lower bound, which broadcasts against ``a``; ``None`` for none.
  a_max: the upper bound; ``None`` for none.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: both bounds are ``None``.)");
}

}  // namespace mlx::python
