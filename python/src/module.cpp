// The module mlx.core.
#include "python/src/bind.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "mlx/graph/interrupt.h"

namespace mlx::python {
namespace {

// Operations and transforms evaluate with the GIL held: a[mask] has to count, compile computes constants.
void* release_gil() { return Py_IsInitialized() && PyGILState_Check() ? PyEval_SaveThread() : nullptr; }
void acquire_gil(void* state) { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); }

// Ctrl-C stops an evaluation: its thread holds no GIL, and only the main thread gets signals.
void answer_signals() {
  if (!core::is_main_thread()) return;
  nb::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

// reprlib looks a type's method up by its name, takes our array for array.array's, and asks for its truth.
void teach_reprlib() {
  nb::object repr = nb::module_::import_("reprlib").attr("Repr");
  repr.attr("repr_array") = nb::cpp_function(
      [of_python = nb::object(repr.attr("repr_array"))](nb::handle self, nb::handle x, nb::handle level) {
        return is_array(x.ptr()) ? self.attr("repr_instance")(x, level) : of_python(self, x, level);
      },
      nb::is_method(), "x"_a, "level"_a);
}

void init_constants(Module& m) {
  m.attr("pi") = std::numbers::pi;
  m.attr("e") = std::numbers::e;
  m.attr("euler_gamma") = std::numbers::egamma;
  m.attr("inf") = std::numeric_limits<double>::infinity();
  m.attr("nan") = std::numeric_limits<double>::quiet_NaN();
  m.attr("newaxis") = nb::none();
}

}  // namespace

NB_MODULE(core, module) {
  Module m(std::move(module));
  m.doc() = "Arrays, the operations on them, and the transforms of functions of arrays.";
  // Arrays that live in module globals of the user's program outlive the extension's own teardown check.
  nb::set_leak_warnings(false);
  init_constants(m);
  init_dtype(m);
  init_device(m);
  init_printing(m);
  init_array(m);
  teach_reprlib();
  init_elementwise(m);
  init_binary(m);
  init_creation(m);
  init_shape(m);
  init_gathering(m);
  init_reduce(m);
  init_sort(m);
  init_searching(m);
  init_statistics(m);
  init_matmul(m);
  init_quantized(m);
  init_conv(m);
  init_io(m);
  init_random(m);
  init_fast(m);
  init_custom_kernel(m);
  init_fft(m);
  init_linalg(m);
  init_eval(m);
  init_inspect(m);
  init_transforms(m);
  init_custom_function(m);
  init_compile(m);
  init_export(m);
  init_memory(m);
  init_distributed(m);
  init_array_api(m);
  init_debug(m);
  core::set_interrupt_check(&answer_signals);
  core::set_outer_lock({release_gil, acquire_gil});
}

}  // namespace mlx::python
