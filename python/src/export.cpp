// export_function, exporter, import_function: functions as files.
#include "mlx/export.h"

#include <type_traits>

#include "python/src/args.h"
#include "python/src/callable.h"

namespace mlx::python {
namespace {

using core::Args;
using core::ExportCallback;
using core::ExportCallbackInput;
using core::FunctionExporter;
using core::Kwargs;

std::optional<std::string> to_path(nb::handle h) {
  if (PyUnicode_Check(h.ptr())) return nb::cast<std::string>(h);
  if (!nb::hasattr(h, "__fspath__")) return std::nullopt;
  const nb::object path = nb::steal(PyOS_FSPath(h.ptr()));
  if (!path) throw nb::python_error();
  return PyUnicode_Check(path.ptr()) ? std::optional(nb::cast<std::string>(path)) : std::nullopt;
}

bool append_arrays(nb::handle sequence, Args& out) {
  for (nb::handle item : sequence) {
    const array* a = as_array(item);
    if (!a) return false;
    out.push_back(*a);
  }
  return true;
}
bool append_arrays(nb::handle dict, Kwargs& out) {
  for (auto [name, value] : nb::borrow<nb::dict>(dict)) {
    const array* a = as_array(value);
    if (!a || !PyUnicode_Check(name.ptr())) return false;
    out.emplace(nb::cast<std::string>(name), *a);
  }
  return true;
}

struct Inputs {
  Args args;
  Kwargs kwargs;
};
// Arrays by position and name; or one tuple or list of them, one dict, or both.
Inputs to_inputs(const nb::args& args, const nb::kwargs& kwargs, const char* function) {
  Inputs in;
  const auto is_sequence = [](nb::handle h) { return PyTuple_Check(h.ptr()) || PyList_Check(h.ptr()); };
  const auto is_dict = [](nb::handle h) { return PyDict_Check(h.ptr()); };
  bool fits = append_arrays(kwargs, in.kwargs);
  if (fits && args.size() == 1 && is_sequence(args[0])) {
    fits = append_arrays(args[0], in.args);
  } else if (fits && args.size() == 1 && is_dict(args[0]) && kwargs.size() == 0) {
    fits = append_arrays(args[0], in.kwargs);
  } else if (fits && args.size() == 2 && is_sequence(args[0]) && is_dict(args[1]) && kwargs.size() == 0) {
    fits = append_arrays(args[0], in.args) && append_arrays(args[1], in.kwargs);
  } else {
    fits = fits && append_arrays(args, in.args);
  }
  if (!fits)
    throw nb::value_error(
        (std::string("[") + function +
         "] got inputs of other types, expected arrays by position and by keyword, or one tuple "
         "or list of arrays, one dict of them, or both")
            .c_str());
  return in;
}

Arrays to_outputs(nb::handle result) {
  if (const array* a = as_array(result)) return {*a};
  Arrays out;
  if ((PyTuple_Check(result.ptr()) || PyList_Check(result.ptr())) && append_arrays(result, out)) return out;
  throw nb::value_error(
      "[export_function] the function returned something else, expected an array, or a tuple or list of "
      "arrays");
}

FunctionExporter::Function traced(nb::handle fun, const char* function) {
  if (!PyCallable_Check(fun.ptr())) bad_type({function, "fun", 2}, "callable", fun);
  return [held = keep(fun)](const Args& args, const Kwargs& kwargs) {
    nb::gil_scoped_acquire gil;
    nb::dict named;
    for (const auto& [name, value] : kwargs) named[name.c_str()] = wrap(value);
    return to_outputs(call_python(held.get(), wrap_tuple(args), named));
  };
}

// --- what the callback gets ---

nb::object to_python(const std::string& s) { return nb::str(s.c_str(), s.size()); }
nb::object to_python(const array& a) { return wrap(a); }
nb::object to_python(Dtype dtype) { return wrap(dtype); }
nb::object to_python(const Shape& shape) { return shape_tuple(shape); }
nb::object to_python(const core::StateT& state);
template <class A, class B>
nb::object to_python(const std::pair<A, B>& pair) {
  return nb::make_tuple(to_python(pair.first), to_python(pair.second));
}
nb::object to_python(const std::tuple<std::string, Shape, Dtype>& spec) {
  const auto& [name, shape, dtype] = spec;
  return nb::make_tuple(to_python(name), to_python(shape), to_python(dtype));
}
template <class T>
nb::object to_python(const std::vector<T>& list) {
  nb::list out;
  for (const T& item : list) out.append(to_python(item));
  return out;
}
nb::object to_python(const core::StateT& state) {
  return std::visit(
      []<class T>(const T& value) -> nb::object {
        if constexpr (std::is_same_v<T, bool>) {
          return nb::bool_(value);
        } else if constexpr (std::is_floating_point_v<T>) {
          return nb::float_(static_cast<double>(value));
        } else if constexpr (std::is_integral_v<T>) {
          return nb::int_(value);
        } else if constexpr (std::is_same_v<T, std::vector<int>> || std::is_same_v<T, core::Strides>) {
          nb::list out;
          for (const auto n : value) out.append(nb::int_(n));
          return out;
        } else {
          return to_python(value);
        }
      },
      state);
}

ExportCallback to_callback(nb::handle callback) {
  return [held = keep(callback)](const ExportCallbackInput& input) {
    nb::gil_scoped_acquire gil;
    nb::dict told;
    for (const auto& [key, value] : input)
      told[key.c_str()] = std::visit([](const auto& v) { return to_python(v); }, value);
    call_python(held.get(), nb::make_tuple(told), nb::object());
  };
}

void export_function(nb::handle file_or_callback, nb::handle fun, nb::args args, bool shapeless,
                     const std::optional<std::string>& metadata, nb::kwargs kwargs) {
  constexpr const char* kName = "export_function";
  auto function = traced(fun, kName);
  const Inputs in = to_inputs(args, kwargs, kName);
  if (const auto file = to_path(file_or_callback))
    return core::export_function(*file, function, in.args, in.kwargs, shapeless, metadata.value_or(""));
  if (!PyCallable_Check(file_or_callback.ptr()))
    bad_type({kName, "file_or_callback", 1}, "str, path or callable", file_or_callback);
  core::export_function(to_callback(file_or_callback), function, in.args, in.kwargs, shapeless);
}

FunctionExporter exporter(nb::handle file, nb::handle fun, bool shapeless,
                          const std::optional<std::string>& metadata) {
  auto function = traced(fun, "exporter");
  const auto path = to_path(file);
  if (!path) bad_type({"exporter", "file", 1}, "str or path", file);
  return core::exporter(*path, function, shapeless, metadata.value_or(""));
}

nb::object import_function(nb::handle file, bool return_metadata) {
  const auto path = to_path(file);
  if (!path) bad_type({"import_function", "file", 1}, "str or path", file);
  const auto load = [&] {
    nb::gil_scoped_release release;
    return core::import_function(*path);
  };
  const core::ImportedFunction imported = load();
  nb::object call = nb::cpp_function(
      [imported](nb::args args, nb::kwargs kwargs) {
        const Inputs in = to_inputs(args, kwargs, "import_function::call");
        return wrap_tuple(imported(in.args, in.kwargs));
      },
      "args"_a, "kwargs"_a, nb::name("imported_function"),
      nb::sig("def imported_function(*args: array, **kwargs: array) -> tuple[array, ...]"),
      "A function from a file. It takes the arrays that it was exported with, or of those kinds.");
  return return_metadata ? nb::object(nb::make_tuple(call, to_python(imported.metadata()))) : call;
}

}  // namespace

void init_export(Module& m) {
  m.def("export_function", &export_function, "file_or_callback"_a, "fun"_a, "args"_a, "shapeless"_a = false,
        "metadata"_a.none() = nb::none(), "kwargs"_a,
        nb::sig("def export_function(file_or_callback: str | Path | Callable[..., Any], fun: Callable[..., "
                "Any], *args: Any, "
                "shapeless: bool = "
                "False, metadata: str | None = None, **kwargs: Any) -> None"),
        R"(Writes the graph that a function makes of some arrays to a file, for :func:`import_function`.

The function is traced as by :func:`compile`: once, with placeholders of the arguments' shapes and dtypes. What does not
depend on them (weights, numbers from random keys) is computed and stored with the graph, so evaluated or not, every call
of the imported function sees the same values. Functions with derivatives of their own (:func:`custom_function`,
:func:`checkpoint`) become what they compute. The file is written beside the old one and then takes its place.

The format is this library's own: it has a version, holds the same on every machine, and is not the format of other
implementations of this interface.

Args:
  file_or_callback: a path; or a function, which is told of inputs, outputs, constants and operations, in that order, as
    dicts whose ``"type"`` is ``"inputs"``, ``"keyword_inputs"``, ``"outputs"``, ``"constants"`` or ``"primitive"``.
  fun: takes arrays and returns an array, or a tuple or list of arrays.
  *args: arrays; or one tuple or list of them, one dict of keyword arguments, or both.
  shapeless: the graph serves other sizes of the same numbers of dimensions. Operations with sizes among their parameters,
    such as a reshape, keep those.
  metadata: text to keep with the graph.
  **kwargs: arrays that ``fun`` gets by keyword.
Raises:
  ValueError: other inputs or outputs than these, or an operation that is none of the library's own.
  RuntimeError: the file cannot be written.)");
  m.def("exporter", &exporter, "file"_a, "fun"_a, nb::kw_only(), "shapeless"_a = false,
        "metadata"_a.none() = nb::none(),
        nb::sig("def exporter(file: str | Path, fun: Callable[..., Any], *, shapeless: bool = False, "
                "metadata: str | "
                "None = None) "
                "-> FunctionExporter"),
        R"(A context in which a function is exported for several kinds of arguments, into one file.

Each call of the :class:`FunctionExporter` adds a trace; arrays that several traces use are stored once. The file is
written at the end, unless the block is left by an exception: then an old file stays as it was.

Args:
  file: a path.
  fun, shapeless, metadata: as of :func:`export_function`.

Example:
  >>> with mx.exporter("double.mlxfn", lambda x: x * 2) as export:
  ...     export(mx.zeros(3))
  ...     export(mx.zeros((2, 3)))
  >>> mx.import_function("double.mlxfn")(mx.ones(3))
  (array([2, 2, 2], dtype=float32),))");
  m.def("import_function", &import_function, "file"_a, "return_metadata"_a = false,
        nb::sig("def import_function(file: str | Path, return_metadata: bool = False) -> Callable[..., "
                "tuple[array, ...]] | "
                "tuple[Callable[..., tuple[array, ...]], str]"),
        R"(The function that :func:`export_function` or :func:`exporter` wrote to a file.

It takes arrays as the exported function did (or one tuple or list of them, one dict, or both), picks the trace of their
shapes and dtypes, and returns a tuple of arrays. It builds graph like any function of arrays: transforms and
:func:`compile` apply to it. Operations run on the default device or stream of the caller, but for those that were exported
with a device of their own.

The file is checked completely but for the values of its arrays: files that are damaged, or made to do harm, raise errors.

Args:
  file: a path.
  return_metadata: return the text that was stored with the function, too.
Returns:
  The function, or a tuple of the function and a string.
Raises:
  RuntimeError: the file cannot be read, or it holds no functions of this format. Calls raise ValueError for arrays that
    match no trace.)");
  nb::class_<FunctionExporter>(m, "FunctionExporter", "What :func:`exporter` returns.")
      .def(
          "__call__",
          [](FunctionExporter& self, nb::args args, nb::kwargs kwargs) {
            const Inputs in = to_inputs(args, kwargs, "export_function");
            self(in.args, in.kwargs);
          },
          "args"_a, "kwargs"_a, nb::sig("def __call__(self, *args: Any, **kwargs: Any) -> None"),
          "Traces the function for these arguments. RuntimeError where it has a trace for such ones already, "
          "or after "
          ":meth:`close`.")
      .def(
          "close",
          [](FunctionExporter& self) {
            nb::gil_scoped_release release;
            self.close();
          },
          "Writes the file. Further calls do nothing.")
      .def(
          "__enter__", [](nb::object self) { return self; },
          nb::sig("def __enter__(self) -> FunctionExporter"))
      .def(
          "__exit__",
          [](FunctionExporter& self, nb::handle exc_type, nb::handle, nb::handle) {
            if (!exc_type.is_none()) return self.abandon();
            nb::gil_scoped_release release;
            self.close();
          },
          "exc_type"_a.none() = nb::none(), "exc_value"_a.none() = nb::none(),
          "traceback"_a.none() = nb::none(),
          nb::sig("def __exit__(self, exc_type: object | None = None, exc_value: object | None = None, "
                  "traceback: "
                  "object | None = None) -> None"));
}

}  // namespace mlx::python
