// What every binding file shares: names, the array type, and the functions that register the families.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "mlx/array.h"
#include "mlx/ops.h"
#include "mlx/utils.h"

namespace mlx::core::debug {
class NotFiniteError;
}

namespace nb = nanobind;
using namespace nb::literals;

namespace mlx::python {

using core::array;
using core::complex64_t;
using core::Dtype;
using core::Shape;
using core::ShapeElem;
using core::StreamOrDevice;
using Arrays = std::vector<array>;

// mlx.core.array, set while the module is initialised.
inline PyTypeObject* array_type = nullptr;

inline bool is_array(PyObject* o) {
  return Py_TYPE(o) == array_type || PyType_IsSubtype(Py_TYPE(o), array_type);
}
// Null where `o` is no array, or one whose __init__ has not run.
inline array* as_array(PyObject* o) {
  if (!is_array(o) || !nb::inst_ready(o)) return nullptr;
  return nb::inst_ptr<array>(o);
}
inline array* as_array(nb::handle o) { return as_array(o.ptr()); }
// A new Python array; shorter than a cast, which looks the type up.
inline nb::object wrap(array a) {
  nb::object o = nb::inst_alloc(reinterpret_cast<PyObject*>(array_type));
  new (nb::inst_ptr<array>(o)) array(std::move(a));
  nb::inst_mark_ready(o);
  return o;
}
// The class object, for files that add methods to it.
inline nb::class_<array> array_class() {
  return nb::borrow<nb::class_<array>>(reinterpret_cast<PyObject*>(array_type));
}
nb::list wrap_list(const Arrays& arrays);
nb::tuple wrap_tuple(const Arrays& arrays);

// The Python object of a dtype: one for each, so `is` works.
nb::object wrap(Dtype dtype);

// Sets the Python error that belongs to the C++ exception being handled.
void set_python_error() noexcept;
// Runs f; turns a C++ exception into a Python one. For functions that CPython calls directly.
template <class F>
PyObject* guarded(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

// Keeps a Python object alive from places that do not hold the GIL when they die, such as graph nodes.
std::shared_ptr<PyObject> keep(nb::handle object);

// The example of a function, as in `linalg.inv`, or nothing: the tables in examples_*.cpp.
const char* example_of(std::string_view name);
std::string with_example(const char* documentation, const char* example);

// A module whose functions get their examples behind their documentation.
class Module : public nb::module_ {
 public:
  explicit Module(nb::module_ m, std::string prefix = "")
      : nb::module_(std::move(m)), prefix_(std::move(prefix)) {}

  template <class F, class... Extra>
  Module& def(const char* name, F&& f, const Extra&... extra) {
    [[maybe_unused]] const char* example = nb::hasattr(*this, name) ? nullptr : example_of(prefix_ + name);
    [[maybe_unused]] std::string text;
    nb::module_::def(name, std::forward<F>(f), annotation(extra, example, text)...);
    return *this;
  }
  Module def_submodule(const char* name, const char* doc = nullptr) {
    return Module(nb::module_::def_submodule(name, doc), prefix_ + name + ".");
  }

 private:
  // The documentation is the one annotation that is text; nanobind copies it.
  template <class T>
  static decltype(auto) annotation(const T& extra, const char* example, std::string& text) {
    if constexpr (std::is_convertible_v<const T&, const char*>) {
      const char* doc = extra;
      if (!example) return doc;
      text = with_example(doc, example);
      return text.c_str();
    } else {
      return (extra);
    }
  }

  std::string prefix_;
};

void init_dtype(Module& m);
void init_device(Module& m);
void init_printing(Module& m);
void init_array(Module& m);
void init_elementwise(Module& m);
void init_binary(Module& m);
void init_creation(Module& m);
void init_shape(Module& m);
void init_gathering(Module& m);
void init_reduce(Module& m);
void init_sort(Module& m);
void init_searching(Module& m);
void init_statistics(Module& m);
void init_matmul(Module& m);
void init_quantized(Module& m);
void init_conv(Module& m);
void init_io(Module& m);
void init_random(Module& m);
void init_fast(Module& m);
void init_custom_kernel(Module& m);
void init_fft(Module& m);
void init_linalg(Module& m);
void init_transforms(Module& m);
void init_custom_function(Module& m);
void init_compile(Module& m);
void init_export(Module& m);
void init_eval(Module& m);
void init_inspect(Module& m);
void init_memory(Module& m);
void init_distributed(Module& m);
void init_array_api(Module& m);
void init_debug(Module& m);

// Raises the Python exception that belongs to what mx.debug.nan_check found.
void set_not_finite_error(const core::debug::NotFiniteError& error) noexcept;

}  // namespace mlx::python
