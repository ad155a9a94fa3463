// custom_function: a Python function with derivatives and batching rules written in Python.
#include "mlx/transforms.h"
#include "python/src/args.h"
#include "python/src/callable.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

struct CustomFunction {
  nb::object fun, vjp, jvp, vmap;
};

// One call: what the rules need to see the arrays as the function's arguments were. Graph nodes hold it,
// which may die on a thread without the GIL.
struct Held {
  nb::object fun, vjp, jvp, vmap, args, kwargs, structure;

  nb::object call(nb::handle f, nb::object rule_args) const {
    return call_python(f, rule_args,
                       kwargs.is_valid() && PyDict_Size(kwargs.ptr()) > 0 ? kwargs : nb::object());
  }
};
using HeldPtr = std::shared_ptr<Held>;

// A single argument is handed to rules as it is, several as a tuple.
nb::object unpacked(nb::object args) {
  if (PyTuple_GET_SIZE(args.ptr()) != 1) return args;
  return nb::borrow(PyTuple_GET_ITEM(args.ptr(), 0));
}

nb::object arguments(const Held& h, const Arrays& arrays) {
  size_t next = 0;
  return unpacked(from_structure(h.args, arrays, next));
}

nb::object outputs_of(const Held& h, const Arrays& arrays) {
  size_t next = 0;
  return from_structure(h.structure, arrays, next);
}

// A structure with leaf(i) for the i-th array.
template <class Leaf>
nb::object filled(nb::handle structure, size_t& next, Leaf&& leaf) {
  PyObject* o = structure.ptr();
  if (is_marker(o)) return leaf(next++);
  if (PyDict_Check(o)) {
    nb::dict out;
    for (auto [key, value] : nb::borrow<nb::dict>(structure)) out[key] = filled(value, next, leaf);
    return out;
  }
  if (!PyList_Check(o) && !PyTuple_Check(o)) return nb::borrow(structure);
  nb::list out;
  for (nb::handle item : structure) out.append(filled(item, next, leaf));
  return PyList_Check(o) ? nb::object(out) : tuple_like(structure, nb::tuple(out));
}

core::CustomVjp vjp_rule(const HeldPtr& held) {
  return [held](const Arrays& primals, const Arrays& cotangents, const Arrays& outputs) {
    nb::gil_scoped_acquire gil;
    nb::object result = held->call(
        held->vjp,
        nb::make_tuple(arguments(*held, primals), outputs_of(*held, cotangents), outputs_of(*held, outputs)));
    Arrays grads;
    flatten_arrays(result, grads);
    return grads;
  };
}

core::CustomJvp jvp_rule(const HeldPtr& held) {
  return [held](const Arrays& primals, const Arrays& tangents, const std::vector<int>& argnums) {
    nb::gil_scoped_acquire gil;
    std::vector<nb::object> by_argument(primals.size(), nb::none());
    for (size_t i = 0; i < argnums.size(); ++i)
      by_argument[static_cast<size_t>(argnums[i])] = wrap(tangents[i]);
    size_t next = 0;
    nb::object of_args = unpacked(filled(held->args, next, [&](size_t i) { return by_argument[i]; }));
    nb::object result = held->call(held->jvp, nb::make_tuple(arguments(*held, primals), of_args));
    Arrays out;
    flatten_arrays(result, out);
    return out;
  };
}

// The axes of a rule's outputs: an int for all, or a tree like the outputs'.
void output_axes(nb::handle axes, nb::handle result, std::vector<int>& out) {
  if (is_array(result.ptr())) {
    out.push_back(axes.is_none() ? -1 : to_int(axes, {"custom_function", "the vmap rule's output axes", 0}));
  } else if (PyDict_Check(result.ptr())) {
    for (auto [key, value] : nb::borrow<nb::dict>(result))
      output_axes(PyDict_Check(axes.ptr()) ? nb::object(axes[key]) : nb::borrow(axes), value, out);
  } else if (PyList_Check(result.ptr()) || PyTuple_Check(result.ptr())) {
    const bool branch = PyList_Check(axes.ptr()) || PyTuple_Check(axes.ptr());
    if (branch && nb::len(axes) != nb::len(result))
      throw std::invalid_argument("[custom_function] the vmap rule returned " +
                                  std::to_string(nb::len(axes)) + " axes for " +
                                  std::to_string(nb::len(result)) + " outputs");
    for (size_t i = 0; i < nb::len(result); ++i)
      output_axes(branch ? nb::object(axes[i]) : nb::borrow(axes), nb::object(result[i]), out);
  }
}

core::CustomVmap vmap_rule(const HeldPtr& held) {
  return [held](const Arrays& inputs, const std::vector<int>& axes) {
    nb::gil_scoped_acquire gil;
    size_t next = 0;
    nb::object of_args = unpacked(filled(held->args, next, [&](size_t i) -> nb::object {
      if (axes[i] < 0) return nb::none();
      return nb::int_(axes[i]);
    }));
    nb::object result = held->call(held->vmap, nb::make_tuple(arguments(*held, inputs), of_args));
    if (!PyTuple_Check(result.ptr()) || PyTuple_GET_SIZE(result.ptr()) != 2)
      throw std::invalid_argument("[custom_function] the vmap rule must return a tuple (outputs, axes)");
    std::pair<Arrays, std::vector<int>> out;
    flatten_arrays(result[0], out.first);
    output_axes(nb::object(result[1]), nb::object(result[0]), out.second);
    return out;
  };
}

nb::object call(const CustomFunction& f, nb::args args, nb::kwargs kwargs) {
  Arrays inputs;
  flatten_arrays(args, inputs);
  HeldPtr held(new Held{f.fun, f.vjp, f.jvp, f.vmap, structure_of(args), nb::borrow(kwargs), {}},
               [](Held* h) {
                 if (!Py_IsInitialized()) return;
                 nb::gil_scoped_acquire gil;
                 delete h;
               });
  auto traced = [held](const Arrays& in) {
    nb::gil_scoped_acquire gil;
    size_t next = 0;
    nb::object result = held->call(held->fun, from_structure(held->args, in, next));
    Arrays outputs;
    flatten_arrays(result, outputs);
    if (!held->structure) held->structure = structure_of(result);
    return outputs;
  };
  std::optional<core::CustomVjp> vjp;
  std::optional<core::CustomJvp> jvp;
  std::optional<core::CustomVmap> vmap;
  if (f.vjp) vjp = vjp_rule(held);
  if (f.jvp) jvp = jvp_rule(held);
  if (f.vmap) vmap = vmap_rule(held);
  if (!vjp && !jvp && !vmap) return call_python(f.fun, args, kwargs);
  Arrays outputs = core::custom_function(traced, vjp, jvp, vmap)(inputs);
  size_t next = 0;
  return from_structure(held->structure, outputs, next);
}

nb::object rule_setter(CustomFunction& f, nb::object CustomFunction::* rule, nb::object fun,
                       const char* name) {
  check_callable(fun, name);
  f.*rule = fun;
  return fun;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  const CustomFunction& f = *nb::inst_ptr<CustomFunction>(nb::handle(self));
  for (const nb::object* o : {&f.fun, &f.vjp, &f.jvp, &f.vmap}) Py_VISIT(o->ptr());
  return 0;
}

int clear(PyObject* self) {
  CustomFunction& f = *nb::inst_ptr<CustomFunction>(nb::handle(self));
  for (nb::object* o : {&f.fun, &f.vjp, &f.jvp, &f.vmap}) o->reset();
  return 0;
}

const PyType_Slot kSlots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(clear)},
                              {0, nullptr}};

}  // namespace

void init_custom_function(Module& m) {
  nb::class_<CustomFunction>(
      m, "custom_function", nb::type_slots(kSlots), nb::is_weak_referenceable(),
      R"(A function with derivatives and a batching rule of one's own. To be used as a decorator.

A rule that is not given is derived from the function. Rules get arguments by name that the call had.

Args:
  f: takes and returns trees of arrays.

Example::

  @mx.custom_function
  def square(x):
      return x * x

  @square.vjp
  def square_vjp(primals, cotangent, output):
      return 2 * primals * cotangent)")
      .def(
          "__init__",
          [](CustomFunction* self, nb::object f) {
            check_callable(f, "custom_function");
            new (self) CustomFunction{std::move(f), {}, {}, {}};
          },
          "f"_a, nb::sig("def __init__(self, f: Callable[..., Any]) -> None"))
      .def("__call__", &call, nb::sig("def __call__(self, *args: Any, **kwargs: Any) -> Any"))
      .def_prop_ro("__wrapped__", [](const CustomFunction& f) { return f.fun; })
      .def(
          "vjp",
          [](CustomFunction& self, nb::object f) {
            return rule_setter(self, &CustomFunction::vjp, f, "vjp");
          },
          "f"_a, nb::sig("def vjp(self, f: F) -> F"),
          R"(Sets the rule for reverse-mode derivatives.

Args:
  f: ``f(primals, cotangents, outputs)`` returns one gradient for each argument. The primals are a tuple, or the argument
    itself where there is only one; cotangents and outputs have the structure of the function's result.)")
      .def(
          "jvp",
          [](CustomFunction& self, nb::object f) {
            return rule_setter(self, &CustomFunction::jvp, f, "jvp");
          },
          "f"_a, nb::sig("def jvp(self, f: F) -> F"),
          R"(Sets the rule for forward-mode derivatives.

Args:
  f: ``f(primals, tangents)`` returns the tangents of the outputs. ``None`` stands for an argument without a tangent.)")
      .def(
          "vmap",
          [](CustomFunction& self, nb::object f) {
            return rule_setter(self, &CustomFunction::vmap, f, "vmap");
          },
          "f"_a, nb::sig("def vmap(self, f: F) -> F"),
          R"(Sets the batching rule.

Args:
  f: ``f(inputs, axes)`` returns ``(outputs, output_axes)``. ``None`` stands for an argument that is shared.)");
}

}  // namespace mlx::python
