// Dtypes, their families and limits.
#include <array>
#include <sstream>

#include "python/src/args.h"
#include "python/src/bind.h"

namespace mlx::python {
namespace {

constexpr std::array<Dtype, core::kDtypes> kAll = {
    core::bool_, core::uint8, core::uint16,  core::uint32,  core::uint64,  core::int8,     core::int16,
    core::int32, core::int64, core::float16, core::float32, core::float64, core::bfloat16, core::complex64};

// One Python object per dtype, never freed: they are module constants.
std::array<PyObject*, core::kDtypes> objects{};

std::string public_name(Dtype d) { return d == core::bool_ ? "bool_" : core::dtype_name(d); }

// A kind of the array API standard's isdtype.
bool is_kind(Dtype d, std::string_view kind) {
  using core::issubdtype;
  if (kind == "bool") return d == core::bool_;
  if (kind == "signed integer") return issubdtype(d, core::signedinteger);
  if (kind == "unsigned integer") return issubdtype(d, core::unsignedinteger);
  if (kind == "integral") return issubdtype(d, core::integer);
  if (kind == "real floating") return issubdtype(d, core::floating);
  if (kind == "complex floating") return issubdtype(d, core::complexfloating);
  if (kind == "numeric") return issubdtype(d, core::number);
  throw std::invalid_argument("[isdtype] unknown kind '" + std::string(kind) +
                              "'; known are bool, signed integer, unsigned integer, integral, real floating, "
                              "complex floating and numeric");
}

bool isdtype(Dtype d, nb::handle kind) {
  if (nb::isinstance<Dtype>(kind)) return d == nb::cast<Dtype>(kind);
  if (nb::isinstance<nb::str>(kind)) return is_kind(d, nb::cast<std::string>(kind));
  if (!nb::isinstance<nb::tuple>(kind))
    bad_type({"isdtype", "kind", 2}, "Dtype, str or a tuple of them", kind);
  for (nb::handle k : nb::borrow<nb::tuple>(kind))
    if (isdtype(d, k)) return true;
  return false;
}

using AnyType = std::variant<Dtype, Dtype::Category>;
AnyType type_or_category(nb::handle h, int position) {
  if (nb::isinstance<Dtype>(h)) return nb::cast<Dtype>(h);
  if (nb::isinstance<Dtype::Category>(h)) return nb::cast<Dtype::Category>(h);
  bad_type({"issubdtype", position == 1 ? "arg1" : "arg2", position}, "Dtype or DtypeCategory", h);
}

// Whether every value's kind survives: promotion from one to the other changes nothing.
bool can_cast(Dtype from, Dtype to) { return core::promote_types(from, to) == to; }

// What a Python number adds to arrays and dtypes: its kind, where that is a larger one, and nothing else.
Dtype with_number(Dtype d, nb::handle number) {
  const bool inexact = core::issubdtype(d, core::inexact);
  if (PyComplex_Check(number.ptr())) return core::complex64;
  if (PyFloat_Check(number.ptr())) return inexact ? d : core::float32;
  return d == core::bool_ && !PyBool_Check(number.ptr()) ? core::int32 : d;
}
bool is_number(nb::handle h) {
  return PyBool_Check(h.ptr()) || PyLong_Check(h.ptr()) || PyFloat_Check(h.ptr()) || PyComplex_Check(h.ptr());
}

Dtype result_type(nb::args items) {
  std::optional<Dtype> out;
  for (nb::handle h : items) {
    Dtype d = core::bool_;
    if (const array* a = as_array(h)) {
      d = a->dtype();
    } else if (nb::isinstance<Dtype>(h)) {
      d = nb::cast<Dtype>(h);
    } else if (is_number(h)) {
      continue;
    } else {
      bad_type({"result_type", "arrays_and_dtypes", 0}, "arrays, dtypes and numbers", h);
    }
    out = out ? core::promote_types(*out, d) : d;
  }
  for (nb::handle h : items)
    if (out && is_number(h)) out = with_number(*out, h);
  if (!out) throw std::invalid_argument("[result_type] at least one array or dtype is needed");
  return *out;
}

template <class Limits>
std::string limits_repr(const char* name, const Limits& l) {
  std::ostringstream os;
  os << name << "(min=" << l.min << ", max=" << l.max << ", dtype=" << core::dtype_name(l.dtype) << ")";
  return os.str();
}

}  // namespace

nb::object wrap(Dtype dtype) { return nb::borrow(objects[static_cast<size_t>(dtype.val())]); }

void init_dtype(Module& m) {
  nb::class_<Dtype>(m, "Dtype", R"(The type of an array's elements.

Dtypes are the constants of this module (``float32``, ``int8``, ...); they compare equal to themselves only, can be
hashed and pickled, and tell their ``size`` in bytes.)")
      .def_prop_ro(
          "size", [](Dtype d) { return static_cast<int>(d.size()); }, nb::sig("def size(self) -> int"),
          "Bytes per element.")
      .def("__repr__", [](Dtype d) { return std::string("mlx.core.") + core::dtype_name(d); })
      .def(
          "__eq__",
          [](Dtype d, nb::handle other) {
            return nb::isinstance<Dtype>(other) && d == nb::cast<Dtype>(other);
          },
          nb::arg().none(), nb::sig("def __eq__(self, arg: object, /) -> bool"))
      .def("__hash__", [](Dtype d) { return static_cast<int64_t>(d.val()); })
      .def(
          "__reduce__", [](Dtype d) { return public_name(d); },
          "Pickles by name: unpickling gives the constant.");
  for (Dtype d : kAll) {
    nb::object o = nb::cast(d);
    objects[static_cast<size_t>(d.val())] = o.inc_ref().ptr();
    m.attr(public_name(d).c_str()) = o;
  }

  nb::enum_<Dtype::Category>(m, "DtypeCategory",
                             "Families of dtypes, for issubdtype: each contains those below it.")
      .value("complexfloating", core::complexfloating)
      .value("floating", core::floating)
      .value("inexact", core::inexact)
      .value("signedinteger", core::signedinteger)
      .value("unsignedinteger", core::unsignedinteger)
      .value("integer", core::integer)
      .value("number", core::number)
      .value("generic", core::generic)
      .export_values();

  m.def(
      "issubdtype",
      [](nb::handle a, nb::handle b) {
        return std::visit([](auto x, auto y) { return core::issubdtype(x, y); }, type_or_category(a, 1),
                          type_or_category(b, 2));
      },
      "arg1"_a, "arg2"_a,
      nb::sig("def issubdtype(arg1: Dtype | DtypeCategory, arg2: Dtype | DtypeCategory) -> bool"),
      R"(Whether a dtype or a category is the other or lies within it.

Args:
  arg1: the dtype or category asked about.
  arg2: the dtype or category that may contain it.
Raises:
  TypeError: an argument is neither.)");
  m.def(
      "isdtype", [](Dtype d, nb::handle kind) { return isdtype(d, kind); }, "dtype"_a, "kind"_a,
      nb::sig("def isdtype(dtype: Dtype, kind: Dtype | str | tuple[Dtype | str, ...]) -> bool"),
      R"(Whether a dtype is of a kind, as the Python array API standard names them.

Args:
  dtype: the dtype asked about.
  kind: a dtype, one of ``bool``, ``signed integer``, ``unsigned integer``, ``integral``, ``real floating``,
    ``complex floating`` and ``numeric``, or a tuple of these (any of them).
Raises:
  ValueError: the kind has another name.)");
  m.def(
      "can_cast",
      [](nb::handle from, Dtype to) {
        if (const array* a = as_array(from)) return can_cast(a->dtype(), to);
        if (!nb::isinstance<Dtype>(from)) bad_type({"can_cast", "from_", 1}, "array or Dtype", from);
        return can_cast(nb::cast<Dtype>(from), to);
      },
      "from_"_a, "to"_a, nb::sig("def can_cast(from_: array | Dtype, to: Dtype) -> bool"),
      R"(Whether type promotion leads from one dtype to another.

Args:
  from_: an array or its dtype.
  to: the dtype to reach.)");
  m.def(
      "result_type", [](nb::args items) { return wrap(result_type(items)); },
      nb::sig("def result_type(*arrays_and_dtypes: array | Dtype | scalar) -> Dtype"),
      R"(The dtype that an operation on the given arrays and dtypes has.

Args:
  *arrays_and_dtypes: at least one, and maybe Python numbers, which only count where their kind is a larger one: a float
    beside integers gives float32.
Raises:
  ValueError: none was given.   TypeError: something else was.)");

  nb::class_<core::finfo>(m, "finfo", "Limits of a floating dtype; complex64 has those of float32.")
      .def(nb::init<Dtype>(), nb::arg(), nb::sig("def __init__(self, arg: Dtype, /) -> None"))
      .def_ro("min", &core::finfo::min, "The most negative finite value.")
      .def_ro("max", &core::finfo::max, "The largest finite value.")
      .def_ro("eps", &core::finfo::eps, "The distance from 1 to the next larger value.")
      .def_ro("smallest_normal", &core::finfo::smallest_normal,
              "The smallest positive value of full precision.")
      .def_ro("bits", &core::finfo::bits, "Bits per real number.")
      .def_prop_ro(
          "dtype",
          [](const core::finfo& f) { return wrap(f.dtype == core::complex64 ? core::float32 : f.dtype); },
          nb::sig("def dtype(self) -> Dtype"))
      .def("__repr__", [](const core::finfo& f) { return limits_repr("finfo", f); });
  nb::class_<core::iinfo>(m, "iinfo", "Limits of an integer dtype.")
      .def(nb::init<Dtype>(), nb::arg(), nb::sig("def __init__(self, arg: Dtype, /) -> None"))
      .def_ro("min", &core::iinfo::min, "The smallest value.")
      .def_ro("max", &core::iinfo::max, "The largest value.")
      .def_prop_ro(
          "dtype", [](const core::iinfo& f) { return wrap(f.dtype); }, nb::sig("def dtype(self) -> Dtype"))
      .def("__repr__", [](const core::iinfo& f) { return limits_repr("iinfo", f); });
}

}  // namespace mlx::python
