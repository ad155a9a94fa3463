// Counts, bins, membership and positions: what depends on the values of elements rather than on their order.
#include <string>

#include "mlx/statistics.h"
#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

// Computes what the size of a result depends on; the evaluation may take long.
template <class F>
auto released(F&& f) {
  nb::gil_scoped_release release;
  return f();
}

nb::object histogram(nb::handle a, nb::handle bins, nb::handle range, bool density, nb::handle weights,
                     StreamOrDevice s) {
  ArrayArg x = to_array(a, {"histogram", "a", 1});
  const std::optional<array> w = to_optional_array(weights, {"histogram", "weights", 0});
  std::optional<std::pair<double, double>> ends;
  if (!range.is_none()) {
    if (!PySequence_Check(range.ptr()) || nb::len(range) != 2)
      bad_type({"histogram", "range", 3}, "None or a pair of numbers", range);
    ends = std::pair(nb::cast<double>(range[0]), nb::cast<double>(range[1]));
  }
  const auto [counts, edges] =
      is_int(bins) ? core::histogram(x, to_int(bins, {"histogram", "bins", 2}), ends, density, w, s)
                   : core::histogram(x, make_array(bins, std::nullopt, "histogram"), density, w, s);
  return nb::make_tuple(wrap(counts), wrap(edges));
}

void define_counts(Module& m) {
  m.def("histogram", histogram, "a"_a, "bins"_a = 10, "range"_a = nb::none(), "density"_a = false,
        nb::kw_only(), "weights"_a = nb::none(), "stream"_a = nb::none(),
        nb::sig("def histogram(a: array, bins: int | array | Sequence[float] = 10, range: tuple[float, "
                "float] | None = None, "
                "density: bool = False, *, weights: array | None = None, stream: StreamOrDevice = None) -> "
                "tuple[array, "
                "array]"),
        R"(How many elements fall into each of a row of bins.

A bin holds its left edge but not its right one; the last bin holds both. Elements outside, and ``nan``, are not counted.

Args:
  a: real numbers of any shape.
  bins: the number of bins of the same width, or their edges in ascending order.
  range: the first and the last edge; ``None`` is the smallest and the largest element.
  density: shares per unit of width, whose integral is 1, instead of counts.
  weights: how much each element counts, shape of ``a``.
  stream: where to run; ``None`` is the default stream.
Returns:
  The counts (int32; with weights or ``density`` a floating dtype) and the edges, one more, in float32 (float64 for float64).
Raises:
  ValueError: there is no bin, the range is not finite or not in order, or the shapes do not fit.)");
  m.def(
      "bincount",
      [](nb::handle x, nb::handle weights, int minlength, std::optional<int> length, StreamOrDevice s) {
        ArrayArg a = to_array(x, {"bincount", "x", 1});
        const std::optional<array> w = to_optional_array(weights, {"bincount", "weights", 2});
        if (minlength < 0)
          throw std::invalid_argument("[bincount] got minlength = " + std::to_string(minlength) +
                                      ", expected it not to be negative");
        if (length) return wrap(core::bincount(a, w, *length, s));
        const array counts = released([&] { return core::bincount(a, w, s); });
        if (counts.shape(0) >= minlength) return wrap(counts);
        return wrap(core::bincount(a, w, minlength, s));
      },
      "x"_a, "weights"_a = nb::none(), "minlength"_a = 0, nb::kw_only(), "length"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def bincount(x: array, weights: array | None = None, minlength: int = 0, *, length: int | "
              "None = None, "
              "stream: StreamOrDevice = None) -> array"),
      R"(How often each of 0, 1, 2, ... occurs.

Args:
  x: integers or booleans, one dimension, none negative.
  weights: how much each element counts, shape of ``x``.
  minlength: the least size of the result.
  length: the size of the result, where it must not depend on values, as under ``compile`` and ``vmap``; elements outside
    of [0, length) are then not counted. Without it ``x`` is evaluated and the size is ``max(x) + 1``.
  stream: where to run; ``None`` is the default stream.
Returns:
  int32 counts, or the sums of the weights in their floating dtype.
Raises:
  ValueError: an element is negative, ``x`` has another dtype or more dimensions, or there is no ``length``, and a
  transformation does not know the values.)");
  m.def(
      "digitize",
      [](nb::handle x, nb::handle bins, bool right, StreamOrDevice s) {
        return wrap(core::digitize(to_array(x, {"digitize", "x", 1}), to_array(bins, {"digitize", "bins", 2}),
                                   right, s));
      },
      "x"_a, "bins"_a, "right"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def digitize(x: scalar | array, bins: array, right: bool = False, *, stream: StreamOrDevice = "
              "None) -> "
              "array"),
      R"(The number of the bin that each element falls into: 0 before the first edge, n behind the last.

Args:
  x: real numbers of any shape.
  bins: n edges, ascending or descending. Not checked.
  right: a bin holds its right edge rather than its left one.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``x``, uint32: i with ``bins[i - 1] <= x < bins[i]``.
Raises:
  ValueError: ``bins`` has not one dimension, or a dtype is complex.)");
  m.def(
      "isin",
      [](nb::handle element, nb::handle test, bool, bool invert, StreamOrDevice s) {
        // Also lists, unlike most functions: a handful of values to look for is written as one.
        const auto operand = [](nb::handle h, Where where) {
          const bool list = PyList_Check(h.ptr()) || PyTuple_Check(h.ptr());
          return list ? make_array(h, std::nullopt, "isin") : to_array(h, where).get();
        };
        return wrap(core::isin(operand(element, {"isin", "element", 1}),
                               operand(test, {"isin", "test_elements", 2}), invert, s));
      },
      "element"_a, "test_elements"_a, "assume_unique"_a = false, "invert"_a = false, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def isin(element: list_or_scalar | array, test_elements: list_or_scalar | array, "
              "assume_unique: bool = False, invert: bool "
              "= False, *, stream: StreamOrDevice = None) -> array"),
      R"(Whether each element is among others. ``nan`` is not, as it equals nothing.

Args:
  element: any shape.
  test_elements: what to look for, any shape; it is sorted.
  assume_unique: makes no difference.
  invert: whether it is not among them.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``element``, bool.)");
}

void define_positions(Module& m) {
  m.def(
      "nonzero",
      [](nb::handle a, std::optional<int> size, int fill_value, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"nonzero", "a", 1});
        return wrap_tuple(size ? core::nonzero(x, *size, fill_value, s)
                               : released([&] { return core::nonzero(x, s); }));
      },
      nb::arg(), nb::kw_only(), "size"_a = nb::none(), "fill_value"_a = 0, "stream"_a = nb::none(),
      nb::sig("def nonzero(a: array, /, *, size: int | None = None, fill_value: int = 0, stream: "
              "StreamOrDevice = None) "
              "-> tuple[array, ...]"),
      R"(Where elements are different from zero, in row-major order.

Args:
  a: at least one dimension.
  size: how many positions, where it must not depend on values, as under ``compile`` and ``vmap``: further ones are cut off,
    missing ones filled in. Without it ``a`` is evaluated.
  fill_value: what fills the indices where there are fewer than ``size``.
  stream: where to run; ``None`` is the default stream.
Returns:
  For each dimension an array of indices, int32.
Raises:
  ValueError: ``a`` has no dimensions, or there is no ``size``, and a transformation does not know the values.)");
  m.def(
      "argwhere",
      [](nb::handle a, std::optional<int> size, int fill_value, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"argwhere", "a", 1});
        return wrap(size ? core::argwhere(x, *size, fill_value, s)
                         : released([&] { return core::argwhere(x, s); }));
      },
      nb::arg(), nb::kw_only(), "size"_a = nb::none(), "fill_value"_a = 0, "stream"_a = nb::none(),
      nb::sig("def argwhere(a: array, /, *, size: int | None = None, fill_value: int = 0, stream: "
              "StreamOrDevice = None) "
              "-> array"),
      R"(Where elements are different from zero, a row of indices for each.

Args:
  a: at least one dimension.
  size: how many rows; see nonzero.
  fill_value: what fills the rows where there are fewer than ``size``.
  stream: where to run; ``None`` is the default stream.
Returns:
  Shape (size, dimensions), int32.
Raises:
  ValueError: ``a`` has no dimensions, or there is no ``size``, and a transformation does not know the values.)");
}

}  // namespace

void init_searching(Module& m) {
  define_counts(m);
  define_positions(m);
}

}  // namespace mlx::python
