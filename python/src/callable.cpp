#include "python/src/callable.h"

#include "python/src/args.h"

namespace mlx::python {
namespace {

PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    Transformed& t = *nb::inst_ptr<Transformed>(nb::handle(self));
    if (!t.fun) throw nb::type_error("the transformed function has been cleared");
    nb::object alive = nb::borrow(self);  // the call may drop the last reference to this object
    return t.call(t, args, kwargs).release().ptr();
  });
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  Transformed& t = *nb::inst_ptr<Transformed>(nb::handle(self));
  Py_VISIT(t.fun.ptr());
  for (const nb::object& o : t.held) Py_VISIT(o.ptr());
  return 0;
}

int clear(PyObject* self) {
  Transformed& t = *nb::inst_ptr<Transformed>(nb::handle(self));
  t.fun.reset();
  for (nb::object& o : t.held) o.reset();
  return 0;
}

const PyType_Slot kSlots[] = {
    {Py_tp_call, reinterpret_cast<void*>(call)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {0, nullptr},
};

}  // namespace

nb::object make_transformed(Transformed t) { return nb::cast(std::move(t)); }

void check_callable(nb::handle fun, const char* function) {
  if (!PyCallable_Check(fun.ptr())) bad_type({function, "fun", 1}, "callable", fun);
}

nb::object call_python(nb::handle fun, nb::handle args, nb::handle kwargs) {
  nb::object result = nb::steal(PyObject_Call(fun.ptr(), args.ptr(), kwargs.ptr()));
  if (!result) throw nb::python_error();
  return result;
}

void init_callable(Module& m) {
  nb::class_<Transformed>(m, "_Transformed", nb::type_slots(kSlots), nb::is_weak_referenceable(),
                          "A function that a transform made from another, which is its ``__wrapped__``.")
      .def_prop_ro("__wrapped__", [](const Transformed& t) { return t.fun; })
      // Called for what this class has not: __name__, and whatever the function's author attached to it.
      .def("__getattr__",
           [](const Transformed& t, nb::handle name) { return nb::object(nb::getattr(t.fun, name)); });
}

}  // namespace mlx::python
