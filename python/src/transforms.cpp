// grad, value_and_grad, vjp, jvp, vmap and checkpoint.
#include "mlx/transforms.h"

#include <algorithm>
#include <set>
#include <string>

#include "python/src/args.h"
#include "python/src/callable.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

// ---- gradients
// -------------------------------------------------------------------------------------------------

struct Wanted {
  std::vector<int> positions;
  std::vector<nb::object> names;
};

Wanted wanted_arguments(nb::handle argnums, nb::handle argnames, const char* function) {
  Wanted out;
  if (PyUnicode_Check(argnames.ptr())) {
    out.names.push_back(nb::borrow(argnames));
  } else {
    for (nb::handle name : argnames) {
      if (!PyUnicode_Check(name.ptr()))
        bad_type({function, "argnames", 3}, "str or a sequence of str", argnames);
      bool known = false;
      for (const nb::object& other : out.names) known |= other.equal(name);
      if (!known) out.names.push_back(nb::borrow(name));
    }
  }
  if (!argnums.is_none()) {
    out.positions = to_ints(argnums, {function, "argnums", 2});
  } else if (out.names.empty()) {
    out.positions = {0};
  }
  if (out.positions.empty() && out.names.empty())
    throw std::invalid_argument(std::string("[") + function +
                                "] no argument to differentiate with respect to is given");
  std::vector<int> sorted = out.positions;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] < 0)
      throw std::invalid_argument(std::string("[") + function + "] argument positions count from 0, got " +
                                  std::to_string(sorted[i]));
    if (i > 0 && sorted[i] == sorted[i - 1])
      throw std::invalid_argument(std::string("[") + function + "] argument position " +
                                  std::to_string(sorted[i]) + " is given twice");
  }
  return out;
}

// The scalar that is differentiated: the result, or the first element of a tuple.
const array& loss_of(nb::handle result, const char* function, bool tuples) {
  if (const array* a = as_array(result)) return *a;
  if (tuples && PyTuple_Check(result.ptr()) && PyTuple_GET_SIZE(result.ptr()) > 0)
    if (const array* a = as_array(PyTuple_GET_ITEM(result.ptr(), 0))) return *a;
  std::string got = Py_TYPE(result.ptr())->tp_name;
  if (tuples && PyTuple_Check(result.ptr()) && PyTuple_GET_SIZE(result.ptr()) > 0)
    got = "a tuple that begins with " + std::string(Py_TYPE(PyTuple_GET_ITEM(result.ptr(), 0))->tp_name);
  throw std::invalid_argument(std::string("[") + function + "] the function must return a scalar array" +
                              (tuples ? " or a tuple that begins with one" : "") + ", but it returned " +
                              got);
}

// The function's value, and the gradients as the caller asked for them.
std::pair<nb::object, nb::object> differentiate(const Wanted& wanted, nb::handle fun, nb::handle args,
                                                nb::handle kwargs, const char* function, bool tuples) {
  const Py_ssize_t n = PyTuple_GET_SIZE(args.ptr());
  for (int i : wanted.positions)
    if (i >= n)
      throw std::invalid_argument(std::string("[") + function + "] the gradient of argument " +
                                  std::to_string(i) + " is asked for, but the function was called with " +
                                  std::to_string(n) + " positional arguments");
  Arrays primals;
  for (int i : wanted.positions) flatten_only_arrays(PyTuple_GET_ITEM(args.ptr(), i), primals, function);
  for (const nb::object& name : wanted.names) {
    PyObject* value = kwargs.ptr() ? PyDict_GetItemWithError(kwargs.ptr(), name.ptr()) : nullptr;
    if (!value)
      throw std::invalid_argument(std::string("[") + function + "] the gradient of argument '" +
                                  nb::cast<std::string>(name) +
                                  "' is asked for, but the function was called without it by name");
    flatten_only_arrays(value, primals, function);
  }

  nb::object structure;
  auto traced = [&](const Arrays& tracers) {
    size_t next = 0;
    nb::object inputs = nb::steal(PyTuple_New(n));
    for (Py_ssize_t i = 0; i < n; ++i)
      PyTuple_SET_ITEM(inputs.ptr(), i, Py_NewRef(PyTuple_GET_ITEM(args.ptr(), i)));
    for (int i : wanted.positions) {
      nb::object tree = replace_arrays(PyTuple_GET_ITEM(args.ptr(), i), tracers, next);
      PyObject* old = PyTuple_GET_ITEM(inputs.ptr(), i);
      PyTuple_SET_ITEM(inputs.ptr(), i, tree.release().ptr());
      Py_DECREF(old);
    }
    nb::object named;
    if (kwargs.ptr()) {
      named = nb::steal(PyDict_Copy(kwargs.ptr()));
      for (const nb::object& name : wanted.names) {
        nb::object tree = replace_arrays(PyDict_GetItem(kwargs.ptr(), name.ptr()), tracers, next);
        if (PyDict_SetItem(named.ptr(), name.ptr(), tree.ptr()) != 0) throw nb::python_error();
      }
    }
    nb::object result = call_python(fun, inputs, named);
    Arrays outputs{loss_of(result, function, tuples)};
    if (is_array(result.ptr())) return outputs;
    outputs.clear();
    flatten_arrays(result, outputs);
    structure = structure_of(result);
    return outputs;
  };
  std::vector<int> all(primals.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  auto [values, grads] = core::value_and_grad(core::ArrayFunction(traced), all)(primals);

  size_t next = 0;
  nb::object value = structure ? from_structure(structure, values, next) : wrap(values[0]);
  next = 0;
  nb::object positional = nb::none();
  if (wanted.positions.size() == 1) {
    positional = replace_arrays(PyTuple_GET_ITEM(args.ptr(), wanted.positions[0]), grads, next);
  } else if (!wanted.positions.empty()) {
    nb::list parts;
    for (int i : wanted.positions) parts.append(replace_arrays(PyTuple_GET_ITEM(args.ptr(), i), grads, next));
    positional = nb::tuple(parts);
  }
  if (wanted.names.empty()) return {value, positional};
  nb::dict named;
  for (const nb::object& name : wanted.names)
    named[name] = replace_arrays(PyDict_GetItem(kwargs.ptr(), name.ptr()), grads, next);
  return {value, nb::make_tuple(positional, named)};
}

nb::object grad(nb::object fun, nb::handle argnums, nb::handle argnames, bool with_value) {
  const char* function = with_value ? "value_and_grad" : "grad";
  check_callable(fun, function);
  Wanted wanted = wanted_arguments(argnums, argnames, function);
  Transformed t;
  t.fun = std::move(fun);
  t.call = [wanted = std::move(wanted), function, with_value](Transformed& self, nb::handle args,
                                                              nb::handle kwargs) {
    auto [value, grads] = differentiate(wanted, self.fun, args, kwargs, function, with_value);
    return with_value ? nb::object(nb::make_tuple(value, grads)) : grads;
  };
  return make_transformed(std::move(t));
}

// ---- vjp and jvp
// -----------------------------------------------------------------------------------------------

// A function of arrays from a Python function that takes them as arguments and returns one array or several.
core::ArrayFunction array_function(nb::handle fun, const char* function) {
  return [fun, function](const Arrays& inputs) {
    nb::object result = call_python(fun, wrap_tuple(inputs), {});
    if (const array* a = as_array(result)) return Arrays{*a};
    if (!PyTuple_Check(result.ptr()) && !PyList_Check(result.ptr()))
      throw std::invalid_argument(std::string("[") + function +
                                  "] the function must return an array, or a list or tuple "
                                  "of arrays, but it returned " +
                                  Py_TYPE(result.ptr())->tp_name);
    return to_arrays(result, {function, "the function's result", 0});
  };
}

nb::tuple both(const std::pair<Arrays, Arrays>& r) {
  return nb::make_tuple(wrap_list(r.first), wrap_list(r.second));
}

// ---- vmap
// ------------------------------------------------------------------------------------------------------

constexpr int kShared = -1;

// One axis per array of the tree: `axes` is an int, None, or a tree whose leaves stand for whole branches.
void match_axes(nb::handle axes, nb::handle tree, std::vector<int>& out, bool inputs, int depth = 0) {
  PyObject* a = axes.ptr();
  PyObject* t = tree.ptr();
  const char* what = inputs ? "in_axes" : "out_axes";
  if (depth > 1000) throw std::invalid_argument("[vmap] the arguments nest too deeply");
  if (is_array(t)) {
    if (a == Py_None) return out.push_back(kShared);
    int64_t axis;
    if (!read_int64(a, axis))
      throw std::invalid_argument(std::string("[vmap] ") + what +
                                  " must be an int, None or a tree of these; it has a " +
                                  Py_TYPE(a)->tp_name + " where the other tree has an array");
    const array& x = *as_array(t);
    const auto ndim = static_cast<int64_t>(x.ndim());
    if (axis < -ndim || axis >= ndim)
      throw std::out_of_range(std::string("[vmap] axis ") + std::to_string(axis) +
                              " is out of range for an " + (inputs ? "argument" : "output") + " with " +
                              std::to_string(ndim) + " dimensions");
    return out.push_back(static_cast<int>(axis < 0 ? axis + ndim : axis));
  }
  const bool branch = PyList_Check(a) || PyTuple_Check(a) || PyDict_Check(a);
  auto mismatch = [&]() {
    throw std::invalid_argument(std::string("[vmap] ") + what + " does not have the structure of the " +
                                (inputs ? "arguments" : "outputs"));
  };
  if (PyDict_Check(t)) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    if (branch && !PyDict_Check(a)) mismatch();
    if (branch && PyDict_Size(a) != PyDict_Size(t)) mismatch();
    while (PyDict_Next(t, &at, &key, &value)) {
      PyObject* part = branch ? PyDict_GetItem(a, key) : a;
      if (!part) mismatch();
      match_axes(part, value, out, inputs, depth + 1);
    }
  } else if (PyList_Check(t) || PyTuple_Check(t)) {
    nb::object items = nb::steal(PySequence_Tuple(t));
    const Py_ssize_t n = PyTuple_GET_SIZE(items.ptr());
    nb::object parts;
    if (branch) {
      if (PyDict_Check(a)) mismatch();
      parts = nb::steal(PySequence_Tuple(a));
      if (PyTuple_GET_SIZE(parts.ptr()) != n) mismatch();
    }
    for (Py_ssize_t i = 0; i < n; ++i)
      match_axes(branch ? PyTuple_GET_ITEM(parts.ptr(), i) : a, PyTuple_GET_ITEM(items.ptr(), i), out, inputs,
                 depth + 1);
  } else {
    throw std::invalid_argument(std::string("[vmap] expected trees of arrays only, but one leaf of the ") +
                                (inputs ? "arguments" : "outputs") + " is of type " + Py_TYPE(t)->tp_name);
  }
}

nb::object map_call(Transformed& self, nb::handle args, nb::handle kwargs) {
  if (kwargs.ptr() && PyDict_Size(kwargs.ptr()) > 0)
    throw nb::type_error("[vmap] a mapped function takes no arguments by name");
  nb::handle in_axes = self.held[0];
  nb::handle out_axes = self.held[1];
  // A tree for the only argument may be given without a tuple around it.
  const bool only =
      PyTuple_GET_SIZE(args.ptr()) == 1 && (PyDict_Check(in_axes.ptr()) || PyList_Check(in_axes.ptr()));
  std::vector<int> axes;
  match_axes(in_axes, only ? nb::handle(PyTuple_GET_ITEM(args.ptr(), 0)) : args, axes, true);
  Arrays inputs;
  flatten_only_arrays(args, inputs, "vmap");

  nb::object structure;
  auto traced = [&](const Arrays& tracers) {
    size_t next = 0;
    nb::object result = call_python(self.fun, replace_arrays(args, tracers, next), {});
    Arrays outputs;
    flatten_only_arrays(result, outputs, "vmap");
    structure = structure_of(result);
    return outputs;
  };
  Arrays outputs = core::vmap(core::ArrayFunction(traced), axes)(inputs);
  size_t next = 0;
  nb::object result = from_structure(structure, outputs, next);
  if (PyLong_Check(out_axes.ptr()) && to_int(out_axes, {"vmap", "out_axes", 3}) == 0) return result;
  // All outputs carry the batch first; move it where it was asked for.
  std::vector<int> targets;
  match_axes(out_axes, result, targets, false);
  for (size_t i = 0; i < outputs.size(); ++i) {
    array& y = outputs[i];
    y = targets[i] == kShared ? core::take(y, 0, 0) : core::moveaxis(y, 0, targets[i]);
  }
  next = 0;
  return from_structure(structure, outputs, next);
}

// ---- checkpoint
// ------------------------------------------------------------------------------------------------

nb::object checkpointed_call(Transformed& self, nb::handle args, nb::handle kwargs) {
  Arrays inputs;
  flatten_arrays(args, inputs);
  if (kwargs.ptr()) flatten_arrays(kwargs, inputs);
  // The graph holds what recomputes the outputs: it may die on a thread without the GIL.
  struct Held {
    nb::object fun, args, kwargs, structure;
  };
  std::shared_ptr<Held> held(
      new Held{self.fun, structure_of(args), kwargs.ptr() ? structure_of(kwargs) : nb::object(), {}},
      [](Held* h) {
        if (!Py_IsInitialized()) return;
        nb::gil_scoped_acquire gil;
        delete h;
      });
  auto traced = [held](const Arrays& in) {
    nb::gil_scoped_acquire gil;
    size_t next = 0;
    nb::object positional = from_structure(held->args, in, next);
    nb::object named = held->kwargs ? from_structure(held->kwargs, in, next) : nb::object();
    nb::object result = call_python(held->fun, positional, named);
    Arrays outputs;
    flatten_arrays(result, outputs);
    if (!held->structure) held->structure = structure_of(result);
    return outputs;
  };
  Arrays outputs = core::checkpoint(traced)(inputs);
  size_t next = 0;
  return from_structure(held->structure, outputs, next);
}

}  // namespace

void init_transforms(Module& m) {
  init_callable(m);
  m.def(
      "grad",
      [](nb::object fun, nb::handle argnums, nb::handle argnames) {
        return grad(std::move(fun), argnums, argnames, false);
      },
      "fun"_a, "argnums"_a = nb::none(), "argnames"_a = nb::list(),
      nb::sig("def grad(fun: Callable[P, R], argnums: int | Sequence[int] | None = None, "
              "argnames: str | Sequence[str] = []) -> Callable[P, Any]"),
      R"(A function that computes the gradient of ``fun``.

Args:
  fun: returns an array without dimensions (or with one element).
  argnums: the positional arguments to differentiate with respect to: trees of arrays. ``None`` is the first one, or none
    where ``argnames`` are given.
  argnames: arguments by name to differentiate with respect to.
Returns:
  A function of the same arguments. It returns a tree like the argument; a tuple of trees for several arguments; where
  there are ``argnames`` a pair of that (or ``None``) and a dict.
Raises:
  ValueError: an argument holds something else than arrays, or ``fun`` returns no scalar.)");
  m.def(
      "value_and_grad",
      [](nb::object fun, nb::handle argnums, nb::handle argnames) {
        return grad(std::move(fun), argnums, argnames, true);
      },
      "fun"_a, "argnums"_a = nb::none(), "argnames"_a = nb::list(),
      nb::sig("def value_and_grad(fun: Callable[P, R], argnums: int | Sequence[int] | None = None, "
              "argnames: str | Sequence[str] = []) -> Callable[P, tuple[R, Any]]"),
      R"(A function that computes the value of ``fun`` and its gradient.

Args:
  fun: returns a scalar array, or a tuple that begins with one; the rest is passed through.
  argnums, argnames: as for grad.
Returns:
  A function of the same arguments that returns the value of ``fun`` and what grad would return.
Raises:
  ValueError: an argument holds something else than arrays, or ``fun`` returns no scalar.)");
  m.def(
      "vjp",
      [](nb::handle fun, nb::handle primals, nb::handle cotangents) {
        check_callable(fun, "vjp");
        return both(core::vjp(array_function(fun, "vjp"), to_arrays(primals, {"vjp", "primals", 2}),
                              to_arrays(cotangents, {"vjp", "cotangents", 3})));
      },
      "fun"_a, "primals"_a, "cotangents"_a,
      nb::sig("def vjp(fun: Callable[..., Any], primals: list[array], cotangents: list[array]) -> "
              "tuple[list[array], "
              "list[array]]"),
      R"(The product of cotangents with the Jacobian of a function, ``v^T J``.

Args:
  fun: takes the primals as arguments, returns an array or several.
  primals: where to evaluate.
  cotangents: one for each output, of its shape.
Returns:
  The outputs, and one product for each primal.
Raises:
  ValueError: the cotangents do not match the outputs.)");
  m.def(
      "jvp",
      [](nb::handle fun, nb::handle primals, nb::handle tangents) {
        check_callable(fun, "jvp");
        return both(core::jvp(array_function(fun, "jvp"), to_arrays(primals, {"jvp", "primals", 2}),
                              to_arrays(tangents, {"jvp", "tangents", 3})));
      },
      "fun"_a, "primals"_a, "tangents"_a,
      nb::sig("def jvp(fun: Callable[..., Any], primals: list[array], tangents: list[array]) -> "
              "tuple[list[array], "
              "list[array]]"),
      R"(The product of the Jacobian of a function with tangents, ``J v``.

Args:
  fun: takes the primals as arguments, returns an array or several.
  primals: where to evaluate.
  tangents: one for each primal, of its shape.
Returns:
  The outputs, and one product for each output.
Raises:
  ValueError: the tangents do not match the primals.)");
  m.def(
      "vmap",
      [](nb::object fun, nb::object in_axes, nb::object out_axes) {
        check_callable(fun, "vmap");
        Transformed t;
        t.fun = std::move(fun);
        t.held[0] = std::move(in_axes);
        t.held[1] = std::move(out_axes);
        t.call = map_call;
        return make_transformed(std::move(t));
      },
      "fun"_a, "in_axes"_a.none() = 0, "out_axes"_a.none() = 0,
      nb::sig("def vmap(fun: Callable[P, R], in_axes: object = 0, out_axes: object = 0) -> Callable[P, R]"),
      R"(A function that maps ``fun`` over an axis of its arguments, as a loop would, in one go.

Args:
  fun: takes and returns trees of arrays.
  in_axes: the axis to map over: an int for all arguments, or a tuple with one entry per argument, each an int, ``None``
    (the argument is shared) or a tree of these.
  out_axes: where the mapped axis lies in the outputs, in the same form.
Returns:
  A function of the same positional arguments, each mapped one with the additional axis.
Raises:
  ValueError: sizes of the mapped axes differ, or a structure does not match.   IndexError: an axis is out of range.)");
  m.def(
      "checkpoint",
      [](nb::object fun) {
        check_callable(fun, "checkpoint");
        Transformed t;
        t.fun = std::move(fun);
        t.call = checkpointed_call;
        return make_transformed(std::move(t));
      },
      "fun"_a, nb::sig("def checkpoint(fun: Callable[P, R]) -> Callable[P, R]"),
      R"(``fun`` with its intermediate results computed again for the gradient instead of kept: less memory, more work.

Args:
  fun: takes and returns trees of arrays.
Source: Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.)");
}

}  // namespace mlx::python
