// The Python array API standard (data-apis.org/array-api): what it names and the rest of the library does
// not. docs/compatibility.md says where it is not followed; its keywords are in array_api_forms.cpp.
#include <map>
#include <string>

#include "mlx/special.h"
#include "mlx/statistics.h"
#include "python/src/args.h"
#include "python/src/named.h"

namespace mlx::python {

nb::object named_tuple(const char* type, std::initializer_list<const char*> fields, const Arrays& values) {
  // Never freed: the classes are like those of the module, and outlive the interpreter's other objects.
  static auto& classes = *new std::map<std::string, nb::object>();
  nb::object& made = classes[type];
  if (!made.is_valid()) {
    nb::list names;
    for (const char* field : fields) names.append(field);
    made = nb::module_::import_("collections").attr("namedtuple")(type, names, "module"_a = "mlx.core");
  }
  return made(*wrap_tuple(values));
}

namespace {

Arrays unique_parts(nb::handle a, const char* name, bool index, bool inverse, bool counts) {
  const array x = to_array(a, {name, "x", 1});
  nb::gil_scoped_release release;
  return core::unique(x, core::count_unique(x), index, inverse, counts);
}

void define_sets(Module& m) {
  m.def(
      "unique_all",
      [](nb::handle a) {
        return named_tuple("UniqueAllResult", {"values", "indices", "inverse_indices", "counts"},
                           unique_parts(a, "unique_all", true, true, true));
      },
      nb::arg(), nb::sig("def unique_all(x: array, /) -> tuple[array, array, array, array]"),
      "The distinct elements, where each comes first, for each element of ``x`` its place among them, and "
      "how often each "
      "occurs: fields ``values``, ``indices``, ``inverse_indices``, ``counts``. See unique; ``x`` is "
      "evaluated.");
  m.def(
      "unique_counts",
      [](nb::handle a) {
        return named_tuple("UniqueCountsResult", {"values", "counts"},
                           unique_parts(a, "unique_counts", false, false, true));
      },
      nb::arg(), nb::sig("def unique_counts(x: array, /) -> tuple[array, array]"),
      "The distinct elements and how often each occurs: fields ``values``, ``counts``. See unique; ``x`` is "
      "evaluated.");
  m.def(
      "unique_inverse",
      [](nb::handle a) {
        return named_tuple("UniqueInverseResult", {"values", "inverse_indices"},
                           unique_parts(a, "unique_inverse", false, true, false));
      },
      nb::arg(), nb::sig("def unique_inverse(x: array, /) -> tuple[array, array]"),
      "The distinct elements, and for each element of ``x`` its place among them: fields ``values``, "
      "``inverse_indices``. "
      "See unique; ``x`` is evaluated.");
  m.def(
      "unique_values",
      [](nb::handle a) {
        const array x = to_array(a, {"unique_values", "x", 1});
        const array values = [&] {
          nb::gil_scoped_release release;
          return core::unique_values(x);
        }();
        return wrap(values);
      },
      nb::arg(), nb::sig("def unique_values(x: array, /) -> array"),
      "The distinct elements in ascending order. See unique; ``x`` is evaluated.");
  m.def(
      "signbit",
      [](nb::handle a, StreamOrDevice s) {
        const array x = to_array(a, {"signbit", "a", 1});
        if (x.dtype() == core::complex64)
          throw std::invalid_argument("[signbit] got complex64, expected a real dtype");
        if (!core::issubdtype(x.dtype(), core::inexact))
          return wrap(core::less(x, core::zeros_like(x, s), s));
        return wrap(core::less(core::copysign(core::ones_like(x, s), x, s), core::zeros_like(x, s), s));
      },
      nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def signbit(a: array, /, *, stream: StreamOrDevice = None) -> array"),
      R"(Whether the sign bit of each element is set: also of negative zero, and of ``nan``.

Args:
  a: real numbers of any shape.
  stream: where to run; ``None`` is the default stream.
Returns:
  Same shape, bool.
Raises:
  ValueError: the dtype is complex.)");
}

struct NamespaceInfo {};

nb::dict dtypes_of(nb::handle kind) {
  static const std::map<std::string, std::vector<const char*>> kinds{
      {"bool", {"bool"}},
      {"signed integer", {"int8", "int16", "int32", "int64"}},
      {"unsigned integer", {"uint8", "uint16", "uint32", "uint64"}},
      {"integral", {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}},
      {"real floating", {"float32", "float64"}},
      {"complex floating", {"complex64"}},
      {"numeric",
       {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
        "complex64"}},
  };
  nb::dict out;
  nb::module_ m = nb::module_::import_("mlx.core");
  const auto put = [&](const std::string& k) {
    const auto found = kinds.find(k);
    if (found == kinds.end())
      throw std::invalid_argument("[__array_namespace_info__.dtypes] got the kind \"" + k +
                                  "\", expected one of the array API standard's");
    for (const char* name : found->second) out[name] = m.attr(std::string(name) == "bool" ? "bool_" : name);
  };
  if (kind.is_none()) {
    put("bool");
    put("numeric");
  } else if (PyTuple_Check(kind.ptr())) {
    for (nb::handle k : nb::borrow<nb::tuple>(kind)) put(nb::cast<std::string>(k));
  } else {
    put(nb::cast<std::string>(kind));
  }
  return out;
}

void define_namespace(Module& m) {
  m.attr("__array_api_version__") = "2024.12";
  nb::class_<NamespaceInfo>(m, "_NamespaceInfo",
                            "What this namespace is able to do, in the array API standard's words.")
      .def(
          "capabilities",
          [](NamespaceInfo) {
            nb::dict out;
            out["boolean indexing"] = true;
            out["data-dependent shapes"] = true;
            out["max dimensions"] = nb::none();
            return out;
          },
          nb::sig("def capabilities(self) -> dict[str, Any]"), "Optional behaviour; see the standard.")
      .def(
          "default_device",
          [](NamespaceInfo) { return nb::module_::import_("mlx.core").attr("default_device")(); },
          nb::sig("def default_device(self) -> Device"), "Where arrays are made.")
      .def(
          "default_dtypes",
          [](NamespaceInfo, nb::handle) {
            nb::dict out;
            out["real floating"] = wrap(core::float32);
            out["complex floating"] = wrap(core::complex64);
            out["integral"] = wrap(core::int32);
            out["indexing"] = wrap(core::int32);
            return out;
          },
          nb::kw_only(), "device"_a = nb::none(),
          nb::sig("def default_dtypes(self, *, device: Device | None = None) -> dict[str, Dtype]"),
          "The dtypes of what is made from Python numbers.")
      .def(
          "devices",
          [](NamespaceInfo) {
            nb::list out;
            for (const auto type : {core::Device::cpu, core::Device::gpu})
              for (int i = 0; i < core::device_count(type); ++i) out.append(nb::cast(core::Device(type, i)));
            return out;
          },
          nb::sig("def devices(self) -> list[Device]"), "The devices of this machine.")
      .def(
          "dtypes", [](NamespaceInfo, nb::handle, nb::handle kind) { return dtypes_of(kind); }, nb::kw_only(),
          "device"_a = nb::none(), "kind"_a = nb::none(),
          nb::sig("def dtypes(self, *, device: Device | None = None, kind: None | str | tuple[str, ...] = "
                  "None) -> "
                  "dict[str, Dtype]"),
          "The standard's dtypes that there are, by name; of a kind, or several, such as ``\"integral\"``.");
  m.def(
      "__array_namespace_info__", [] { return nb::cast(NamespaceInfo{}); },
      nb::sig("def __array_namespace_info__() -> Any"),
      "What this namespace is able to do, in the array API standard's words.");
  // No attributes proper: `from mlx.core import *` would hide Python's own `bool`, and the tools are imported
  // by those who use them.
  m.def(
      "__getattr__",
      [](const std::string& name) -> nb::object {
        if (name == "bool") return wrap(core::bool_);
        if (name == "debug") return nb::module_::import_("mlx.debug");
        if (name == "profile") return nb::module_::import_("mlx.debug").attr("profile");
        throw nb::attribute_error(("module 'mlx.core' has no attribute '" + name + "'").c_str());
      },
      nb::arg(), nb::sig("def __getattr__(name: str, /) -> Any"),
      "``bool``, the standard's name of ``bool_``; ``debug`` and ``profile``, the tools in mlx.debug.");
}

void define_array(Module& m) {
  array_class()
      .def_prop_ro(
          "device", [](nb::handle) { return nb::module_::import_("mlx.core").attr("default_device")(); },
          nb::sig("def device(self) -> Device"),
          "The default device. Arrays lie in memory that all devices share; operations have a place, arrays "
          "have none.")
      .def(
          "to_device",
          [](nb::object self, nb::handle device, nb::handle) {
            StreamOrDevice where;
            if (device.is_none() || !to_stream(device, where))
              bad_type({"to_device", "device", 1}, "Device or DeviceType", device);
            return self;
          },
          nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
          nb::sig("def to_device(self, device: Device | DeviceType, /, *, stream: object | None = None) -> "
                  "array"),
          "The array itself: every device sees the memory it lies in.");
  nb::borrow<nb::class_<core::finfo>>(m.attr("finfo"))
      .def(
          "__init__", [](core::finfo* self, const array& a) { new (self) core::finfo(a.dtype()); }, nb::arg(),
          nb::sig("def __init__(self, arg: array, /) -> None"));
  nb::borrow<nb::class_<core::iinfo>>(m.attr("iinfo"))
      .def(
          "__init__", [](core::iinfo* self, const array& a) { new (self) core::iinfo(a.dtype()); }, nb::arg(),
          nb::sig("def __init__(self, arg: array, /) -> None"))
      .def_prop_ro(
          "bits", [](const core::iinfo& i) { return i.dtype.size() * 8; }, nb::sig("def bits(self) -> int"),
          "Bits per number.");
}

}  // namespace

void init_array_api_forms(Module& m);

void init_array_api(Module& m) {
  init_array_api_forms(m);
  define_sets(m);
  define_namespace(m);
  define_array(m);
}

}  // namespace mlx::python
