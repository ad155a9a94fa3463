// mlx.core.fast: kernels that a program brings along, in the languages of GPUs.
#include <string>

#include "mlx/fast.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

using core::fast::CompileOptions;
using core::fast::CustomKernelFunction;
using core::fast::ScalarArg;
using core::fast::TemplateArg;

// The items of a list or tuple; anything else is a TypeError.
std::vector<nb::object> items(nb::handle h, Where where, const char* expected) {
  if (!PyList_Check(h.ptr()) && !PyTuple_Check(h.ptr())) bad_type(where, expected, h);
  std::vector<nb::object> out;
  for (nb::handle item : h) out.push_back(nb::borrow(item));
  return out;
}
std::string to_text(nb::handle h, Where where) {
  if (!PyUnicode_Check(h.ptr())) bad_type(where, "str", h);
  return nb::cast<std::string>(h);
}
std::vector<std::string> to_names(nb::handle h, Where where) {
  std::vector<std::string> out;
  for (const nb::object& o : items(h, where, "a list of str")) out.push_back(to_text(o, where));
  return out;
}
std::tuple<int, int, int> to_triple(nb::handle h, Where where) {
  const auto three = items(h, where, "a tuple of three int");
  if (three.size() != 3) bad_type(where, "a tuple of three int", h);
  return {to_int(three[0], where), to_int(three[1], where), to_int(three[2], where)};
}
Arrays to_inputs(nb::handle h, const char* function) {
  const Where where{function, "inputs", 0};
  Arrays out;
  for (const nb::object& o : items(h, where, "a list of arrays or numbers"))
    out.push_back(to_array(o, where));
  return out;
}
std::vector<Shape> to_shapes(nb::handle h, const char* function) {
  const Where where{function, "output_shapes", 0};
  std::vector<Shape> out;
  for (const nb::object& o : items(h, where, "a list of shapes")) {
    Shape shape;
    for (const nb::object& n : items(o, where, "a list of shapes")) shape.push_back(to_int(n, where));
    out.push_back(shape);
  }
  return out;
}
std::vector<Dtype> to_dtypes(nb::handle h, const char* function) {
  const Where where{function, "output_dtypes", 0};
  std::vector<Dtype> out;
  for (const nb::object& o : items(h, where, "a list of Dtype")) {
    Dtype dtype = core::float32;
    if (!nb::try_cast(o, dtype)) bad_type(where, "Dtype", o);
    out.push_back(dtype);
  }
  return out;
}
std::optional<float> to_init(nb::handle h, const char* function) {
  if (h.is_none()) return std::nullopt;
  if (!PyFloat_Check(h.ptr()) && !PyLong_Check(h.ptr()))
    bad_type({function, "init_value", 0}, "None, int or float", h);
  return nb::cast<float>(h);
}

std::vector<std::pair<std::string, TemplateArg>> to_template(nb::handle h, const char* function) {
  std::vector<std::pair<std::string, TemplateArg>> out;
  if (h.is_none()) return out;
  const Where where{function, "template", 0};
  const char* expected = "a list of pairs of a name and a bool, int or Dtype";
  for (const nb::object& o : items(h, where, expected)) {
    const auto pair = items(o, where, expected);
    if (pair.size() != 2) bad_type(where, expected, o);
    const std::string name = to_text(pair[0], where);
    Dtype dtype = core::float32;
    if (PyBool_Check(pair[1].ptr()))
      out.emplace_back(name, nb::cast<bool>(pair[1]));
    else if (is_int(pair[1]))
      out.emplace_back(name, to_int(pair[1], where));
    else if (nb::try_cast(pair[1], dtype))
      out.emplace_back(name, dtype);
    else
      throw std::invalid_argument("[" + std::string(function) + "] got a " + Py_TYPE(pair[1].ptr())->tp_name +
                                  " for the template argument \"" + name +
                                  "\", expected a bool, int or Dtype");
  }
  return out;
}

CompileOptions to_options(nb::handle h) {
  CompileOptions out;
  if (h.is_none()) return out;
  if (!PyDict_Check(h.ptr()))
    throw std::invalid_argument("[metal_kernel] got compile_options of type " +
                                std::string(Py_TYPE(h.ptr())->tp_name) + ", expected a dict");
  for (auto [key, value] : nb::borrow<nb::dict>(h)) {
    const Where where{"metal_kernel", "compile_options", 8};
    const std::string name = to_text(key, where);
    if (name != "math_mode")
      throw std::invalid_argument("[metal_kernel] got the compile option \"" + name +
                                  "\", expected \"math_mode\"");
    const std::string mode = to_text(value, where);
    if (mode == "safe")
      out.math_mode = CompileOptions::MathMode::safe;
    else if (mode == "relaxed")
      out.math_mode = CompileOptions::MathMode::relaxed;
    else if (mode == "fast")
      out.math_mode = CompileOptions::MathMode::fast;
    else
      throw std::invalid_argument("[metal_kernel] got math_mode \"" + mode +
                                  "\", expected \"safe\", \"relaxed\" or \"fast\"");
  }
  return out;
}

constexpr const char* kCallDocument = R"(Run the kernel.

Args:
  inputs: arrays or numbers, one for each of the kernel's input names.
  output_shapes, output_dtypes: one for each of the output names.
  grid: how many threads, in three dimensions.
  threadgroup: how many of them share a group, in three dimensions; at most 1024.
  template: names with a bool, int or Dtype, which the source uses like template parameters.
  init_value: what the outputs hold before the kernel runs; ``None``: nothing defined.
  verbose: print the complete source.
  stream: where to run; ``None`` is the default stream of the GPU.
Returns:
  The outputs.
Raises:
  ValueError: the counts do not fit the names, or a number is out of range.   TypeError: an argument is of another type.
  RuntimeError: there is no device that runs such kernels.)";

nb::object wrap_kernel(CustomKernelFunction kernel, const char* function) {
  return nb::cpp_function(
      [kernel = std::move(kernel), function](nb::handle inputs, nb::handle shapes, nb::handle dtypes,
                                             nb::handle grid, nb::handle threadgroup, nb::handle template_,
                                             nb::handle init_value, bool verbose, StreamOrDevice s) {
        return wrap_list(kernel(to_inputs(inputs, function), to_shapes(shapes, function),
                                to_dtypes(dtypes, function), to_triple(grid, {function, "grid", 0}),
                                to_triple(threadgroup, {function, "threadgroup", 0}),
                                to_template(template_, function), to_init(init_value, function), verbose, s));
      },
      nb::kw_only(), "inputs"_a, "output_shapes"_a, "output_dtypes"_a, "grid"_a, "threadgroup"_a,
      "template"_a = nb::none(), "init_value"_a = nb::none(), "verbose"_a = false, "stream"_a = nb::none(),
      nb::sig("def __call__(self, *, inputs: list[scalar | array], output_shapes: list[Sequence[int]], "
              "output_dtypes: "
              "list[Dtype], grid: tuple[int, int, int], threadgroup: tuple[int, int, int], template: "
              "list[tuple[str, "
              "bool | int | Dtype]] | None = None, init_value: float | None = None, verbose: bool = False, "
              "stream: "
              "StreamOrDevice = None) -> list[array]"),
      kCallDocument);
}

std::vector<ScalarArg> to_scalars(nb::handle h, const char* function) {
  const Where where{function, "scalars", 0};
  std::vector<ScalarArg> out;
  for (const nb::object& o : items(h, where, "a list of bool, int or float")) {
    if (PyBool_Check(o.ptr()))
      out.emplace_back(nb::cast<bool>(o));
    else if (is_int(o))
      out.emplace_back(to_int(o, where));
    else if (PyFloat_Check(o.ptr()))
      out.emplace_back(nb::cast<float>(o));
    else
      throw std::invalid_argument("[" + std::string(function) + "] got a scalar of type " +
                                  Py_TYPE(o.ptr())->tp_name + ", expected bool, int or float");
  }
  return out;
}

std::string bytes_of(nb::handle h, Where where) {
  if (!PyBytes_Check(h.ptr())) bad_type(where, "bytes", h);
  return {PyBytes_AS_STRING(h.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(h.ptr()))};
}

}  // namespace

void init_custom_kernel(Module& parent) {
  Module m(nb::borrow<nb::module_>(parent.attr("fast")), "fast.");
  m.def(
      "metal_kernel",
      [](nb::handle name, nb::handle inputs, nb::handle outputs, nb::handle source, nb::handle header,
         bool contiguous, bool atomic, nb::handle options) {
        const char* f = "metal_kernel";
        return wrap_kernel(core::fast::metal_kernel(
                               to_text(name, {f, "name", 1}), to_names(inputs, {f, "input_names", 2}),
                               to_names(outputs, {f, "output_names", 3}), to_text(source, {f, "source", 4}),
                               to_text(header, {f, "header", 5}), contiguous, atomic, to_options(options)),
                           f);
      },
      "name"_a, "input_names"_a, "output_names"_a, "source"_a, "header"_a = "",
      "ensure_row_contiguous"_a = true, "atomic_outputs"_a = false, "compile_options"_a = nb::none(),
      nb::sig("def metal_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], source: "
              "str, header: "
              "str = '', ensure_row_contiguous: bool = True, atomic_outputs: bool = False, compile_options: "
              "object | "
              "None = None) -> object"),
      R"(A function that runs a kernel written in the Metal shading language.

Args:
  name: letters, digits and underscores.
  input_names, output_names: how the source calls its arguments. Beside each input ``x`` it may use ``x_shape``,
    ``x_strides`` and ``x_ndim``.
  source: the body of the kernel; the signature around it is made from the names.
  header: what stands before the function, such as includes and helpers.
  ensure_row_contiguous: copy inputs that are not row-contiguous before the kernel sees them.
  atomic_outputs: outputs are atomic.
  compile_options: ``{"math_mode": "safe" | "relaxed" | "fast"}``.
Returns:
  A function of ``inputs``, ``output_shapes``, ``output_dtypes``, ``grid``, ``threadgroup``, ``template``, ``init_value``,
  ``verbose`` and ``stream``, all by keyword, which gives the list of outputs. Calling it checks its arguments and raises
  RuntimeError where there is no Metal device.
Raises:
  ValueError: a name is no identifier or comes twice, there is no output or no source, or an unknown option.)");
  m.def(
      "cuda_kernel",
      [](nb::handle name, nb::handle inputs, nb::handle outputs, nb::handle source, nb::handle header,
         bool contiguous, int shared_memory) {
        const char* f = "cuda_kernel";
        return wrap_kernel(core::fast::cuda_kernel(
                               to_text(name, {f, "name", 1}), to_names(inputs, {f, "input_names", 2}),
                               to_names(outputs, {f, "output_names", 3}), to_text(source, {f, "source", 4}),
                               to_text(header, {f, "header", 5}), contiguous, shared_memory),
                           f);
      },
      "name"_a, "input_names"_a, "output_names"_a, "source"_a, "header"_a = "",
      "ensure_row_contiguous"_a = true, "shared_memory"_a = 0,
      nb::sig("def cuda_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], source: "
              "str, header: "
              "str = '', ensure_row_contiguous: bool = True, shared_memory: int = 0) -> object"),
      R"(A function that runs a kernel written in CUDA C++; see metal_kernel.

Args:
  name: letters, digits and underscores.
  input_names, output_names: how the source calls its arguments.
  source: the body of the kernel.
  header: what stands before the function.
  ensure_row_contiguous: copy inputs that are not row-contiguous.
  shared_memory: bytes for each group of threads.
Raises:
  ValueError: as metal_kernel.   RuntimeError: there is no CUDA device.)");
  m.def(
      "precompiled_cuda_kernel",
      [](nb::handle name, nb::handle compiled, nb::handle inputs, nb::handle shapes, nb::handle dtypes,
         nb::handle scalars, nb::handle grid, nb::handle threadgroup, int shared_memory,
         nb::handle init_value, bool contiguous, StreamOrDevice s) {
        const char* f = "precompiled_cuda_kernel";
        return wrap_list(core::fast::precompiled_cuda_kernel(
            to_text(name, {f, "name", 0}), bytes_of(compiled, {f, "compiled_source", 0}),
            to_inputs(inputs, f), to_shapes(shapes, f), to_dtypes(dtypes, f), to_scalars(scalars, f),
            to_triple(grid, {f, "grid", 0}), to_triple(threadgroup, {f, "threadgroup", 0}), shared_memory,
            to_init(init_value, f), contiguous, s));
      },
      nb::kw_only(), "name"_a, "compiled_source"_a, "inputs"_a, "output_shapes"_a, "output_dtypes"_a,
      "scalars"_a, "grid"_a, "threadgroup"_a, "shared_memory"_a = 0, "init_value"_a = nb::none(),
      "ensure_row_contiguous"_a = false, "stream"_a = nb::none(),
      nb::sig("def precompiled_cuda_kernel(*, name: str, compiled_source: bytes, inputs: Sequence[scalar | "
              "array], "
              "output_shapes: Sequence[tuple[int, ...]], output_dtypes: Sequence[Dtype], scalars: "
              "Sequence[object], grid: "
              "tuple[int, int, int], threadgroup: tuple[int, int, int], shared_memory: int = 0, init_value: "
              "float | None "
              "= None, ensure_row_contiguous: bool = False, stream: StreamOrDevice = None) -> list[array]"),
      R"(Run a CUDA kernel that was compiled before, from PTX or CUBIN.

Args:
  name: of the kernel's function.
  compiled_source: the compiled program.
  inputs: arrays or numbers, the first parameters of the function.
  output_shapes, output_dtypes: of the outputs, the next parameters.
  scalars: bool, int or float, the last parameters.
  grid, threadgroup: how many threads, and how many of them share a group, in three dimensions.
  shared_memory: bytes for each group of threads.
  init_value: what the outputs hold before the kernel runs; ``None``: nothing defined.
  ensure_row_contiguous: copy inputs that are not row-contiguous.
  stream: where to run; ``None`` is the default stream of the GPU.
Returns:
  The outputs.
Raises:
  ValueError: the counts do not fit, or a number is out of range.   RuntimeError: there is no CUDA device.)");
}

}  // namespace mlx::python
