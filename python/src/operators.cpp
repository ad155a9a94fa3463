// Python's operators on arrays, as type slots: `a + b` reaches the C++ operation without a method lookup,
// without overload resolution and without looking at streams.
#include "python/src/operators.h"

#include <array>
#include <bit>
#include <memory>
#include <sstream>

#include "python/src/args.h"
#include "python/src/convert.h"
#include "python/src/indexing.h"

namespace mlx::python {
namespace {

using Binary = array (*)(const array&, const array&, StreamOrDevice);
using Unary = array (*)(const array&, StreamOrDevice);

PyObject* not_implemented() { return Py_NewRef(Py_NotImplemented); }

// The numbers that operators met last, as arrays: `x + 1` in a loop makes one array for all the ones. Few, so
// that a look is one comparison. Arrays of this list have a holder too many to be written over.
class Numbers {
 public:
  // Null where `o` is neither a float nor a small int, of these types themselves.
  const array* find(PyObject* o, Dtype like) {
    uint64_t bits = 0;
    const bool real = PyFloat_CheckExact(o);
    if (real) {
      bits = std::bit_cast<uint64_t>(PyFloat_AS_DOUBLE(o));
    } else if (PyLong_CheckExact(o)) {
      int overflow = 0;
      const long value = PyLong_AsLongAndOverflow(o, &overflow);
      if (overflow != 0 || value < -kLargest || value > kLargest) return nullptr;
      bits = static_cast<uint64_t>(value);
    } else {
      return nullptr;
    }
    const auto dtype = static_cast<uint64_t>(like.val());
    Entry& entry = entries_[(bits + dtype) * 0x9E3779B97F4A7C15 >> 60];
    if (!entry.number || entry.bits != bits || entry.real != real || entry.like != like.val())
      entry = {from_scalar(o, like), bits, real, like.val()};
    return &*entry.number;
  }

 private:
  static constexpr long kLargest = 1 << 20;
  static constexpr size_t kEntries = 16;
  struct Entry {
    std::optional<array> number;
    uint64_t bits;
    bool real;
    Dtype::Val like;
  };
  static_assert(kEntries == 16);  // as many as four bits tell apart
  std::array<Entry, kEntries> entries_{};
};
Numbers& numbers() {
  // Never destroyed: the arrays' memory belongs to an allocator that is not either.
  static auto* instance = std::make_unique<Numbers>().release();
  return *instance;
}

// The other operand beside `a`; nothing where it cannot become one, so that Python asks the other type.
std::optional<array> operand(PyObject* o, const array& a) {
  const Dtype like = a.dtype();
  // Graphs of traces outlive their calls: each has numbers of its own.
  if (!a.is_tracer())
    if (const array* number = numbers().find(o, like)) return *number;
  if (std::optional<array> s = from_scalar(o, like)) return s;
  if (o == Py_None) return std::nullopt;
  return from_array_like(o);
}

template <Binary op>
PyObject* binary(PyObject* left, PyObject* right) {
  return guarded([&]() -> PyObject* {
    const array* a = as_array(left);
    const array* b = as_array(right);
    if (a && b) return wrap(op(*a, *b, {})).release().ptr();
    if (a) {
      std::optional<array> other = operand(right, *a);
      return other ? wrap(op(*a, *other, {})).release().ptr() : not_implemented();
    }
    if (b) {
      std::optional<array> other = operand(left, *b);
      return other ? wrap(op(*other, *b, {})).release().ptr() : not_implemented();
    }
    return not_implemented();
  });
}

// `a += b` makes the name's array another one; every name of the same Python object sees it.
template <Binary op>
PyObject* in_place(PyObject* left, PyObject* right) {
  return guarded([&]() -> PyObject* {
    array* a = as_array(left);
    if (!a) return not_implemented();
    if (const array* b = as_array(right)) {
      a->overwrite_descriptor(op(*a, *b, {}));
    } else {
      std::optional<array> other = operand(right, *a);
      if (!other) return not_implemented();
      a->overwrite_descriptor(op(*a, *other, {}));
    }
    return Py_NewRef(left);
  });
}

template <Unary op>
PyObject* unary(PyObject* self) {
  return guarded([&]() -> PyObject* {
    const array* a = as_array(self);
    if (!a) throw nb::type_error("the array is not initialised");
    return wrap(op(*a, {})).release().ptr();
  });
}

PyObject* power(PyObject* base, PyObject* exponent, PyObject* modulus) {
  if (modulus != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow() of arrays takes no modulus");
    return nullptr;
  }
  return binary<core::power>(base, exponent);
}

PyObject* power_in_place(PyObject* base, PyObject* exponent, PyObject*) {
  return in_place<core::power>(base, exponent);
}

PyObject* divmod(PyObject* left, PyObject* right) {
  return guarded([&]() -> PyObject* {
    const array* a = as_array(left);
    const array* b = as_array(right);
    std::optional<array> other;
    if (!a || !b) {
      other = operand(a ? right : left, a ? *a : *b);
      if (!other) return not_implemented();
    }
    return wrap_tuple(core::divmod(a ? *a : *other, b ? *b : *other)).release().ptr();
  });
}

// Arrays of the operands only: `a @ 2` is an error, as the product of a scalar is not a matrix product.
template <bool update>
PyObject* matmul(PyObject* left, PyObject* right) {
  return guarded([&]() -> PyObject* {
    if (is_scalar(left) || is_scalar(right)) return not_implemented();
    return update ? in_place<core::matmul>(left, right) : binary<core::matmul>(left, right);
  });
}

PyObject* compare(PyObject* left, PyObject* right, int op) {
  switch (op) {
    case Py_LT:
      return binary<core::less>(left, right);
    case Py_LE:
      return binary<core::less_equal>(left, right);
    case Py_EQ:
      return binary<core::equal>(left, right);
    case Py_NE:
      return binary<core::not_equal>(left, right);
    case Py_GT:
      return binary<core::greater>(left, right);
    default:
      return binary<core::greater_equal>(left, right);
  }
}

array& checked(PyObject* self) {
  array* a = as_array(self);
  if (!a) throw nb::type_error("the array is not initialised");
  return *a;
}

int truth(PyObject* self) {
  PyObject* value = guarded([&]() -> PyObject* {
    array& a = checked(self);
    if (a.size() != 1)
      throw std::invalid_argument("[bool] the truth of an array with " + std::to_string(a.size()) +
                                  " elements is ambiguous: use any() or all()");
    return to_scalar(a).release().ptr();
  });
  if (!value) return -1;
  const int result = PyObject_IsTrue(value);
  Py_DECREF(value);
  return result;
}

PyObject* as_int(PyObject* self) {
  return guarded([&]() -> PyObject* { return PyNumber_Long(to_scalar(checked(self)).ptr()); });
}
PyObject* as_float(PyObject* self) {
  return guarded([&]() -> PyObject* { return PyNumber_Float(to_scalar(checked(self)).ptr()); });
}
PyObject* as_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    array& a = checked(self);
    if (a.ndim() != 0 || !core::issubdtype(a.dtype(), core::integer))
      throw nb::type_error("only an integer array with no dimensions can be used as an index");
    return to_scalar(a).release().ptr();
  });
}

Py_ssize_t length(PyObject* self) {
  const array* a = as_array(self);
  if (!a || a->ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "len() of an array with no dimensions");
    return -1;
  }
  return a->shape()[0];
}

PyObject* subscript(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* { return wrap(get_item(checked(self), key)).release().ptr(); });
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
  PyObject* done = guarded([&]() -> PyObject* {
    if (!value) throw nb::type_error("elements of an array cannot be deleted");
    array& a = checked(self);
    a.overwrite_descriptor(set_item(a, key, value));
    return self;
  });
  return done ? 0 : -1;
}

Py_hash_t identity_hash(PyObject* self) {
  const auto bits = reinterpret_cast<size_t>(self);
  const auto hash = static_cast<Py_hash_t>((bits >> 4) | (bits << (8 * sizeof(bits) - 4)));
  return hash == -1 ? -2 : hash;
}

PyObject* repr(PyObject* self) {
  return guarded([&]() -> PyObject* {
    array a = checked(self);
    eval_released(a);
    std::ostringstream os;
    os << a;
    return PyUnicode_FromString(os.str().c_str());
  });
}

template <class F>
void* slot(F f) {
  return reinterpret_cast<void*>(f);
}

}  // namespace

const PyType_Slot* array_slots() {
  static const PyType_Slot slots[] = {
      {Py_nb_add, slot(binary<core::add>)},
      {Py_nb_subtract, slot(binary<core::subtract>)},
      {Py_nb_multiply, slot(binary<core::multiply>)},
      {Py_nb_true_divide, slot(binary<core::divide>)},
      {Py_nb_floor_divide, slot(binary<core::floor_divide>)},
      {Py_nb_remainder, slot(binary<core::remainder>)},
      {Py_nb_divmod, slot(divmod)},
      {Py_nb_power, slot(power)},
      {Py_nb_matrix_multiply, slot(matmul<false>)},
      {Py_nb_and, slot(binary<core::bitwise_and>)},
      {Py_nb_or, slot(binary<core::bitwise_or>)},
      {Py_nb_xor, slot(binary<core::bitwise_xor>)},
      {Py_nb_lshift, slot(binary<core::left_shift>)},
      {Py_nb_rshift, slot(binary<core::right_shift>)},
      {Py_nb_inplace_add, slot(in_place<core::add>)},
      {Py_nb_inplace_subtract, slot(in_place<core::subtract>)},
      {Py_nb_inplace_multiply, slot(in_place<core::multiply>)},
      {Py_nb_inplace_true_divide, slot(in_place<core::divide>)},
      {Py_nb_inplace_floor_divide, slot(in_place<core::floor_divide>)},
      {Py_nb_inplace_remainder, slot(in_place<core::remainder>)},
      {Py_nb_inplace_power, slot(power_in_place)},
      {Py_nb_inplace_matrix_multiply, slot(matmul<true>)},
      {Py_nb_inplace_and, slot(in_place<core::bitwise_and>)},
      {Py_nb_inplace_or, slot(in_place<core::bitwise_or>)},
      {Py_nb_inplace_xor, slot(in_place<core::bitwise_xor>)},
      {Py_nb_inplace_lshift, slot(in_place<core::left_shift>)},
      {Py_nb_inplace_rshift, slot(in_place<core::right_shift>)},
      {Py_nb_negative, slot(unary<core::negative>)},
      {Py_nb_positive, slot(unary<core::positive>)},
      {Py_nb_absolute, slot(unary<core::abs>)},
      {Py_nb_invert, slot(unary<core::bitwise_invert>)},
      {Py_nb_bool, slot(truth)},
      {Py_nb_int, slot(as_int)},
      {Py_nb_float, slot(as_float)},
      {Py_nb_index, slot(as_index)},
      {Py_tp_richcompare, slot(compare)},
      {Py_tp_hash, slot(identity_hash)},
      {Py_tp_repr, slot(repr)},
      {Py_mp_length, slot(length)},
      {Py_sq_length, slot(length)},
      {Py_mp_subscript, slot(subscript)},
      {Py_mp_ass_subscript, slot(assign_subscript)},
      {Py_bf_getbuffer, slot(export_buffer)},
      {Py_bf_releasebuffer, slot(release_buffer)},
      {0, nullptr},
  };
  return slots;
}

}  // namespace mlx::python
