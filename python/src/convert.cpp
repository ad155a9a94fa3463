#include "python/src/convert.h"

#include <bit>
#include <cmath>
#include <limits>

#include "mlx/transforms.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

// A NumPy scalar, without importing numpy: its type lives in the module "numpy".
bool is_numpy_scalar(PyObject* o) {
  PyTypeObject* t = Py_TYPE(o);
  if (std::strncmp(t->tp_name, "numpy.", 6) != 0 || !t->tp_as_number) return false;
  return std::strcmp(t->tp_name, "numpy.ndarray") != 0;
}

enum class Kind { none, boolean, integer, real, complex };

Kind kind_of(PyObject* o) {
  if (PyFloat_Check(o)) return Kind::real;
  if (PyBool_Check(o)) return Kind::boolean;
  if (PyLong_Check(o)) return Kind::integer;
  if (PyComplex_Check(o)) return Kind::complex;
  if (!is_numpy_scalar(o)) return Kind::none;
  const char* name = Py_TYPE(o)->tp_name + 6;
  auto starts = [&](const char* s) { return std::strncmp(name, s, std::strlen(s)) == 0; };
  if (starts("bool")) return Kind::boolean;
  if (starts("complex") || starts("clongdouble")) return Kind::complex;
  if (starts("float") || starts("half") || starts("double") || starts("single") || starts("longdouble"))
    return Kind::real;
  if (starts("int") || starts("uint") || starts("long") || starts("ulong") || starts("short") ||
      starts("byte"))
    return Kind::integer;
  return Kind::none;
}

struct Int {
  int64_t value = 0;
  bool is_unsigned = false;  // value holds the bits of a uint64 above 2^63 - 1
};

Int read_int(PyObject* o) {
  nb::object owner;
  if (!PyLong_Check(o)) {
    owner = nb::steal(PyNumber_Index(o));
    if (!owner) throw nb::python_error();
    o = owner.ptr();
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (!overflow) return {value, false};
  if (overflow > 0) {
    const unsigned long long big = PyLong_AsUnsignedLongLong(o);
    if (!(big == static_cast<unsigned long long>(-1) && PyErr_Occurred()))
      return {static_cast<int64_t>(big), true};
    PyErr_Clear();
  }
  PyErr_SetString(PyExc_OverflowError, "[array] the int is too large: integers have at most 64 bits");
  throw nb::python_error();
}

double read_double(PyObject* o) {
  const double value = PyFloat_AsDouble(o);
  if (value == -1.0 && PyErr_Occurred()) throw nb::python_error();
  return value;
}

complex64_t read_complex(PyObject* o) {
  const Py_complex c = PyComplex_AsCComplex(o);
  if (c.real == -1.0 && PyErr_Occurred()) throw nb::python_error();
  return complex64_t(static_cast<float>(c.real), static_cast<float>(c.imag));
}

bool read_bool(PyObject* o) {
  const int value = PyObject_IsTrue(o);
  if (value < 0) throw nb::python_error();
  return value != 0;
}

bool is_integral(Dtype d) { return d.val() >= Dtype::Val::uint8 && d.val() <= Dtype::Val::int64; }

Dtype int_dtype(Int i) {
  if (i.is_unsigned) return core::uint64;
  return i.value >= std::numeric_limits<int32_t>::min() && i.value <= std::numeric_limits<int32_t>::max()
             ? core::int32
             : core::int64;
}

array int_array(Int i, Dtype dtype) {
  return i.is_unsigned ? array(static_cast<uint64_t>(i.value), dtype) : array(i.value, dtype);
}

bool fits(Int i, Dtype d) {
  if (!is_integral(d)) return true;
  const int bits = d.size() * 8;
  const bool is_signed = d.val() >= Dtype::Val::int8;
  if (i.is_unsigned) return d == core::uint64;
  if (!is_signed) return i.value >= 0 && (bits == 64 || (static_cast<uint64_t>(i.value) >> bits) == 0);
  if (bits == 64) return true;
  const int64_t limit = int64_t{1} << (bits - 1);
  return i.value >= -limit && i.value < limit;
}

}  // namespace

bool is_scalar(PyObject* o) { return kind_of(o) != Kind::none; }

std::optional<array> from_scalar(PyObject* o) {
  switch (kind_of(o)) {
    case Kind::boolean:
      return array(read_bool(o));
    case Kind::integer: {
      const Int i = read_int(o);
      return int_array(i, int_dtype(i));
    }
    case Kind::real:
      return array(read_double(o), core::float32);
    case Kind::complex:
      return array(read_complex(o));
    default:
      return std::nullopt;
  }
}

std::optional<array> from_scalar(PyObject* o, Dtype like) {
  switch (kind_of(o)) {
    case Kind::boolean:
      return array(read_bool(o), like);
    case Kind::integer: {
      const Int i = read_int(o);
      if (like == core::bool_) return int_array(i, int_dtype(i));
      if (!fits(i, like)) {
        const std::string value = nb::str(nb::handle(o)).c_str();
        throw std::invalid_argument("the int " + value + " is outside the range of " +
                                    core::dtype_name(like) + ", the dtype of the array that it meets");
      }
      return int_array(i, like);
    }
    case Kind::real:
      return array(read_double(o), core::promote_to_float(like));
    case Kind::complex:
      return array(read_complex(o));
    default:
      return std::nullopt;
  }
}

std::optional<array> from_array_like(nb::handle h, bool keep_double) {
  if (PyUnicode_Check(h.ptr()) || PyList_Check(h.ptr()) || PyTuple_Check(h.ptr())) return std::nullopt;
  if (PyObject_CheckBuffer(h.ptr()))
    if (std::optional<array> a = from_buffer(h, false, keep_double)) return a;
  if (PyType_Check(h.ptr())) return std::nullopt;
  if (nb::hasattr(h, "__mlx_array__")) {
    nb::object made = h.attr("__mlx_array__")();
    if (const array* a = as_array(made)) return *a;
    throw nb::type_error("__mlx_array__() must return an array");
  }
  // ml_dtypes.bfloat16 has no buffer format: its bits travel as uint16.
  if (nb::hasattr(h, "dtype") && nb::hasattr(h, "view") &&
      nb::str(h.attr("dtype")).equal(nb::str("bfloat16"))) {
    nb::object bits = h.attr("view")("uint16");
    if (std::optional<array> a = from_buffer(bits, false, false)) return core::view(*a, core::bfloat16);
  }
  // Who has a buffer with elements unknown here (text, dates) has no better tensor.
  const bool has_buffer = PyObject_CheckBuffer(h.ptr());
  if (!has_buffer && nb::hasattr(h, "__dlpack__") && nb::hasattr(h, "__dlpack_device__")) {
    array a = from_dlpack(h, true, "array");
    return !keep_double && a.dtype() == core::float64 ? core::astype(a, core::float32) : a;
  }
  if (nb::hasattr(h, "__array__")) {
    nb::object made = h.attr("__array__")();
    if (!made.is(h) && PyObject_CheckBuffer(made.ptr())) return from_buffer(made, false, keep_double);
  }
  return std::nullopt;
}

array make_array(nb::handle value, std::optional<Dtype> dtype, const char* function) {
  PyObject* o = value.ptr();
  if (const array* a = as_array(o)) return dtype ? core::astype(*a, *dtype) : array(*a);
  if (const Kind kind = kind_of(o);
      kind != Kind::none && !(kind != Kind::boolean && is_numpy_scalar(o) && !dtype)) {
    if (!dtype) return *from_scalar(o);
    switch (kind) {
      case Kind::boolean:
        return array(read_bool(o), *dtype);
      case Kind::integer:
        return int_array(read_int(o), *dtype);
      case Kind::real:
        return array(read_double(o), *dtype);
      default:
        return array(read_complex(o), *dtype);
    }
  }
  if (PyList_Check(o) || PyTuple_Check(o)) return from_sequence(value, dtype, function);
  if (std::optional<array> a = from_array_like(value, dtype.has_value()))
    return dtype ? core::astype(*a, *dtype) : *a;
  if (std::optional<array> a = from_scalar(o)) return dtype ? core::astype(*a, *dtype) : *a;
  bad_type({function, "val", 1}, "a number, a list or tuple of them, or an array", value);
}

// ---- nested sequences
// -----------------------------------------------------------------------------------------

namespace {

struct Scan {
  Shape shape;
  Kind kind = Kind::none;  // the largest seen
  bool wide = false;       // an int outside of int32
  bool huge = false;       // an int outside of int64
  bool arrays = false;     // an array or array-like among the elements
  size_t depth_of_scalars = 0;
  const char* function;
};

Py_ssize_t length(PyObject* o) { return PyList_Check(o) ? PyList_GET_SIZE(o) : PyTuple_GET_SIZE(o); }
PyObject* item(PyObject* o, Py_ssize_t i) {
  return PyList_Check(o) ? PyList_GET_ITEM(o, i) : PyTuple_GET_ITEM(o, i);
}
bool is_nest(PyObject* o) { return PyList_Check(o) || PyTuple_Check(o); }

[[noreturn]] void ragged(const Scan& scan, size_t depth, Py_ssize_t got, ShapeElem want) {
  throw std::invalid_argument(std::string("[") + scan.function + "] the lists at depth " +
                              std::to_string(depth) + " differ in length: " + std::to_string(got) +
                              " beside " + std::to_string(want));
}

// Finds shape and kind. Elements that are arrays end the fast way: they are stacked instead.
void scan_level(PyObject* o, size_t depth, Scan& scan) {
  const Py_ssize_t n = length(o);
  if (depth == scan.shape.size()) {
    if (depth > 0 && scan.kind != Kind::none && depth >= scan.depth_of_scalars)
      throw std::invalid_argument(std::string("[") + scan.function +
                                  "] a list stands beside numbers at depth " + std::to_string(depth));
    if (depth > 64) throw std::invalid_argument(std::string("[") + scan.function + "] lists nest too deeply");
    scan.shape.push_back(core::safe_cast(n, scan.function));
  } else if (scan.shape[depth] != n) {
    ragged(scan, depth, n, scan.shape[depth]);
  }
  for (Py_ssize_t i = 0; i < n && !scan.arrays; ++i) {
    PyObject* e = item(o, i);
    const Kind kind = kind_of(e);
    if (kind != Kind::none) {
      if (scan.shape.size() > depth + 1)
        throw std::invalid_argument(std::string("[") + scan.function +
                                    "] a number stands beside a list at depth " + std::to_string(depth + 1));
      scan.depth_of_scalars = depth + 1;
      if (kind > scan.kind) scan.kind = kind;
      if (kind == Kind::integer) {
        const Int v = read_int(e);
        if (v.is_unsigned)
          scan.huge = true;
        else if (int_dtype(v) == core::int64)
          scan.wide = true;
      }
    } else if (is_nest(e)) {
      if (scan.depth_of_scalars == depth + 1)
        throw std::invalid_argument(std::string("[") + scan.function +
                                    "] a list stands beside a number at depth " + std::to_string(depth + 1));
      scan_level(e, depth + 1, scan);
    } else {
      scan.arrays = true;
    }
  }
}

template <class T>
T read_as(PyObject* o) {
  if constexpr (std::is_same_v<T, complex64_t>) {
    return PyFloat_CheckExact(o) ? complex64_t(static_cast<float>(PyFloat_AS_DOUBLE(o)), 0.0f)
                                 : read_complex(o);
  } else {
    if (PyFloat_CheckExact(o)) return core::cast_to<T>(PyFloat_AS_DOUBLE(o));
    switch (kind_of(o)) {
      case Kind::boolean:
        return core::cast_to<T>(read_bool(o));
      case Kind::integer: {
        const Int i = read_int(o);
        return i.is_unsigned ? core::cast_to<T>(static_cast<uint64_t>(i.value)) : core::cast_to<T>(i.value);
      }
      case Kind::real:
        return core::cast_to<T>(read_double(o));
      default:
        return core::cast_to<T>(read_complex(o));
    }
  }
}

template <class T>
void fill(PyObject* o, size_t depth, size_t ndim, T*& out) {
  const Py_ssize_t n = length(o);
  if (depth + 1 == ndim) {
    for (Py_ssize_t i = 0; i < n; ++i) *out++ = read_as<T>(item(o, i));
  } else {
    for (Py_ssize_t i = 0; i < n; ++i) fill(item(o, i), depth + 1, ndim, out);
  }
}

// A list with arrays in it: every element becomes an array, and they are stacked.
array stack_elements(PyObject* o, std::optional<Dtype> dtype, const char* function) {
  Arrays parts;
  for (Py_ssize_t i = 0; i < length(o); ++i) {
    PyObject* e = item(o, i);
    if (is_nest(e)) {
      parts.push_back(stack_elements(e, dtype, function));
    } else {
      parts.push_back(make_array(e, dtype, function));
    }
  }
  if (parts.empty()) return core::zeros({0}, dtype.value_or(core::float32));
  for (const array& p : parts)
    if (p.shape() != parts[0].shape())
      throw std::invalid_argument(std::string("[") + function + "] the elements of a list differ in shape");
  return core::stack(parts, 0);
}

}  // namespace

array from_sequence(nb::handle value, std::optional<Dtype> dtype, const char* function) {
  Scan scan{};
  scan.function = function;
  scan_level(value.ptr(), 0, scan);
  if (scan.arrays) return stack_elements(value.ptr(), dtype, function);
  Dtype natural = core::float32;
  if (scan.kind == Kind::boolean) natural = core::bool_;
  if (scan.kind == Kind::integer) natural = scan.huge ? core::uint64 : scan.wide ? core::int64 : core::int32;
  if (scan.kind == Kind::complex) natural = core::complex64;
  const Dtype out_dtype = dtype.value_or(natural);
  array out(scan.shape, out_dtype, nullptr, {});
  out.set_data(core::allocator::malloc(out.nbytes()));
  core::dispatch_all(out_dtype, [&]<class T>() {
    T* p = out.data<T>();
    if (out.size() > 0) fill(value.ptr(), 0, scan.shape.size(), p);
  });
  out.set_status(array::Status::available);
  return out;
}

// ---- arrays to Python values
// --------------------------------------------------------------------------------

void eval_released(array& a) {
  if (a.status() == array::Status::available) return;
  nb::gil_scoped_release release;
  a.eval();
}

void eval_released(Arrays arrays) {
  nb::gil_scoped_release release;
  core::eval(std::move(arrays));
}

namespace {

template <class T>
PyObject* python_value(T v) {
  if constexpr (std::is_same_v<T, bool>) {
    return PyBool_FromLong(v);
  } else if constexpr (std::is_same_v<T, complex64_t>) {
    return PyComplex_FromDoubles(v.real(), v.imag());
  } else if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>) return PyLong_FromLongLong(v);
    return PyLong_FromUnsignedLongLong(v);
  } else {
    return PyFloat_FromDouble(
        static_cast<double>(static_cast<std::conditional_t<sizeof(T) == 8, T, float>>(v)));
  }
}

template <class T>
nb::object nest(const array& a, const T* data, size_t dim) {
  if (dim == a.ndim()) return nb::steal(python_value(*data));
  const Py_ssize_t n = a.shape()[dim];
  nb::object list = nb::steal(PyList_New(n));
  if (!list) throw nb::python_error();
  for (Py_ssize_t i = 0; i < n; ++i)
    PyList_SET_ITEM(list.ptr(), i, nest(a, data + i * a.strides()[dim], dim + 1).release().ptr());
  return list;
}

}  // namespace

nb::object to_scalar(array& a) {
  if (a.size() != 1)
    throw std::invalid_argument("[item] only an array with one element has a Python value; this one has " +
                                std::to_string(a.size()));
  eval_released(a);
  switch (a.dtype().val()) {
    case Dtype::Val::float32:
      return nb::steal(PyFloat_FromDouble(*a.data<float>()));
    default:
      return core::dispatch_all(a.dtype(), [&]<class T>() { return nb::steal(python_value(*a.data<T>())); });
  }
}

nb::object to_list(array a) {
  eval_released(a);
  return core::dispatch_all(a.dtype(), [&]<class T>() { return nest(a, a.data<T>(), 0); });
}

}  // namespace mlx::python
