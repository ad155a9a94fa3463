// Sorting and searching.
#include <string>

#include "mlx/statistics.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

struct Sort {
  const char* name;
  array (*flat)(const array&, StreamOrDevice);
  array (*axis)(const array&, int, StreamOrDevice);
  const char* text;
};
const Sort kSorts[] = {
    {"sort", core::sort, core::sort, "The elements in ascending order, ``nan`` last."},
    {"argsort", core::argsort, core::argsort,
     "The positions (uint32) that put the elements into ascending order."},
};

// With an element count or a position besides the axis.
struct Select {
  const char* name;
  const char* argument;
  array (*flat)(const array&, int, StreamOrDevice);
  array (*axis)(const array&, int, int, StreamOrDevice);
  const char* text;
  const char* describe;
};
const Select kSelects[] = {
    {"partition", "kth", core::partition, core::partition,
     "The elements in an order that puts the ``kth`` where sorting would, smaller ones before it, larger "
     "ones after.",
     "the position that will be as if sorted; negative ones count from the end"},
    {"argpartition", "kth", core::argpartition, core::argpartition,
     "The positions (uint32) that partition the elements; see partition.",
     "the position that will be as if sorted; negative ones count from the end"},
    {"topk", "k", core::topk, core::topk, "The ``k`` largest elements along an axis, in no particular order.",
     "how many"},
};

}  // namespace

void init_sort(Module& m) {
  for (const Sort& r : kSorts) {
    const std::string sig = std::string("def ") + r.name +
                            "(a: array, /, axis: None | int = -1, *, stream: StreamOrDevice = None) -> array";
    const std::string doc = std::string(r.text) + R"( Equal elements keep their order.

Args:
  a: any shape.
  axis: the axis to sort along; ``None`` sorts the flattened array.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: the axis is out of range.)";
    m.def(
        r.name,
        [row = &r](nb::handle a, nb::handle axis, StreamOrDevice s) {
          ArrayArg x = to_array(a, {row->name, "a", 1});
          const std::optional<int> at = to_axis(axis, row->name);
          return wrap(at ? row->axis(x, *at, s) : row->flat(x, s));
        },
        nb::arg(), "axis"_a.none() = -1, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
        doc.c_str());
  }
  for (const Select& r : kSelects) {
    const std::string sig = std::string("def ") + r.name + "(a: array, /, " + r.argument +
                            ": int, axis: None | int = -1, *, stream: StreamOrDevice = None) -> array";
    const std::string doc =
        std::string(r.text) + "\n\nArgs:\n  a: any shape.\n  " + r.argument + ": " + r.describe + R"(.
  axis: the axis; ``None`` takes the flattened array.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: the axis is out of range.   ValueError: the position or number is.)";
    m.def(
        r.name,
        [row = &r](nb::handle a, int k, nb::handle axis, StreamOrDevice s) {
          ArrayArg x = to_array(a, {row->name, "a", 1});
          const std::optional<int> at = to_axis(axis, row->name, 3);
          return wrap(at ? row->axis(x, k, *at, s) : row->flat(x, k, s));
        },
        nb::arg(), nb::arg(r.argument), "axis"_a.none() = -1, nb::kw_only(), "stream"_a = nb::none(),
        nb::sig(sig.c_str()), doc.c_str());
  }
  m.def(
      "searchsorted",
      [](nb::handle sorted, nb::handle values, const std::string& side, StreamOrDevice s) {
        return wrap(core::searchsorted(to_array(sorted, {"searchsorted", "sorted_sequence", 1}),
                                       to_array(values, {"searchsorted", "values", 2}), side, s));
      },
      nb::arg(), nb::arg(), "side"_a = "left", nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def searchsorted(sorted_sequence: array, values: array, /, side: str = 'left', *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Where values would go in a sorted sequence.

Args:
  sorted_sequence: ascending along its last axis.
  values: what to look for.
  side: ``left`` gives the first suitable position (elements before it are smaller), ``right`` the last one.
  stream: where to run; ``None`` is the default stream.
Returns:
  Positions in the shape of ``values``.
Raises:
  ValueError: ``side`` is something else, or the shapes do not go together.)");
  const char* unique_document = R"(The distinct elements in ascending order.

Args:
  a: any shape; it is flattened.
  size: the size of the result, where it must not depend on values, as under ``compile`` and ``vmap``: further elements are
    cut off, missing ones filled in. Without it ``a`` is evaluated.
  return_index: also the position of the first occurrence of each.
  return_inverse: also, for each element of ``a``, its place in the result.
  return_counts: also how often each occurs.
  fill_value: what fills the result where there are fewer than ``size``; ``None`` is the smallest element.
  stream: where to run; ``None`` is the default stream.
Returns:
  The elements, or a tuple of them and what else was asked for. Each ``nan`` is an element of its own.
Raises:
  ValueError: there is no ``size``, and a transformation does not know the values.)";
  m.def(
      "unique",
      [](nb::handle a, int size, bool index, bool inverse, bool counts, nb::handle fill,
         StreamOrDevice s) -> nb::object {
        ArrayArg x = to_array(a, {"unique", "a", 1});
        std::optional<array> fill_value;
        if (!fill.is_none()) fill_value = to_operands(a, fill, "unique").second.get();
        Arrays out = core::unique(x, size, index, inverse, counts, fill_value, s);
        if (out.size() == 1) return wrap(out[0]);
        return wrap_tuple(out);
      },
      nb::arg(), "size"_a, "return_index"_a = false, "return_inverse"_a = false, "return_counts"_a = false,
      "fill_value"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def unique(a: array, /, size: int, return_index: bool = False, return_inverse: bool = False, "
              "return_counts: bool = False, fill_value: scalar | array | None = None, *, "
              "stream: StreamOrDevice = None) -> array | tuple[array, ...]"),
      unique_document);
  m.def(
      "unique",
      [](nb::handle a, bool index, bool inverse, bool counts, StreamOrDevice s) -> nb::object {
        ArrayArg x = to_array(a, {"unique", "a", 1});
        if (!index && !inverse && !counts) {
          const array values = [&] {
            nb::gil_scoped_release release;
            return core::unique_values(x, s);
          }();
          return wrap(values);
        }
        const int size = [&] {
          nb::gil_scoped_release release;
          return core::count_unique(x, s);
        }();
        const Arrays out = core::unique(x, size, index, inverse, counts, std::nullopt, s);
        if (out.size() == 1) return wrap(out[0]);
        return wrap_tuple(out);
      },
      nb::arg(), nb::kw_only(), "return_index"_a = false, "return_inverse"_a = false,
      "return_counts"_a = false, "stream"_a = nb::none(),
      nb::sig("def unique(a: array, /, *, return_index: bool = False, return_inverse: bool = False, "
              "return_counts: bool "
              "= False, stream: StreamOrDevice = None) -> array | tuple[array, ...]"),
      unique_document);
}

}  // namespace mlx::python
