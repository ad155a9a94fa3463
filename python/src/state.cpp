// Trees that a compiled function reads and writes besides its arguments, and the keys of its traces.
#include <bit>
#include <cstring>
#include <unordered_set>

#include "python/src/random_state.h"
#include "python/src/trees.h"

namespace mlx::python {

namespace {

void snapshot(PyObject* o, std::vector<Snapshot>& out, std::unordered_set<PyObject*>& seen) {
  if (is_array(o)) return;
  if (PyTuple_Check(o)) {
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(o); i < n; ++i) snapshot(PyTuple_GET_ITEM(o, i), out, seen);
    return;
  }
  const bool is_dict = PyDict_Check(o);
  if ((!is_dict && !PyList_Check(o)) || !seen.insert(o).second) return;
  nb::object copy = nb::steal(is_dict ? PyDict_Copy(o) : PyList_GetSlice(o, 0, PyList_GET_SIZE(o)));
  if (!copy) throw nb::python_error();
  out.push_back({nb::borrow(o), copy});
  if (is_dict) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(copy.ptr(), &at, &key, &value)) snapshot(value, out, seen);
  } else {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(copy.ptr()); ++i)
      snapshot(PyList_GET_ITEM(copy.ptr(), i), out, seen);
  }
}

void set_dict_item(PyObject* dict, PyObject* key, nb::handle value) {
  if (PyDict_SetItem(dict, key, value.ptr()) != 0) throw nb::python_error();
}

void set_list_item(PyObject* list, Py_ssize_t i, nb::object value) {
  if (PyList_SetItem(list, i, value.release().ptr()) != 0) throw nb::python_error();
}

// What replaces a value in its container; containers are updated in place.
nb::object assigned(PyObject* value, const Arrays& arrays, size_t& next) {
  if (is_array(value)) return wrap(arrays.at(next++));
  if (PyTuple_Check(value)) {
    const Py_ssize_t n = PyTuple_GET_SIZE(value);
    nb::object items = nb::steal(PyTuple_New(n));
    for (Py_ssize_t i = 0; i < n; ++i)
      PyTuple_SET_ITEM(items.ptr(), i, assigned(PyTuple_GET_ITEM(value, i), arrays, next).release().ptr());
    return tuple_like(value, std::move(items));
  }
  assign_arrays(value, arrays, next);
  return nb::borrow(value);
}

nb::object restructured(PyObject* live, PyObject* structure, const Arrays& arrays, size_t& next) {
  if (is_marker(structure)) return wrap(arrays.at(next++));
  const bool both_dicts = PyDict_Check(structure) && live && PyDict_Check(live);
  const bool both_lists = PyList_Check(structure) && live && PyList_Check(live);
  if (both_dicts || both_lists) {
    assign_structure(live, structure, arrays, next);
    return nb::borrow(live);
  }
  if (PyTuple_Check(structure)) {
    const Py_ssize_t n = PyTuple_GET_SIZE(structure);
    const bool pairs = live && PyTuple_Check(live) && PyTuple_GET_SIZE(live) == n;
    nb::object items = nb::steal(PyTuple_New(n));
    for (Py_ssize_t i = 0; i < n; ++i)
      PyTuple_SET_ITEM(items.ptr(), i,
                       restructured(pairs ? PyTuple_GET_ITEM(live, i) : nullptr,
                                    PyTuple_GET_ITEM(structure, i), arrays, next)
                           .release()
                           .ptr());
    return tuple_like(structure, std::move(items));
  }
  if (is_random_state(structure)) {
    set_random_state_key(arrays.at(next++));
    return nb::borrow(structure);
  }
  if (PyDict_Check(structure) || PyList_Check(structure)) return from_structure(structure, arrays, next);
  return nb::borrow(structure);
}

enum Tag : uint64_t {
  kArray = 1,
  kNone,
  kBool,
  kInt,
  kBigInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kDict,
  kRandom,
  kOther
};

void append_text(PyObject* o, std::vector<uint64_t>& key) {
  Py_ssize_t n;
  const char* text = PyUnicode_AsUTF8AndSize(o, &n);
  if (!text) throw nb::python_error();
  key.push_back(static_cast<uint64_t>(n));
  for (Py_ssize_t i = 0; i < n; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text + i, static_cast<size_t>(std::min<Py_ssize_t>(8, n - i)));
    key.push_back(word);
  }
}

}  // namespace

void take_snapshot(nb::handle tree, std::vector<Snapshot>& out) {
  std::unordered_set<PyObject*> seen;
  for (const Snapshot& s : out) seen.insert(s.container.ptr());
  snapshot(tree.ptr(), out, seen);
}

void restore(const std::vector<Snapshot>& snapshots) {
  for (const Snapshot& s : snapshots) {
    PyObject* o = s.container.ptr();
    if (PyDict_Check(o)) {
      PyDict_Clear(o);
      if (PyDict_Update(o, s.copy.ptr()) != 0) throw nb::python_error();
    } else if (PyList_SetSlice(o, 0, PyList_GET_SIZE(o), s.copy.ptr()) != 0) {
      throw nb::python_error();
    }
  }
}

void assign_arrays(nb::handle tree, const Arrays& arrays, size_t& next) {
  PyObject* o = tree.ptr();
  if (array* a = as_array(o)) {
    a->overwrite_descriptor(arrays.at(next++));  // the tree is an array: nothing holds it but its name
  } else if (PyDict_Check(o)) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    // Replacing the value of a key that is there keeps the dict's order and the iteration valid.
    while (PyDict_Next(o, &at, &key, &value)) {
      nb::object next_value = assigned(value, arrays, next);
      if (next_value.ptr() != value) set_dict_item(o, key, next_value);
    }
  } else if (PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); ++i) {
      PyObject* value = PyList_GET_ITEM(o, i);
      nb::object next_value = assigned(value, arrays, next);
      if (next_value.ptr() != value) set_list_item(o, i, std::move(next_value));
    }
  } else if (PyTuple_Check(o)) {
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(o); i < n; ++i)
      assign_arrays(PyTuple_GET_ITEM(o, i), arrays, next);
  } else if (is_random_state(o)) {
    set_random_state_key(arrays.at(next++));
  }
}

void assign_structure(nb::handle tree, nb::handle structure, const Arrays& arrays, size_t& next) {
  PyObject* o = tree.ptr();
  PyObject* s = structure.ptr();
  if (is_marker(s)) {
    if (array* a = as_array(o)) a->overwrite_descriptor(arrays.at(next++));
  } else if (PyDict_Check(s) && PyDict_Check(o)) {
    PyObject *key, *part;
    Py_ssize_t at = 0;
    while (PyDict_Next(s, &at, &key, &part)) {
      PyObject* live = PyDict_GetItemWithError(o, key);
      if (!live && PyErr_Occurred()) throw nb::python_error();
      nb::object value = restructured(live, part, arrays, next);
      if (value.ptr() != live) set_dict_item(o, key, value);
    }
    if (PyDict_Size(o) != PyDict_Size(s)) {  // the function removed keys
      nb::list keys = nb::steal<nb::list>(PyDict_Keys(o));
      for (nb::handle k : keys)
        if (PyDict_Contains(s, k.ptr()) == 0 && PyDict_DelItem(o, k.ptr()) != 0) throw nb::python_error();
    }
  } else if (PyList_Check(s) && PyList_Check(o)) {
    const Py_ssize_t n = PyList_GET_SIZE(s);
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* live = i < PyList_GET_SIZE(o) ? PyList_GET_ITEM(o, i) : nullptr;
      nb::object value = restructured(live, PyList_GET_ITEM(s, i), arrays, next);
      if (!live) {
        if (PyList_Append(o, value.ptr()) != 0) throw nb::python_error();
      } else if (value.ptr() != live) {
        set_list_item(o, i, std::move(value));
      }
    }
    if (PyList_GET_SIZE(o) > n && PyList_SetSlice(o, n, PyList_GET_SIZE(o), nullptr) != 0)
      throw nb::python_error();
  } else if (PyTuple_Check(s) && PyTuple_Check(o) && PyTuple_GET_SIZE(s) == PyTuple_GET_SIZE(o)) {
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(s); i < n; ++i)
      assign_structure(PyTuple_GET_ITEM(o, i), PyTuple_GET_ITEM(s, i), arrays, next);
  } else if (is_random_state(s)) {
    set_random_state_key(arrays.at(next++));
  }
}

void append_key(nb::handle tree, std::vector<uint64_t>& key, const char* function, bool ignore_others) {
  PyObject* o = tree.ptr();
  if (is_array(o)) {
    key.push_back(kArray);
  } else if (o == Py_None) {
    key.push_back(kNone);
  } else if (PyDict_Check(o)) {
    key.push_back(kDict);
    key.push_back(static_cast<uint64_t>(PyDict_Size(o)));
    PyObject *k, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(o, &at, &k, &value)) {
      append_key(k, key, function, ignore_others);
      append_key(value, key, function, ignore_others);
    }
  } else if (PyList_Check(o)) {
    key.push_back(kList);
    key.push_back(static_cast<uint64_t>(PyList_GET_SIZE(o)));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); ++i)
      append_key(PyList_GET_ITEM(o, i), key, function, ignore_others);
  } else if (PyTuple_Check(o)) {
    key.push_back(kTuple);
    key.push_back(static_cast<uint64_t>(PyTuple_GET_SIZE(o)));
    if (!PyTuple_CheckExact(o)) key.push_back(reinterpret_cast<uint64_t>(Py_TYPE(o)));
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(o); i < n; ++i)
      append_key(PyTuple_GET_ITEM(o, i), key, function, ignore_others);
  } else if (PyBool_Check(o)) {
    key.push_back(kBool);
    key.push_back(o == Py_True);
  } else if (PyLong_Check(o)) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
    key.push_back(overflow ? kBigInt : kInt);
    if (overflow) {
      append_text(nb::str(nb::handle(o)).ptr(), key);
    } else {
      key.push_back(static_cast<uint64_t>(value));
    }
  } else if (PyFloat_Check(o)) {
    key.push_back(kFloat);
    key.push_back(std::bit_cast<uint64_t>(PyFloat_AS_DOUBLE(o)));
  } else if (PyComplex_Check(o)) {
    const Py_complex c = PyComplex_AsCComplex(o);
    for (const uint64_t word :
         {uint64_t{kFloat}, std::bit_cast<uint64_t>(c.real), std::bit_cast<uint64_t>(c.imag)})
      key.push_back(word);
  } else if (PyUnicode_Check(o)) {
    key.push_back(kText);
    append_text(o, key);
  } else if (is_random_state(o)) {
    key.push_back(kRandom);
  } else if (nb::isinstance<Dtype>(o)) {
    key.push_back(kOther);
    key.push_back(static_cast<uint64_t>(nb::cast<Dtype>(nb::handle(o)).val()));
  } else if (ignore_others) {
    key.push_back(kOther);
  } else {
    throw std::invalid_argument(
        std::string("[") + function +
        "] arguments must be trees of arrays, numbers, text, dtypes or None, but one leaf is "
        "of type " +
        Py_TYPE(o)->tp_name);
  }
}

}  // namespace mlx::python
