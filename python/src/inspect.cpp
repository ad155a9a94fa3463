// Graphs that are not evaluated yet, for mlx.nn.plan: their operations, and the memory they will take. Not
// public.
#include "mlx/graph_utils.h"
#include "mlx/primitives.h"
#include "python/src/args.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

nb::tuple shape_tuple(const Shape& shape) {
  nb::list out;
  for (const ShapeElem n : shape) out.append(n);
  return nb::tuple(out);
}

Arrays arrays_of(nb::handle tree) {
  Arrays out;
  flatten_arrays(tree, out, true);
  return out;
}

nb::list next_operations(core::GraphWalk& walk, nb::args trees) {
  nb::list found;
  for (const array& a : walk.next(arrays_of(trees))) {
    nb::list in, out;
    for (const array& x : a.inputs()) in.append(shape_tuple(x.shape()));
    for (const array& x : a.outputs()) out.append(shape_tuple(x.shape()));
    found.append(
        nb::make_tuple(a.primitive().name(), a.primitive().opcode() >= 0, nb::tuple(in), nb::tuple(out)));
  }
  return found;
}

nb::tuple forecast(nb::handle outputs, nb::handle given, nb::handle released) {
  const core::Forecast f = core::forecast_memory(arrays_of(outputs), arrays_of(given), arrays_of(released));
  return nb::make_tuple(f.peak, f.after, f.peak_operation);
}

}  // namespace

void init_inspect(Module& m) {
  nb::class_<core::GraphWalk>(m, "_GraphWalk", "Finds the operations of a graph that grows, each once.")
      .def(nb::init<>())
      .def("next", &next_operations, "trees"_a,
           nb::sig("def next(self, *trees) -> "
                   "list[tuple[str, bool, tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]]"),
           R"(The operations behind arrays that no earlier call has returned, inputs first.

Returns:
  For each its name, whether it is element-wise, and the shapes of its inputs and of its outputs.)");
  m.def("_forecast_memory", &forecast, "outputs"_a, "given"_a = nb::tuple(), "released"_a = nb::tuple(),
        nb::sig("def _forecast_memory(outputs: object, given: object = (), released: object = ()) -> "
                "tuple[int, int, str]"),
        R"(What evaluating a tree of arrays would do to memory, without doing it.

Args:
  outputs: what would be evaluated.
  given: arrays that count as evaluated, whether they are or not.
  released: arrays that the caller holds now, once each, but not when the evaluation takes place.
Returns:
  The largest number of bytes held at a time and the bytes held afterwards, both on top of what is held now, and the
  name of the operation during which the former is reached.)");
}

}  // namespace mlx::python
