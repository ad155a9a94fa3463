// The class mlx.core.array: construction, properties, interchange with other libraries, pickling.
#include "python/src/args.h"
#include "python/src/convert.h"
#include "python/src/indexing.h"
#include "python/src/operators.h"

namespace mlx::python {
namespace {

// Anything with __mlx_array__: the class exists so that type checkers can name such objects.
struct ArrayLike {
  nb::object object;
};

struct ArrayIterator {
  array a;
  int next = 0;
};

struct ArrayAt {
  array a;
  nb::object key;
};

array at_update(const ArrayAt& at, nb::handle value, const char* function, Update update) {
  if (!at.key.is_valid())
    throw std::invalid_argument(std::string("[array.at] give indices before ") + function +
                                ": x.at[indices]." + function + "(value)");
  if (const array* v = as_array(value)) return update_item(at.a, at.key, *v, update);
  return update_item(at.a, at.key, make_array(value, at.a.dtype(), function), update);
}

nb::object get_state(const array& a) {
  array bits = core::contiguous(a.dtype() == core::bfloat16 ? core::view(a, core::uint16) : a);
  eval_released(bits);
  nb::bytes data(bits.data<char>(), bits.nbytes());
  return nb::make_tuple(data, shape_tuple(a.shape()), core::dtype_name(a.dtype()));
}

void set_state(array* self, nb::tuple state) {
  // (bytes, shape, dtype's name); or, as other implementations pickle, (buffer, number of the dtype).
  if (state.size() == 3) {
    const std::string name = nb::cast<std::string>(state[2]);
    nb::object dtype = nb::module_::import_("mlx.core").attr(name == "bool" ? "bool_" : name.c_str());
    const Dtype d = nb::cast<Dtype>(dtype);
    nb::bytes data = nb::cast<nb::bytes>(state[0]);
    const Shape shape = to_shape(state[1], {"__setstate__", "shape", 0});
    array out(shape, d, nullptr, {});
    if (data.size() != out.nbytes())
      throw std::invalid_argument(
          "[array.__setstate__] the data does not have the size that shape and dtype say");
    out.set_data(core::allocator::malloc(out.nbytes()));
    std::memcpy(out.data<void>(), data.c_str(), out.nbytes());
    out.set_status(array::Status::available);
    new (self) array(std::move(out));
    return;
  }
  if (state.size() != 2) throw std::invalid_argument("[array.__setstate__] the state is not one of an array");
  array bits = make_array(state[0], std::nullopt, "__setstate__");
  const int number = nb::cast<int>(state[1]);
  if (number < 0 || number >= core::kDtypes)
    throw std::invalid_argument("[array.__setstate__] unknown dtype " + std::to_string(number));
  const Dtype d = nb::cast<Dtype>(wrap(Dtype(static_cast<Dtype::Val>(number), 0)));
  new (self) array(bits.dtype() == d ? bits : core::view(bits, d));
}

nb::object format(nb::handle self, nb::handle spec) {
  array& a = *as_array(self);
  const bool plain = nb::len(spec) == 0;
  if (!plain && a.size() == 1 && a.ndim() == 0)
    return nb::steal(PyObject_Format(to_scalar(a).ptr(), spec.ptr()));
  if (!plain) throw nb::type_error("only arrays with no dimensions take a format specification");
  return nb::steal(PyObject_Str(self.ptr()));
}

array as_array_argument(nb::handle value, std::optional<Dtype> dtype, std::optional<bool> copy) {
  if (copy && !*copy) {
    if (const array* a = as_array(value)) {
      if (!dtype || *dtype == a->dtype()) return *a;
    } else if (PyObject_CheckBuffer(value.ptr())) {
      std::optional<array> shared = from_buffer(value, true, true);
      if (shared && (!dtype || *dtype == shared->dtype())) return *shared;
    } else if (nb::hasattr(value, "__dlpack__")) {
      array shared = from_dlpack(value, false, "asarray");
      if (!dtype || *dtype == shared.dtype()) return shared;
    }
    throw std::invalid_argument("[asarray] the memory cannot be used as it is, and copy=False was given");
  }
  array made = make_array(value, dtype, "asarray");
  return copy && *copy && is_array(value.ptr()) ? core::copy(made) : made;
}

}  // namespace

void init_array(Module& m) {
  nb::class_<ArrayLike>(m, "ArrayLike",
                        "An object that becomes an array: one with a method ``__mlx_array__``.")
      .def(
          "__init__", [](ArrayLike* self, nb::object o) { new (self) ArrayLike{std::move(o)}; }, nb::arg(),
          nb::sig("def __init__(self, arg: object, /) -> None"))
      .def(
          "__mlx_array__",
          [](const ArrayLike& self) { return make_array(self.object, std::nullopt, "ArrayLike"); },
          nb::sig("def __mlx_array__(self) -> array"));
  nb::class_<ArrayIterator>(m, "ArrayIterator", "Iterates over the first axis of an array.")
      .def(
          "__iter__", [](nb::handle_t<ArrayIterator> self) { return nb::borrow(self); },
          nb::sig("def __iter__(self) -> ArrayIterator"))
      .def(
          "__next__",
          [](ArrayIterator& self) {
            if (self.next >= self.a.shape()[0]) throw nb::stop_iteration();
            return wrap(core::take(self.a, self.next++, 0));
          },
          nb::sig("def __next__(self) -> array"));

  const char* value_type = "bool | int | float | array | NDArray[Any] | complex | ArrayLike";
  nb::class_<ArrayAt> at(m, "ArrayAt", R"(Updates of selected elements, ``x.at[indices].add(value)``.

Unlike ``x[indices] += value`` each selection counts where an element is selected several times, and a new array is
returned.)");
  at.def(
      "__getitem__", [](const ArrayAt& self, nb::object key) { return ArrayAt{self.a, std::move(key)}; },
      "indices"_a.none(), nb::sig("def __getitem__(self, indices: object | None) -> ArrayAt"));
  struct Row {
    const char* name;
    const char* verb;
    Update update;
  };
  for (const Row& r : {Row{"add", "with the value added to", Update::add},
                       Row{"subtract", "with the value subtracted from", Update::subtract},
                       Row{"multiply", "with the value multiplied into", Update::multiply},
                       Row{"divide", "with the value divided into", Update::divide},
                       Row{"maximum", "with the larger of itself and the value in", Update::maximum},
                       Row{"minimum", "with the smaller of itself and the value in", Update::minimum}}) {
    const std::string sig = std::string("def ") + r.name + "(self, value: " + value_type + ") -> array";
    const std::string doc =
        std::string("The array ") + r.verb +
        " the selected elements; the value broadcasts to the selection and takes the array's dtype.";
    at.def(
        r.name,
        [name = r.name, update = r.update](const ArrayAt& self, nb::handle value) {
          return wrap(at_update(self, value, name, update));
        },
        "value"_a, nb::sig(sig.c_str()), doc.c_str());
  }

  nb::class_<array> cls(m, "array", nb::type_slots(array_slots()), nb::is_weak_referenceable(),
                        R"(An n-dimensional array, computed when its value is needed.

Args:
  val: a number, a list or tuple of them (nested for more dimensions), an array, or what other libraries have (NumPy
    arrays, buffers, objects with ``__dlpack__``, ``__array__`` or ``__mlx_array__``). The data is copied.
  dtype: the type of the elements. ``None`` means: bool for truth values; int32 for integers, int64 or uint64 where one
    does not fit; float32 for floats, NumPy's float64 included; complex64 for complex numbers; otherwise what the data
    has.
Raises:
  TypeError: the value cannot become an array.   ValueError: lists of different lengths on one level.
  OverflowError: an integer of more than 64 bits.)");
  array_type = reinterpret_cast<PyTypeObject*>(cls.ptr());
  cls.def(
         "__init__",
         [](array* self, nb::handle value, std::optional<Dtype> dtype) {
           new (self) array(make_array(value, dtype, "array"));
         },
         "val"_a, "dtype"_a = nb::none(),
         nb::sig("def __init__(self: array, val: scalar | list[Any] | tuple[Any, ...] | DLPackCompatible | "
                 "array, "
                 "dtype: Dtype | None = None)"))
      .def_prop_ro(
          "shape", [](const array& a) { return shape_tuple(a.shape()); },
          nb::sig("def shape(self) -> tuple[int, ...]"), "The size of each dimension.")
      .def_prop_ro(
          "dtype", [](const array& a) { return wrap(a.dtype()); }, nb::sig("def dtype(self) -> Dtype"),
          "The type of the elements.")
      .def_prop_ro("size", &array::size, nb::sig("def size(self) -> int"), "The number of elements.")
      .def_prop_ro("ndim", &array::ndim, nb::sig("def ndim(self) -> int"), "The number of dimensions.")
      .def_prop_ro("itemsize", &array::itemsize, nb::sig("def itemsize(self) -> int"), "Bytes per element.")
      .def_prop_ro("nbytes", &array::nbytes, nb::sig("def nbytes(self) -> int"), "Bytes of all elements.")
      .def_prop_ro(
          "T", [](const array& a) { return wrap(core::transpose(a)); }, nb::sig("def T(self) -> array"),
          "The axes in reverse order.")
      .def_prop_ro(
          "mT", [](const array& a) { return wrap(core::matrix_transpose(a)); },
          nb::sig("def mT(self) -> array"), "The last two axes exchanged.")
      .def_prop_ro(
          "real", [](const array& a) { return wrap(core::real(a)); }, nb::sig("def real(self) -> array"),
          "The real part.")
      .def_prop_ro(
          "imag", [](const array& a) { return wrap(core::imag(a)); }, nb::sig("def imag(self) -> array"),
          "The imaginary part.")
      .def_prop_ro(
          "at", [](const array& a) { return ArrayAt{a, {}}; }, nb::sig("def at(self) -> ArrayAt"),
          "Updates of selected elements: ``x.at[indices].add(value)``. See ArrayAt.")
      .def(
          "item", [](array& a) { return to_scalar(a); }, nb::sig("def item(self) -> scalar"),
          R"(The value of an array with one element, as a Python number. Evaluates.

Raises:
  ValueError: the array has another number of elements.)")
      .def(
          "tolist", [](const array& a) { return to_list(a); }, nb::sig("def tolist(self) -> list_or_scalar"),
          "The values as Python numbers in nested lists; a number where there are no dimensions. Evaluates.")
      .def(
          "__iter__",
          [](const array& a) {
            if (a.ndim() == 0) throw nb::type_error("an array with no dimensions cannot be iterated over");
            return ArrayIterator{a};
          },
          nb::sig("def __iter__(self) -> ArrayIterator"))
      .def(
          "__complex__",
          [](array& a) { return nb::module_::import_("builtins").attr("complex")(to_scalar(a)); },
          nb::sig("def __complex__(self) -> complex"))
      .def(
          "__bytes__",
          [](const array& a) {
            array c = core::contiguous(a);
            eval_released(c);
            return nb::bytes(c.data<char>(), c.nbytes());
          },
          nb::sig("def __bytes__(self) -> bytes"))
      .def("__format__", &format, nb::arg(), nb::sig("def __format__(self, format_spec: str, /) -> str"))
      .def(
          "__copy__", [](const array& a) { return wrap(core::copy(a)); },
          nb::sig("def __copy__(self) -> array"))
      .def(
          "__deepcopy__", [](const array& a, nb::handle) { return wrap(core::copy(a)); }, "memo"_a,
          nb::sig("def __deepcopy__(self, memo: dict[int, Any]) -> array"))
      .def("__getstate__", &get_state, nb::sig("def __getstate__(self) -> tuple[Any, ...]"))
      .def("__setstate__", &set_state, nb::arg(),
           nb::sig("def __setstate__(self, arg: tuple[Any, ...], /) -> None"))
      .def(
          "__array__", &to_numpy, "dtype"_a = nb::none(), "copy"_a = nb::none(),
          nb::sig(
              "def __array__(self, dtype: object | None = None, copy: object | None = None) -> NDArray[Any]"))
      .def(
          "__array_namespace__", [](nb::handle, nb::handle) { return nb::module_::import_("mlx.core"); },
          "api_version"_a = nb::none(),
          nb::sig("def __array_namespace__(self, api_version: str | None = None) -> types.ModuleType"))
      .def(
          "__dlpack__",
          [](const array& a, nb::handle, nb::handle version, nb::handle, nb::handle copy) {
            return to_dlpack(a, version, copy);
          },
          nb::kw_only(), "stream"_a = nb::none(), "max_version"_a = nb::none(), "dl_device"_a = nb::none(),
          "copy"_a = nb::none(),
          nb::sig("def __dlpack__(self, *, stream: object | None = None, max_version: object | None = None, "
                  "dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> NDArray[Any]"))
      .def(
          "__dlpack_device__", [](nb::handle) { return nb::make_tuple(1, 0); },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"));
  // Names from Python 2 that the API keeps.
  cls.attr("__div__") = cls.attr("__truediv__");
  cls.attr("__rdiv__") = cls.attr("__rtruediv__");

  m.def(
      "asarray",
      [](nb::handle a, std::optional<Dtype> dtype, std::optional<bool> copy) {
        return wrap(as_array_argument(a, dtype, copy));
      },
      "a"_a, "dtype"_a = nb::none(), nb::kw_only(), "copy"_a = nb::none(),
      nb::sig(
          "def asarray(a: scalar | array | Sequence[Any] | DLPackCompatible, dtype: Dtype | None = None, *, "
          "copy: bool | None = None) -> array"),
      R"(An array of the given values.

Args:
  a: what the constructor of ``array`` takes.
  dtype: the type of the elements; ``None`` as for ``array``.
  copy: ``True`` always copies, ``False`` uses the memory as it is (the other owner must not change it), ``None`` copies
    what is no array yet.
Raises:
  ValueError: ``copy`` is False, but the memory cannot be used as it is.)");
  m.def(
      "from_dlpack",
      [](nb::handle x, std::optional<bool> copy) {
        array a = from_dlpack(x, copy, "from_dlpack");
        return wrap(a.dtype() == core::float64 && !is_array(x.ptr()) ? core::astype(a, core::float32) : a);
      },
      nb::arg(), nb::kw_only(), "copy"_a = nb::none(),
      nb::sig("def from_dlpack(x: DLPackCompatible, /, *, copy: bool | None = None) -> array"),
      R"(An array over the memory of another library's tensor.

Args:
  x: an object with ``__dlpack__`` whose data lies in the memory of the CPU. float64 is converted to float32.
  copy: ``True`` copies. Otherwise the memory is shared where its layout allows: the other owner must not change it.
Raises:
  TypeError: the object has no ``__dlpack__``.   ValueError: the data lies elsewhere or has no dtype here.)");
}

}  // namespace mlx::python
