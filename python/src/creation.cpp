// Functions that make arrays from sizes and numbers.
#include <string>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

// A bound of arange: an int stays one, so that the default dtype is int32.
struct Number {
  double value = 0;
  bool is_int = true;
};

Number to_number(nb::handle h, Where where) {
  int64_t i;
  if (PyFloat_Check(h.ptr())) return {PyFloat_AS_DOUBLE(h.ptr()), false};
  if (read_int64(h.ptr(), i)) return {static_cast<double>(i), true};
  if (is_scalar(h.ptr()) && !PyComplex_Check(h.ptr())) {
    const double value = PyFloat_AsDouble(h.ptr());
    if (value == -1.0 && PyErr_Occurred()) throw nb::python_error();
    return {value, false};
  }
  bad_type(where, "int or float", h);
}

nb::object arange(Number start, Number stop, Number step, std::optional<Dtype> dtype, StreamOrDevice s) {
  const bool ints = start.is_int && stop.is_int && step.is_int;
  return wrap(core::arange(start.value, stop.value, step.value,
                           dtype.value_or(ints ? core::int32 : core::float32), s));
}

array like(nb::handle a, const char* function) { return to_array(a, {function, "a", 1}).get(); }

}  // namespace

void init_creation(Module& m) {
  // Two numbers or more by position are start and stop; this form comes first so that it gets them.
  m.def(
      "arange",
      [](nb::handle start, nb::handle stop, nb::handle step, std::optional<Dtype> dtype, StreamOrDevice s) {
        const Number first = to_number(start, {"arange", "start", 1});
        const Number by = step.is_none() ? Number{1, true} : to_number(step, {"arange", "step", 3});
        if (stop.is_none()) return arange({}, first, by, dtype, s);
        return arange(first, to_number(stop, {"arange", "stop", 2}), by, dtype, s);
      },
      "start"_a, "stop"_a.none(), "step"_a = nb::none(), "dtype"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def arange(start: int | float, stop: None | int | float, step: None | int | float, "
              "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array"),
      R"(Evenly spaced numbers ``start, start + step, ...`` before ``stop``.

Args:
  start: the first number; 0 where it is left out.
  stop: the end, which is not reached.
  step: the distance; ``None`` is 1.
  dtype: the type of the elements; ``None`` is int32 where all numbers are ints and float32 otherwise.
  stream: where to run; ``None`` is the default stream.
Returns:
  One dimension of size ``max(0, ceil((stop - start) / step))``.
Raises:
  ValueError: the step is zero or a bound is ``nan`` or infinite.)");

  m.def(
      "arange",
      [](nb::handle stop, nb::handle step, std::optional<Dtype> dtype, StreamOrDevice s) {
        return arange({}, to_number(stop, {"arange", "stop", 1}),
                      step.is_none() ? Number{1, true} : to_number(step, {"arange", "step", 2}), dtype, s);
      },
      "stop"_a, "step"_a = nb::none(), "dtype"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def arange(stop: int | float, step: None | int | float = None, dtype: Dtype | None = None, *, "
              "stream: StreamOrDevice = None) -> array"),
      "See above.");
  m.def(
      "linspace",
      [](double start, double stop, std::optional<int> num, bool endpoint, std::optional<Dtype> dtype,
         StreamOrDevice s) {
        return wrap(
            core::linspace(start, stop, num.value_or(50), endpoint, dtype.value_or(core::float32), s));
      },
      "start"_a, "stop"_a, "num"_a = 50, "endpoint"_a = true, "dtype"_a.sig("float32") = core::float32,
      "stream"_a = nb::none(),
      nb::sig("def linspace(start: scalar, stop: scalar, num: int | None = 50, endpoint: bool = True, "
              "dtype: Dtype | None = float32, stream: StreamOrDevice = None) -> array"),
      R"(A given count of evenly spaced numbers from ``start`` to ``stop``.

Args:
  start: the first number.
  stop: the last number, or what would follow it where ``endpoint`` is False.
  num: how many; ``None`` is 50.
  endpoint: include ``stop``.
  dtype: the type of the elements.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``num`` is negative.)");

  m.def(
      "full",
      [](nb::handle shape, nb::handle vals, std::optional<Dtype> dtype, StreamOrDevice s) {
        ArrayArg v = to_array(vals, {"full", "vals", 2});
        return wrap(core::full(to_shape(shape, {"full", "shape", 1}), v, dtype.value_or(v.get().dtype()), s));
      },
      "shape"_a, "vals"_a, "dtype"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def full(shape: int | Sequence[int], vals: scalar | array, dtype: Dtype | None = None, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(An array of one value, or of values broadcast to a shape.

Args:
  shape: the shape; an int is one dimension.
  vals: a number or an array that broadcasts to the shape.
  dtype: the type of the elements; ``None`` is that of ``vals``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``vals`` does not broadcast, or a size is negative.)");
  m.def(
      "full_like",
      [](nb::handle a, nb::handle vals, std::optional<Dtype> dtype, StreamOrDevice s) {
        array x = like(a, "full_like");
        return wrap(
            core::full_like(x, to_array(vals, {"full_like", "vals", 2}), dtype.value_or(x.dtype()), s));
      },
      "a"_a, "vals"_a, "dtype"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def full_like(a: array, vals: scalar | array, dtype: Dtype | None = None, *, "
              "stream: StreamOrDevice = None) -> array"),
      "An array of given values with the shape of ``a``, and its dtype unless another is given. See full.");

  struct Constant {
    const char* name;
    array (*make)(const Shape&, Dtype, StreamOrDevice);
    array (*make_like)(const array&, Dtype, StreamOrDevice);
    const char* word;
  };
  for (const Constant& c : {Constant{"zeros", core::zeros, core::zeros_like, "zeros"},
                            Constant{"ones", core::ones, core::ones_like, "ones"}}) {
    const std::string name = c.name;
    const std::string sig = "def " + name +
                            "(shape: int | Sequence[int], dtype: Dtype | None = float32, *, "
                            "stream: StreamOrDevice = None) -> array";
    const std::string doc = std::string("An array of ") + c.word + R"(.

Args:
  shape: the shape; an int is one dimension.
  dtype: the type of the elements; ``None`` is float32.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: a size is negative.)";
    m.def(
        c.name,
        [c](nb::handle shape, std::optional<Dtype> dtype, StreamOrDevice s) {
          return wrap(c.make(to_shape(shape, {c.name, "shape", 1}), dtype.value_or(core::float32), s));
        },
        "shape"_a, "dtype"_a.sig("float32") = core::float32, nb::kw_only(), "stream"_a = nb::none(),
        nb::sig(sig.c_str()), doc.c_str());
    const std::string sig_like =
        "def " + name +
        "_like(a: array, /, dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array";
    const std::string doc_like = std::string("An array of ") + c.word +
                                 " with the shape of ``a``, and its dtype unless another is given.";
    m.def((name + "_like").c_str(),
          [c](nb::handle a, std::optional<Dtype> dtype, StreamOrDevice s) {
            array x = like(a, c.name);
            return wrap(c.make_like(x, dtype.value_or(x.dtype()), s));
          },
          nb::arg(), "dtype"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
          nb::sig(sig_like.c_str()), doc_like.c_str());
  }
  m.attr("empty") = m.attr("zeros");
  m.attr("empty_like") = m.attr("zeros_like");

  m.def(
      "eye",
      [](int n, std::optional<int> cols, int k, std::optional<Dtype> dtype, StreamOrDevice s) {
        return wrap(core::eye(n, cols.value_or(n), k, dtype.value_or(core::float32), s));
      },
      "n"_a, "m"_a = nb::none(), "k"_a = 0, "dtype"_a.sig("float32") = core::float32, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def eye(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = float32, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(A matrix with ones on one diagonal and zeros elsewhere.

Args:
  n: rows.
  m: columns; ``None`` is ``n``.
  k: which diagonal: 0 is the main one, positive ones lie above, negative ones below.
  dtype: the type of the elements.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: a size is negative.)");
  m.def(
      "identity",
      [](int n, std::optional<Dtype> dtype, StreamOrDevice s) {
        return wrap(core::identity(n, dtype.value_or(core::float32), s));
      },
      "n"_a, "dtype"_a.sig("float32") = core::float32, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig(
          "def identity(n: int, dtype: Dtype | None = float32, *, stream: StreamOrDevice = None) -> array"),
      "The identity matrix with ``n`` rows. See eye.");
  m.def(
      "tri",
      [](int n, std::optional<int> cols, int k, std::optional<Dtype> dtype, StreamOrDevice s) {
        return wrap(core::tri(n, cols.value_or(n), k, dtype.value_or(core::float32), s));
      },
      "n"_a, "m"_a = nb::none(), "k"_a = 0, "dtype"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def tri(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = None, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(A matrix with ones on and below a diagonal and zeros above.

Args:
  n: rows.
  m: columns; ``None`` is ``n``.
  k: the diagonal, as for eye.
  dtype: the type of the elements; ``None`` is float32.
  stream: where to run; ``None`` is the default stream.)");
  struct Triangle {
    const char* name;
    array (*cut)(array, int, StreamOrDevice);
    const char* text;
  };
  for (const Triangle& t : {Triangle{"tril", core::tril, "above"}, Triangle{"triu", core::triu, "below"}}) {
    const std::string sig =
        std::string("def ") + t.name + "(x: array, k: int = 0, *, stream: StreamOrDevice = None) -> array";
    const std::string doc = std::string("The matrix with zeros ") + t.text + R"( a diagonal.

Args:
  x: at least two dimensions; the last two are the matrices.
  k: the diagonal: 0 is the main one, positive ones lie above.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: fewer than two dimensions.)";
    m.def(
        t.name,
        [t](nb::handle x, int k, StreamOrDevice s) {
          return wrap(t.cut(to_array(x, {t.name, "x", 1}).get(), k, s));
        },
        "x"_a, "k"_a = 0, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  }

  struct Window {
    const char* name;
    array (*make)(int, StreamOrDevice);
    const char* stream;
    const char* text;
  };
  const char* plain = "StreamOrDevice";
  const char* spelled = "Stream | ThreadLocalStream | Device | DeviceType | None";
  for (const Window& w :
       {Window{"hanning", core::hanning, spelled, "Hann window, ``0.5 - 0.5 cos(2 pi n / (M - 1))``."},
        Window{"hamming", core::hamming, plain, "Hamming window, ``0.54 - 0.46 cos(2 pi n / (M - 1))``."},
        Window{"bartlett", core::bartlett, spelled,
               "Bartlett (triangular) window, ``1 - |2 n / (M - 1) - 1|``."},
        Window{"blackman", core::blackman, plain,
               "Blackman window, ``0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))``."}}) {
    const std::string sig =
        std::string("def ") + w.name + "(M: int, *, stream: " + w.stream + " = None) -> array";
    const std::string doc = std::string("The ") + w.text + R"(

Args:
  M: the number of points; none where it is below 1.
  stream: where to run; ``None`` is the default stream.
Returns:
  float32 of shape (M,).)";
    m.def(
        w.name, [make = w.make](int n, StreamOrDevice s) { return wrap(make(n, s)); }, "M"_a, nb::kw_only(),
        "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
  }

  m.def(
      "meshgrid",
      [](nb::args arrays, std::optional<bool> sparse, std::optional<std::string> indexing, StreamOrDevice s) {
        return wrap_tuple(core::meshgrid(to_arrays(arrays, {"meshgrid", "arrays", 1}), sparse.value_or(false),
                                         indexing.value_or("xy"), s));
      },
      "arrays"_a, nb::kw_only(), "sparse"_a = false, "indexing"_a = "xy", "stream"_a = nb::none(),
      nb::sig("def meshgrid(*arrays: array, sparse: bool | None = False, indexing: str | None = 'xy', "
              "stream: StreamOrDevice = None) -> tuple[array, ...]"),
      R"(Coordinate matrices from coordinate vectors.

Args:
  *arrays: vectors, one per dimension.
  sparse: leave the size of the other dimensions at 1.
  indexing: ``xy`` puts the first vector along the second dimension, ``ij`` along the first.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``indexing`` is something else.)");
}

}  // namespace mlx::python
