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

void init_dtype(nb::module_& m);
void init_device(nb::module_& m);
void init_printing(nb::module_& m);
void init_array(nb::module_& m);
void init_elementwise(nb::module_& m);
void init_binary(nb::module_& m);
void init_creation(nb::module_& m);
void init_shape(nb::module_& m);
void init_gathering(nb::module_& m);
void init_reduce(nb::module_& m);
void init_sort(nb::module_& m);
void init_searching(nb::module_& m);
void init_statistics(nb::module_& m);
void init_matmul(nb::module_& m);
void init_quantized(nb::module_& m);
void init_conv(nb::module_& m);
void init_io(nb::module_& m);
void init_random(nb::module_& m);
void init_fast(nb::module_& m);
void init_custom_kernel(nb::module_& m);
void init_fft(nb::module_& m);
void init_linalg(nb::module_& m);
void init_transforms(nb::module_& m);
void init_custom_function(nb::module_& m);
void init_compile(nb::module_& m);
void init_export(nb::module_& m);
void init_eval(nb::module_& m);
void init_inspect(nb::module_& m);
void init_memory(nb::module_& m);
void init_distributed(nb::module_& m);
void init_array_api(nb::module_& m);
void init_debug(nb::module_& m);

// Raises the Python exception that belongs to what mx.debug.nan_check found.
void set_not_finite_error(const core::debug::NotFiniteError& error) noexcept;

}  // namespace mlx::python
