#include "python/src/args.h"

#include <limits>

#include "mlx/debug.h"
#include "python/src/convert.h"

namespace mlx::python {

void bad_type(Where where, const char* expected, nb::handle got) {
  std::string text = std::string(where.function) + "(): argument '" + where.argument + "'";
  if (where.position > 0) text += " (position " + std::to_string(where.position) + ")";
  text += std::string(" must be ") + expected + ", not " + Py_TYPE(got.ptr())->tp_name;
  if (!PyType_Check(got.ptr()) && nb::hasattr(got, "dtype")) {
    const nb::object dtype = got.attr("dtype");
    text += std::string(" with dtype ") + nb::str(nb::handle(dtype)).c_str();
  }
  throw nb::type_error(text.c_str());
}

bool read_int64(PyObject* o, int64_t& out) {
  if (PyLong_Check(o)) {
    int overflow = 0;
    out = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) {
      PyErr_SetString(PyExc_OverflowError, "an integer argument does not fit into 64 bits");
      throw nb::python_error();
    }
    return true;
  }
  if (PyFloat_Check(o) || !PyIndex_Check(o)) return false;
  PyObject* index = PyNumber_Index(o);
  if (!index) {
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
      PyErr_Clear();
      return false;
    }
    throw nb::python_error();
  }
  nb::object owner = nb::steal(index);
  return read_int64(index, out);
}

bool is_int(nb::handle h) {
  // Array types of other libraries have __index__ too, for what has one element; they are sequences besides.
  PyObject* o = h.ptr();
  return PyLong_Check(o) || (!is_array(o) && !PyFloat_Check(o) && PyIndex_Check(o) && !PySequence_Check(o));
}

namespace {

int narrow(int64_t value, Where where) {
  if (value > std::numeric_limits<int>::max() || value < std::numeric_limits<int>::min()) {
    const std::string text = std::string("[") + where.function + "] argument '" + where.argument +
                             "': " + std::to_string(value) + " does not fit into 32 bits";
    PyErr_SetString(PyExc_OverflowError, text.c_str());
    throw nb::python_error();
  }
  return static_cast<int>(value);
}

// Calls f(int) for each element of a sequence of ints.
template <class F>
void each_int(nb::handle h, Where where, const char* expected, F&& f) {
  int64_t value;
  auto one = [&](PyObject* item) {
    if (!read_int64(item, value)) bad_type(where, expected, h);
    f(narrow(value, where));
  };
  if (PyTuple_Check(h.ptr())) {
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(h.ptr()); i < n; ++i) one(PyTuple_GET_ITEM(h.ptr(), i));
  } else if (PyList_Check(h.ptr())) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(h.ptr()); ++i) one(PyList_GET_ITEM(h.ptr(), i));
  } else if (read_int64(h.ptr(), value)) {
    f(narrow(value, where));
  } else if (PySequence_Check(h.ptr()) && !PyUnicode_Check(h.ptr()) && !PyBytes_Check(h.ptr())) {
    nb::object items = nb::steal(PySequence_Tuple(h.ptr()));
    if (!items) throw nb::python_error();
    for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(items.ptr()); i < n; ++i)
      one(PyTuple_GET_ITEM(items.ptr(), i));
  } else {
    bad_type(where, expected, h);
  }
}

}  // namespace

int to_int(nb::handle h, Where where) {
  int64_t value;
  if (!read_int64(h.ptr(), value)) bad_type(where, "int", h);
  return narrow(value, where);
}

std::vector<int> to_ints(nb::handle h, Where where) {
  std::vector<int> out;
  each_int(h, where, "int or a sequence of ints", [&](int i) { out.push_back(i); });
  return out;
}

Shape to_shape(nb::handle h, Where where) {
  Shape out;
  each_int(h, where, "int or a sequence of ints", [&](int i) { out.push_back(i); });
  return out;
}

std::optional<std::vector<int>> to_axes(nb::handle h, const char* function, int position) {
  if (h.is_none()) return std::nullopt;
  std::vector<int> out;
  each_int(h, {function, "axis", position}, "None, int or a sequence of ints",
           [&](int i) { out.push_back(i); });
  return out;
}

std::vector<int> to_ints_n(nb::handle h, size_t n, Where where) {
  std::vector<int> out = to_ints(h, where);
  if (is_int(h)) out.resize(n, out[0]);
  if (out.size() == 1 && n > 1) out.resize(n, out[0]);
  if (out.size() != n)
    throw std::invalid_argument(std::string("[") + where.function + "] argument '" + where.argument +
                                "' takes 1 or " + std::to_string(n) + " values, but " +
                                std::to_string(out.size()) + " were given");
  return out;
}

std::optional<int> to_axis(nb::handle h, const char* function, int position) {
  if (h.is_none()) return std::nullopt;
  int64_t value;
  const Where where{function, "axis", position};
  if (!read_int64(h.ptr(), value)) bad_type(where, "None or int", h);
  return narrow(value, where);
}

ArrayArg to_array(nb::handle h, Where where) {
  if (const array* a = as_array(h)) return ArrayArg(*a);
  if (std::optional<array> made = from_scalar(h.ptr())) return ArrayArg(std::move(*made));
  if (std::optional<array> made = from_array_like(h)) return ArrayArg(std::move(*made));
  bad_type(where, "array", h);
}

std::optional<array> to_optional_array(nb::handle h, Where where) {
  if (h.is_none()) return std::nullopt;
  return to_array(h, where).get();
}

std::pair<ArrayArg, ArrayArg> to_operands(nb::handle a, nb::handle b, const char* function) {
  const array* pa = as_array(a);
  const array* pb = as_array(b);
  const Where first{function, "a", 1};
  const Where second{function, "b", 2};
  if (pa && pb) return {ArrayArg(*pa), ArrayArg(*pb)};
  auto other = [](const array& x, nb::handle h, Where where) {
    if (std::optional<array> made = from_scalar(h.ptr(), x.dtype())) return ArrayArg(std::move(*made));
    return to_array(h, where);
  };
  if (pa) return {ArrayArg(*pa), other(*pa, b, second)};
  if (pb) return {other(*pb, a, first), ArrayArg(*pb)};
  ArrayArg left = to_array(a, first);
  // Two scalars: both keep their own kind. A scalar beside an array-like follows the array-like.
  if (is_scalar(a.ptr()) && !is_scalar(b.ptr())) {
    ArrayArg right = to_array(b, second);
    return {other(right.get(), a, first), right};
  }
  if (is_scalar(b.ptr()) && !is_scalar(a.ptr())) {
    ArrayArg right = other(left.get(), b, second);
    return {std::move(left), std::move(right)};
  }
  ArrayArg right = to_array(b, second);
  return {std::move(left), std::move(right)};
}

Arrays to_arrays(nb::handle h, Where where) {
  Arrays out;
  if (is_array(h.ptr()) || !PySequence_Check(h.ptr()) || PyUnicode_Check(h.ptr()))
    bad_type(where, "a list or tuple of arrays", h);
  nb::object items = nb::steal(PySequence_Fast(h.ptr(), "expected a sequence of arrays"));
  if (!items) throw nb::python_error();
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(items.ptr());
  out.reserve(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    nb::handle item = PySequence_Fast_GET_ITEM(items.ptr(), i);
    if (const array* a = as_array(item)) {
      out.push_back(*a);
    } else if (std::optional<array> s = from_scalar(item.ptr())) {
      out.push_back(std::move(*s));
    } else if (std::optional<array> like = from_array_like(item)) {
      out.push_back(std::move(*like));
    } else {
      const std::string text = std::string(where.function) + "(): element " + std::to_string(i) +
                               " of argument '" + where.argument + "' must be array, not " +
                               Py_TYPE(item.ptr())->tp_name;
      throw nb::type_error(text.c_str());
    }
  }
  return out;
}

nb::tuple shape_tuple(const Shape& shape) {
  nb::object t = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(shape.size())));
  for (size_t i = 0; i < shape.size(); ++i)
    PyTuple_SET_ITEM(t.ptr(), static_cast<Py_ssize_t>(i), PyLong_FromLong(shape[i]));
  return nb::borrow<nb::tuple>(t);
}

nb::list wrap_list(const Arrays& arrays) {
  nb::list out;
  for (const array& a : arrays) out.append(wrap(a));
  return out;
}

nb::tuple wrap_tuple(const Arrays& arrays) {
  nb::object t = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(arrays.size())));
  for (size_t i = 0; i < arrays.size(); ++i)
    PyTuple_SET_ITEM(t.ptr(), static_cast<Py_ssize_t>(i), wrap(arrays[i]).release().ptr());
  return nb::borrow<nb::tuple>(t);
}

void set_python_error() noexcept {
  try {
    throw;
  } catch (nb::python_error& e) {
    e.restore();
  } catch (const core::debug::NotFiniteError& e) {
    set_not_finite_error(e);
  } catch (const nb::builtin_exception& e) {
    PyObject* type = PyExc_RuntimeError;
    switch (e.type()) {
      case nb::exception_type::type_error:
        type = PyExc_TypeError;
        break;
      case nb::exception_type::value_error:
        type = PyExc_ValueError;
        break;
      case nb::exception_type::index_error:
        type = PyExc_IndexError;
        break;
      case nb::exception_type::key_error:
        type = PyExc_KeyError;
        break;
      case nb::exception_type::attribute_error:
        type = PyExc_AttributeError;
        break;
      case nb::exception_type::buffer_error:
        type = PyExc_BufferError;
        break;
      case nb::exception_type::import_error:
        type = PyExc_ImportError;
        break;
      case nb::exception_type::stop_iteration:
        type = PyExc_StopIteration;
        break;
      default:
        break;
    }
    PyErr_SetString(type, e.what());
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::domain_error& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::length_error& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::overflow_error& e) {
    PyErr_SetString(PyExc_OverflowError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "an exception of unknown type was thrown");
  }
}

std::shared_ptr<PyObject> keep(nb::handle object) {
  object.inc_ref();
  return {object.ptr(), [](PyObject* o) {
            if (!Py_IsInitialized()) return;  // the interpreter is gone: so is the object
            nb::gil_scoped_acquire gil;
            Py_DECREF(o);
          }};
}

}  // namespace mlx::python
