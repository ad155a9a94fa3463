// Reductions and scans: functions and methods of arrays.
#include <string>

#include "python/src/args.h"

namespace mlx::python {
namespace {

using All = array (*)(const array&, bool, StreamOrDevice);
using Axes = array (*)(const array&, const std::vector<int>&, bool, StreamOrDevice);
using Axis = array (*)(const array&, int, bool, StreamOrDevice);

struct Row {
  const char* name;
  All all;
  Axis axis;
  Axes axes;
  const char* text;
  const char* type;
  bool method = true;
};

const Row kRows[] = {
    {"sum", core::sum, core::sum, core::sum, "The sum of the elements.",
     "The dtype of ``a``; int32 for bool and for integers of fewer bits."},
    {"prod", core::prod, core::prod, core::prod, "The product of the elements.",
     "The dtype of ``a``; int32 for bool and for integers of fewer bits."},
    {"mean", core::mean, core::mean, core::mean, "The mean of the elements, ``sum(a) / n``.",
     "The dtype of ``a``; float32 for integers and bool."},
    {"median", core::median, core::median, core::median,
     "The median; the mean of the middle two where their number is even.",
     "The dtype of ``a``; float32 for integers and bool.", false},
    {"max", core::max, core::max, core::max, "The largest element; ``nan`` where there is one.",
     "The dtype of ``a``.\nRaises:\n  ValueError: there is no element."},
    {"min", core::min, core::min, core::min, "The smallest element; ``nan`` where there is one.",
     "The dtype of ``a``.\nRaises:\n  ValueError: there is no element."},
    {"all", core::all, core::all, core::all, "Whether all elements are different from zero.", "bool."},
    {"any", core::any, core::any, core::any, "Whether any element is different from zero.", "bool."},
    {"logsumexp", core::logsumexp, core::logsumexp, core::logsumexp,
     "``log(sum(exp(a)))``, without overflow.", "The dtype of ``a``; float32 for integers and bool."},
};

constexpr const char* kMethodStream =
    "stream: Stream | ThreadLocalStream | Device | DeviceType | None = None";

std::string axis_doc(const char* type) {
  return std::string(R"(
  axis: the axis or axes to reduce over, negative ones counting from the end; ``None`` is all.
  keepdims: keep the reduced axes, with size 1.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``a`` without the reduced axes. )") +
         type + "\nRaises:\n  IndexError: an axis is out of range.";
}

array reduce(const Row& r, const array& a, nb::handle axis, bool keepdims, StreamOrDevice s) {
  if (axis.is_none()) return r.all(a, keepdims, s);
  if (PyLong_CheckExact(axis.ptr())) return r.axis(a, to_int(axis, {r.name, "axis", 2}), keepdims, s);
  return r.axes(a, *to_axes(axis, r.name), keepdims, s);
}

void define(Module& m, const Row& r) {
  const std::string name = r.name;
  const std::string sig = "def " + name +
                          "(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
                          "*, stream: StreamOrDevice = None) -> array";
  const std::string doc = std::string(r.text) + "\n\nArgs:\n  a: any shape." + axis_doc(r.type);
  auto call = [row = &r](nb::handle a, nb::handle axis, bool keepdims, StreamOrDevice s) {
    return wrap(reduce(*row, to_array(a, {row->name, "a", 1}), axis, keepdims, s));
  };
  m.def(r.name, call, nb::arg(), "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(),
        "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  if (!r.method) return;
  const std::string method = "def " + name +
                             "(self, axis: int | Sequence[int] | None = None, keepdims: bool = False, *, " +
                             kMethodStream + ") -> array";
  const std::string see = std::string(r.text) + "\n\nSee mlx.core." + name + ".";
  array_class().def(r.name, call, "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(),
                    "stream"_a = nb::none(), nb::sig(method.c_str()), see.c_str());
}

using SpreadAll = array (*)(const array&, bool, int, StreamOrDevice);
using SpreadAxes = array (*)(const array&, const std::vector<int>&, bool, int, StreamOrDevice);
struct Spread {
  const char* name;
  SpreadAll all;
  SpreadAxes axes;
  const char* text;
};
const Spread kSpreads[] = {
    {"var", core::var, core::var, "The variance, ``sum((a - mean(a))^2) / (n - ddof)``."},
    {"std", core::std, core::std, "The standard deviation, the square root of the variance."},
};

void define(Module& m, const Spread& r) {
  const std::string name = r.name;
  auto compute = [row = &r](const array& a, nb::handle axis, bool keepdims, int ddof, StreamOrDevice s) {
    if (axis.is_none()) return wrap(row->all(a, keepdims, ddof, s));
    return wrap(row->axes(a, *to_axes(axis, row->name), keepdims, ddof, s));
  };
  const std::string sig = "def " + name +
                          "(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
                          "ddof: int = 0, *, stream: StreamOrDevice = None) -> array";
  const std::string doc = std::string(r.text) + R"(

Args:
  a: any shape.
  axis: the axis or axes to reduce over; ``None`` is all.
  keepdims: keep the reduced axes, with size 1.
  ddof: what is taken off the number of elements in the divisor.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``a`` without the reduced axes; float32 for integers and bool.
Raises:
  IndexError: an axis is out of range.)";
  m.def(
      r.name,
      [compute, row = &r](nb::handle a, nb::handle axis, bool keepdims, int ddof, StreamOrDevice s) {
        return compute(to_array(a, {row->name, "a", 1}), axis, keepdims, ddof, s);
      },
      nb::arg(), "axis"_a = nb::none(), "keepdims"_a = false, "ddof"_a = 0, nb::kw_only(),
      "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  const std::string method = "def " + name +
                             "(self, axis: int | Sequence[int] | None = None, keepdims: bool = False, "
                             "ddof: int = 0, *, correction: int | None = None, " +
                             kMethodStream + ") -> array";
  const std::string see = std::string(r.text) +
                          "\n\n``correction`` is the array API standard's name of ``ddof``. See mlx.core." +
                          name + ".";
  array_class().def(
      r.name,
      [compute](const array& a, nb::handle axis, bool keepdims, int ddof, std::optional<int> correction,
                StreamOrDevice s) { return compute(a, axis, keepdims, correction.value_or(ddof), s); },
      "axis"_a = nb::none(), "keepdims"_a = false, "ddof"_a = 0, nb::kw_only(), "correction"_a = nb::none(),
      "stream"_a = nb::none(), nb::sig(method.c_str()), see.c_str());
}

struct Arg {
  const char* name;
  array (*all)(const array&, bool, StreamOrDevice);
  array (*axis)(const array&, int, bool, StreamOrDevice);
  const char* text;
};
const Arg kArgs[] = {
    {"argmax", core::argmax, core::argmax, "The position of the largest element; the first of several."},
    {"argmin", core::argmin, core::argmin, "The position of the smallest element; the first of several."},
};

void define(Module& m, const Arg& r) {
  const std::string name = r.name;
  const std::string sig = "def " + name +
                          "(a: array, /, axis: None | int = None, keepdims: bool = False, *, "
                          "stream: StreamOrDevice = None) -> array";
  const std::string doc = std::string(r.text) + R"(

Args:
  a: any shape with at least one element.
  axis: the axis to search along; ``None`` searches the flattened array.
  keepdims: keep the searched axes, with size 1.
  stream: where to run; ``None`` is the default stream.
Returns:
  uint32 positions, in the shape of ``a`` without the axis.
Raises:
  IndexError: the axis is out of range.   ValueError: there is no element.)";
  auto call = [row = &r](nb::handle a, nb::handle axis, bool keepdims, StreamOrDevice s) {
    ArrayArg x = to_array(a, {row->name, "a", 1});
    const std::optional<int> at = to_axis(axis, row->name);
    return wrap(at ? row->axis(x, *at, keepdims, s) : row->all(x, keepdims, s));
  };
  m.def(r.name, call, nb::arg(), "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(),
        "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  const std::string method = "def " + name + "(self, axis: int | None = None, keepdims: bool = False, *, " +
                             kMethodStream + ") -> array";
  array_class().def(r.name, call, "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(),
                    "stream"_a = nb::none(), nb::sig(method.c_str()),
                    (std::string(r.text) + "\n\nSee mlx.core." + name + ".").c_str());
}

// ---- scans
// ---------------------------------------------------------------------------------------------------

using Scan = array (*)(const array&, bool, bool, StreamOrDevice);
using ScanAxis = array (*)(const array&, int, bool, bool, StreamOrDevice);
using TypedScan = array (*)(const array&, bool, bool, std::optional<Dtype>, StreamOrDevice);
using TypedScanAxis = array (*)(const array&, int, bool, bool, std::optional<Dtype>, StreamOrDevice);
struct Cumulation {
  const char* name;
  Scan all = nullptr;
  ScanAxis axis = nullptr;
  TypedScan typed = nullptr;
  TypedScanAxis typed_axis = nullptr;
  const char* text;
};
const Cumulation kScans[] = {
    {"cumsum", nullptr, nullptr, core::cumsum, core::cumsum, "Running sums along an axis."},
    {"cumprod", nullptr, nullptr, core::cumprod, core::cumprod, "Running products along an axis."},
    {"cummax", core::cummax, core::cummax, nullptr, nullptr, "Running maxima along an axis."},
    {"cummin", core::cummin, core::cummin, nullptr, nullptr, "Running minima along an axis."},
    {"logcumsumexp", core::logcumsumexp, core::logcumsumexp, nullptr, nullptr,
     "``log`` of the running sums of ``exp(a)`` along an axis, without overflow."},
};

void define(Module& m, const Cumulation& r) {
  const std::string name = r.name;
  auto compute = [row = &r](nb::handle a, nb::handle axis, bool reverse, bool inclusive,
                            std::optional<Dtype> dtype, StreamOrDevice s) {
    ArrayArg x = to_array(a, {row->name, "a", 1});
    const std::optional<int> at = to_axis(axis, row->name);
    if (row->typed)
      return wrap(at ? row->typed_axis(x, *at, reverse, inclusive, dtype, s)
                     : row->typed(x, reverse, inclusive, dtype, s));
    return wrap(at ? row->axis(x, *at, reverse, inclusive, s) : row->all(x, reverse, inclusive, s));
  };
  auto untyped = [compute](nb::handle a, nb::handle axis, bool reverse, bool inclusive, StreamOrDevice s) {
    return compute(a, axis, reverse, inclusive, std::nullopt, s);
  };
  const std::string typed = r.typed ? "dtype: Dtype | None = None, " : "";
  const std::string sig = "def " + name +
                          "(a: array, /, axis: int | None = None, *, reverse: bool = False, "
                          "inclusive: bool = True, " +
                          typed + "stream: StreamOrDevice = None) -> array";
  const std::string doc =
      std::string(r.text) + R"(

Args:
  a: any shape.
  axis: the axis to run along; ``None`` runs over the flattened array.
  reverse: run from the end.
  inclusive: let each result contain its own element; otherwise only those before it.)" +
      (r.typed ? "\n  dtype: the type to compute in; ``None`` is that of ``a``, int32 for bool." : "") + R"(
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``a``.
Raises:
  IndexError: the axis is out of range.)";
  if (r.typed) {
    m.def(r.name, compute, nb::arg(), "axis"_a = nb::none(), nb::kw_only(), "reverse"_a = false,
          "inclusive"_a = true, "dtype"_a = nb::none(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
          doc.c_str());
  } else {
    m.def(r.name, untyped, nb::arg(), "axis"_a = nb::none(), nb::kw_only(), "reverse"_a = false,
          "inclusive"_a = true, "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  }
  const std::string method = "def " + name +
                             "(self, axis: int | None = None, *, reverse: bool = False, "
                             "inclusive: bool = True, " +
                             kMethodStream + ") -> array";
  array_class().def(r.name, untyped, "axis"_a = nb::none(), nb::kw_only(), "reverse"_a = false,
                    "inclusive"_a = true, "stream"_a = nb::none(), nb::sig(method.c_str()),
                    (std::string(r.text) + "\n\nSee mlx.core." + name + ".").c_str());
}

}  // namespace

void init_reduce(Module& m) {
  for (const Row& r : kRows) define(m, r);
  for (const Spread& r : kSpreads) define(m, r);
  for (const Arg& r : kArgs) define(m, r);
  for (const Cumulation& r : kScans) define(m, r);
  m.attr("cumulative_sum") = m.attr("cumsum");
  m.attr("cumulative_prod") = m.attr("cumprod");

  m.def(
      "minmax",
      [](nb::handle a, nb::handle axis, bool keepdims, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"minmax", "a", 1});
        const auto [low, high] = axis.is_none() ? core::minmax(x, keepdims, s)
                                                : core::minmax(x, *to_axes(axis, "minmax"), keepdims, s);
        return nb::make_tuple(wrap(low), wrap(high));
      },
      nb::arg(), "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def minmax(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
              "stream: StreamOrDevice = None) -> tuple[array, array]"),
      ("The smallest and the largest element, ``(min(a), max(a))``.\n\nArgs:\n  a: any shape." +
       axis_doc("The dtype of ``a``.\nRaises:\n  ValueError: there is no element."))
          .c_str());
  m.def(
      "count_nonzero",
      [](nb::handle a, nb::handle axis, bool keepdims, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"count_nonzero", "a", 1});
        if (axis.is_none()) return wrap(core::count_nonzero(x, keepdims, s));
        return wrap(core::count_nonzero(x, *to_axes(axis, "count_nonzero"), keepdims, s));
      },
      nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "keepdims"_a = false, "stream"_a = nb::none(),
      nb::sig("def count_nonzero(a: array, /, *, axis: None | int | Sequence[int] = None, keepdims: bool = "
              "False, "
              "stream: StreamOrDevice = None) -> array"),
      ("How many elements are different from zero.\n\nArgs:\n  a: any shape." + axis_doc("int32.")).c_str());
  m.def(
      "softmax",
      [](nb::handle a, nb::handle axis, bool precise, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"softmax", "a", 1});
        if (axis.is_none()) return wrap(core::softmax(x, precise, s));
        if (PyLong_CheckExact(axis.ptr()))
          return wrap(core::softmax(x, to_int(axis, {"softmax", "axis", 2}), precise, s));
        return wrap(core::softmax(x, *to_axes(axis, "softmax"), precise, s));
      },
      nb::arg(), "axis"_a = nb::none(), nb::kw_only(), "precise"_a = false, "stream"_a = nb::none(),
      nb::sig("def softmax(a: array, /, axis: None | int | Sequence[int] = None, *, precise: bool = False, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Exponentials that sum to one along an axis: ``exp(a - m) / sum(exp(a - m))``, ``m = max(a)``.

Args:
  a: any shape. Integers and booleans are computed in float32.
  axis: the axis or axes that sum to one; ``None`` means all of them together.
  precise: accumulate float16 and bfloat16 in float32.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape and dtype (float32 for integers).
Raises:
  IndexError: an axis is out of range.
Source: Online normalizer calculation for softmax, arXiv:1805.02867.)");
}

}  // namespace mlx::python
