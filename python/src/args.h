// Arguments of bound functions: conversion from Python objects, and errors that say which argument of which
// function was wrong.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "python/src/bind.h"

namespace mlx::python {

// An argument's place, for messages.
struct Where {
  const char* function;
  const char* argument;
  int position;  // from 1; 0 where only the name is known
};

// "exp(): argument 'a' (position 1) must be array, not str"
[[noreturn]] void bad_type(Where where, const char* expected, nb::handle got);

// An array argument: the caller's own array, or one made from a scalar, a NumPy array or an array-like
// object.
class ArrayArg {
 public:
  explicit ArrayArg(const array& a) : array_(&a) {}
  explicit ArrayArg(array&& a) : own_(std::move(a)) {}
  operator const array&() const { return array_ ? *array_ : *own_; }
  const array& get() const { return *this; }

 private:
  const array* array_ = nullptr;
  std::optional<array> own_;
};
ArrayArg to_array(nb::handle h, Where where);
// The two operands of a binary operation: a Python scalar takes the other's dtype where that can hold its
// kind.
std::pair<ArrayArg, ArrayArg> to_operands(nb::handle a, nb::handle b, const char* function);
std::optional<array> to_optional_array(nb::handle h, Where where);
// A list or tuple of arrays.
Arrays to_arrays(nb::handle h, Where where);

bool is_int(nb::handle h);  // an int or anything with __index__ but bool... arrays are not taken for integers
int to_int(nb::handle h, Where where);
// An int or a sequence of them.
std::vector<int> to_ints(nb::handle h, Where where);
Shape to_shape(nb::handle h, Where where);
// None, an int or a sequence.
std::optional<std::vector<int>> to_axes(nb::handle h, const char* function, int position = 2);
// A number given for each of `n` dimensions, or one for all.
std::vector<int> to_ints_n(nb::handle h, size_t n, Where where);
// One axis, or none.
std::optional<int> to_axis(nb::handle h, const char* function, int position = 2);

bool to_stream(nb::handle h, StreamOrDevice& out);  // False where it is no stream or device.
// Reads an int without accepting floats; false and no error set where it is none.
bool read_int64(PyObject* o, int64_t& out);

nb::tuple shape_tuple(const Shape& shape);

}  // namespace mlx::python

namespace nanobind::detail {

// None, a Stream, a ThreadLocalStream, a Device or a DeviceType.
template <>
struct type_caster<mlx::core::StreamOrDevice> {
  NB_TYPE_CASTER(mlx::core::StreamOrDevice, const_name("StreamOrDevice"))
  bool from_python(handle src, uint32_t, cleanup_list*) noexcept {
    if (src.is_none()) {
      value = {};
      return true;
    }
    return mlx::python::to_stream(src, value);
  }
};

}  // namespace nanobind::detail
