#include "python/src/trees.h"

#include "python/src/random_state.h"

namespace mlx::python {
namespace {

constexpr int kMaxDepth = 1000;

[[noreturn]] void too_deep() {
  throw std::invalid_argument("[tree] lists, tuples and dicts nest too deeply, or contain themselves");
}

// Calls leaf(PyObject*) for all that is no container.
template <class Leaf>
void visit(PyObject* o, Leaf&& leaf, int depth = 0) {
  if (is_array(o)) return leaf(o);
  if (depth > kMaxDepth) too_deep();
  if (PyDict_Check(o)) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(o, &at, &key, &value)) visit(value, leaf, depth + 1);
  } else if (PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); ++i) visit(PyList_GET_ITEM(o, i), leaf, depth + 1);
  } else if (PyTuple_Check(o)) {
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(o); i < n; ++i)
      visit(PyTuple_GET_ITEM(o, i), leaf, depth + 1);
  } else {
    leaf(o);
  }
}

// A new tree with leaf(PyObject*) -> nb::object in place of each leaf.
template <class Leaf>
nb::object map(PyObject* o, Leaf&& leaf, int depth = 0) {
  if (is_array(o)) return leaf(o);
  if (depth > kMaxDepth) too_deep();
  if (PyDict_Check(o)) {
    nb::dict out;
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(o, &at, &key, &value)) {
      nb::object mapped = map(value, leaf, depth + 1);
      if (PyDict_SetItem(out.ptr(), key, mapped.ptr()) != 0) throw nb::python_error();
    }
    return out;
  }
  if (PyList_Check(o)) {
    const Py_ssize_t n = PyList_GET_SIZE(o);
    nb::object out = nb::steal(PyList_New(n));
    if (!out) throw nb::python_error();
    for (Py_ssize_t i = 0; i < n; ++i)
      PyList_SET_ITEM(out.ptr(), i, map(PyList_GET_ITEM(o, i), leaf, depth + 1).release().ptr());
    return out;
  }
  if (PyTuple_Check(o)) {
    const Py_ssize_t n = PyTuple_GET_SIZE(o);
    nb::object out = nb::steal(PyTuple_New(n));
    if (!out) throw nb::python_error();
    for (Py_ssize_t i = 0; i < n; ++i)
      PyTuple_SET_ITEM(out.ptr(), i, map(PyTuple_GET_ITEM(o, i), leaf, depth + 1).release().ptr());
    return tuple_like(o, std::move(out));
  }
  return leaf(o);
}

// Stands for an array in a structure.
PyObject* marker() {
  static PyObject* object = PyCapsule_New(&object, "mlx.array", nullptr);
  return object;
}

}  // namespace

bool is_marker(nb::handle h) { return h.ptr() == marker(); }

nb::object tuple_like(nb::handle like, nb::object items) {
  if (PyTuple_CheckExact(like.ptr())) return items;
  nb::handle type(reinterpret_cast<PyObject*>(Py_TYPE(like.ptr())));
  if (nb::hasattr(type, "_make")) return type.attr("_make")(items);
  return items;
}

void flatten_arrays(nb::handle tree, Arrays& out, bool with_random_state) {
  visit(tree.ptr(), [&](PyObject* o) {
    if (const array* a = as_array(o)) {
      out.push_back(*a);
    } else if (with_random_state && is_random_state(o)) {
      out.push_back(random_state_key());
    }
  });
}

void flatten_only_arrays(nb::handle tree, Arrays& out, const char* function) {
  visit(tree.ptr(), [&](PyObject* o) {
    const array* a = as_array(o);
    if (!a)
      throw std::invalid_argument(std::string("[") + function +
                                  "] expected a tree of arrays only, but one leaf is of type " +
                                  Py_TYPE(o)->tp_name);
    out.push_back(*a);
  });
}

nb::object replace_arrays(nb::handle tree, const Arrays& arrays, size_t& next) {
  return map(tree.ptr(), [&](PyObject* o) { return is_array(o) ? wrap(arrays.at(next++)) : nb::borrow(o); });
}

nb::object structure_of(nb::handle tree) {
  return map(tree.ptr(), [&](PyObject* o) { return nb::borrow(is_array(o) ? marker() : o); });
}

nb::object from_structure(nb::handle structure, const Arrays& arrays, size_t& next) {
  if (is_marker(structure)) return wrap(arrays.at(next++));
  return map(structure.ptr(),
             [&](PyObject* o) { return is_marker(o) ? wrap(arrays.at(next++)) : nb::borrow(o); });
}

}  // namespace mlx::python
