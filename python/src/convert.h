// Python values to arrays: scalars, nested lists, buffers (NumPy), DLPack and objects that know how to become
// one.
#pragma once

#include <optional>

#include "python/src/bind.h"

namespace mlx::python {

bool is_scalar(PyObject* o);  // bool, int, float, complex or a NumPy scalar
// An array of no dimensions: bool, int32 (int64 or uint64 where the value needs it), float32 or complex64.
// Nothing where `o` is no scalar; OverflowError beyond 64 bits.
std::optional<array> from_scalar(PyObject* o);
// The same in the company of an array of dtype `like`, whose dtype it takes unless its kind is a larger one
// (a float beside integers gives float32). Raises ValueError where an int does not fit.
std::optional<array> from_scalar(PyObject* o, Dtype like);
// NumPy arrays and other buffers, __mlx_array__, DLPack, __array__. Nothing where `h` is none of these.
// Doubles become float32 unless they are asked for.
std::optional<array> from_array_like(nb::handle h, bool keep_double = false);
// What mx.array(value, dtype) makes.
array make_array(nb::handle value, std::optional<Dtype> dtype, const char* function);
// Nested lists or tuples of scalars and arrays.
array from_sequence(nb::handle value, std::optional<Dtype> dtype, const char* function);

// A buffer's elements, copied unless `share` and the layout allows to use them where they are. Nothing where
// `share` was asked for and is not possible, or `h` has no buffer with a dtype of ours.
std::optional<array> from_buffer(nb::handle h, bool share, bool keep_double);
// Fills `view` for the buffer protocol of arrays.
int export_buffer(PyObject* self, Py_buffer* view, int flags);
void release_buffer(PyObject* self, Py_buffer* view);
// The array as a NumPy array; bfloat16 is that of the package ml_dtypes, or becomes float32 without it.
nb::object to_numpy(nb::handle self, nb::handle dtype, nb::handle copy);

nb::object to_dlpack(const array& a, nb::handle max_version, nb::handle copy);
array from_dlpack(nb::handle h, std::optional<bool> copy, const char* function);
// A Python scalar, or nested lists of them.
nb::object to_list(array a);
nb::object to_scalar(array& a);

// Computes without the GIL.
void eval_released(array& a);
void eval_released(Arrays arrays);

}  // namespace mlx::python
