// eval, async_eval, and pictures of graphs.
#include <sstream>

#include "mlx/graph_utils.h"
#include "mlx/transforms.h"
#include "python/src/args.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

Arrays arrays_of(nb::handle trees) {
  Arrays out;
  flatten_arrays(trees, out, true);
  return out;
}

void export_to_dot(nb::object file, nb::args args, nb::kwargs kwargs) {
  core::NodeNamer namer;
  Arrays outputs = arrays_of(args);
  for (auto [name, value] : kwargs) {
    const array* a = as_array(value);
    if (!a) bad_type({"export_to_dot", nb::cast<const char*>(name), 0}, "array", value);
    namer.set_name(*a, nb::cast<std::string>(name));
    if (args.size() == 0) outputs.push_back(*a);
  }
  std::ostringstream text;
  core::export_to_dot(text, std::move(namer), outputs);
  nb::str content(text.str().c_str(), text.str().size());
  if (nb::hasattr(file, "write")) {
    file.attr("write")(content);
    return;
  }
  nb::module_::import_("pathlib").attr("Path")(file).attr("write_text")(content, "encoding"_a = "utf-8");
}

nb::object depends(nb::handle inputs, nb::handle dependencies) {
  const auto several = [](nb::handle h, const char* name, int position) {
    const array* one = as_array(h);
    return one ? Arrays{*one} : to_arrays(h, {"depends", name, position});
  };
  const Arrays out = core::depends(several(inputs, "inputs", 1), several(dependencies, "dependencies", 2));
  return is_array(inputs.ptr()) ? wrap(out[0]) : wrap_list(out);
}

}  // namespace

void init_eval(Module& m) {
  m.def("depends", &depends, "inputs"_a, "dependencies"_a,
        nb::sig("def depends(inputs: array | Sequence[array], dependencies: array | Sequence[array]) -> Any"),
        R"(The same arrays, but evaluated only after others are.

Args:
  inputs: an array or several.
  dependencies: an array or several, which are evaluated first.
Returns:
  An array, or a list where ``inputs`` is a sequence.)");
  m.def(
      "eval",
      [](nb::args args) {
        Arrays arrays = arrays_of(args);
        nb::gil_scoped_release release;
        core::eval(std::move(arrays));
      },
      nb::sig("def eval(*args: Any) -> None"),
      R"(Computes arrays, with all that they depend on, and returns when they are there.

Args:
  *args: arrays, and lists, tuples and dicts of them, such as a model's parameters. Other leaves are passed over.
Raises:
  ValueError: an array is an argument of a transform that is being traced.   MemoryError: the memory limit is reached.)");
  m.def(
      "async_eval",
      [](nb::args args) {
        Arrays arrays = arrays_of(args);
        nb::gil_scoped_release release;
        core::async_eval(std::move(arrays));
      },
      nb::sig("def async_eval(*args: Any) -> None"),
      R"(Begins to compute arrays and returns at once; reading one of them waits until it is there.

Args:
  *args: arrays, and lists, tuples and dicts of them.)");
  m.def("export_to_dot", &export_to_dot, "file"_a, "args"_a, "kwargs"_a,
        nb::sig("def export_to_dot(file: object, *args: array, **kwargs: array) -> None"),
        R"(Writes the graph that computes arrays in the DOT language of Graphviz.

Args:
  file: a path or a text stream.
  *args: the arrays, or trees of them.
  **kwargs: arrays with the names they shall have in the picture.)");
}

}  // namespace mlx::python
