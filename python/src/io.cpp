// Files: save, savez, save_safetensors and load.
#include <algorithm>

#include "mlx/transforms.h"
#include "python/src/streams.h"

namespace mlx::python {
namespace {

using TextMap = std::unordered_map<std::string, std::string>;

const array& array_argument(nb::handle h, Where where) {
  const array* a = as_array(h);
  if (!a) bad_type(where, "array", h);
  return *a;
}

void save(nb::handle file, nb::handle arr) {
  array a = array_argument(arr, {"save", "arr", 2});
  if (std::optional<std::string> path = to_path(file)) {
    nb::gil_scoped_release release;
    return core::save(std::move(*path), std::move(a));
  }
  std::shared_ptr<PyWriter> writer = to_writer(file, "save");
  nb::gil_scoped_release release;
  core::save(std::move(writer), std::move(a));
}

std::unordered_map<std::string, array> named_arrays(nb::handle arrays) {
  if (!PyDict_Check(arrays.ptr())) bad_type({"save_safetensors", "arrays", 2}, "dict[str, array]", arrays);
  std::unordered_map<std::string, array> out;
  for (auto [key, value] : nb::borrow<nb::dict>(arrays)) {
    if (!PyUnicode_Check(key.ptr())) bad_type({"save_safetensors", "key of arrays", 0}, "str", key);
    const std::string name = to_utf8(key);
    out.emplace(name, array_argument(value, {"save_safetensors", name.c_str(), 0}));
  }
  return out;
}

TextMap text_map(nb::handle metadata) {
  TextMap out;
  if (metadata.is_none()) return out;
  if (!PyDict_Check(metadata.ptr()))
    bad_type({"save_safetensors", "metadata", 3}, "dict[str, str]", metadata);
  for (auto [key, value] : nb::borrow<nb::dict>(metadata)) {
    if (!PyUnicode_Check(key.ptr()) || !PyUnicode_Check(value.ptr()))
      throw std::invalid_argument(std::string("[save_safetensors] got metadata with an entry of type ") +
                                  Py_TYPE(PyUnicode_Check(key.ptr()) ? value.ptr() : key.ptr())->tp_name +
                                  ", expected only str");
    out.emplace(to_utf8(key), to_utf8(value));
  }
  return out;
}

void save_safetensors(nb::handle file, nb::handle arrays, nb::handle metadata) {
  auto named = named_arrays(arrays);
  auto text = text_map(metadata);
  if (std::optional<std::string> path = to_path(file)) {
    nb::gil_scoped_release release;
    return core::save_safetensors(std::move(*path), std::move(named), std::move(text));
  }
  std::shared_ptr<PyWriter> writer = to_writer(file, "save_safetensors");
  nb::gil_scoped_release release;
  core::save_safetensors(std::move(writer), std::move(named), std::move(text));
}

// The format by the extension of the file's name, where it has one.
std::string format_of(nb::handle file, bool is_path) {
  const bool named = is_path || PyUnicode_Check(nb::getattr(file, "name", nb::none()).ptr());
  std::string name = named ? label_of(file) : "";
  name = name.substr(name.find_last_of('/') + 1);
  const size_t dot = name.find_last_of('.');
  if (dot != std::string::npos) return name.substr(dot + 1);
  throw std::invalid_argument("[load] got " +
                              (named ? "the file '" + name + "'" : std::string("a file object")) +
                              " without an extension, expected one, or format='npy', 'npz' or 'safetensors'");
}

array load_npy(nb::handle file, std::optional<std::string> path, StreamOrDevice s) {
  if (path) {
    nb::gil_scoped_release release;
    return core::load(std::move(*path), s);
  }
  std::shared_ptr<PyReader> reader = to_reader(file, "load");
  nb::gil_scoped_release release;
  array a = core::load(reader, s);
  a.eval();  // the caller may close the file object
  reader->settle();
  return a;
}

core::SafetensorsLoad load_safetensors(nb::handle file, const std::optional<std::string>& path,
                                       StreamOrDevice s) {
  if (path) {
    nb::gil_scoped_release release;
    return core::load_safetensors(*path, s);
  }
  std::shared_ptr<PyReader> reader = to_reader(file, "load");
  nb::gil_scoped_release release;
  core::SafetensorsLoad loaded = core::load_safetensors(reader, s);
  Arrays all;
  for (const auto& [name, a] : loaded.first) all.push_back(a);
  core::eval(std::move(all));
  reader->settle();
  return loaded;
}

template <class Map, class F>
nb::dict sorted_dict(const Map& map, F&& value) {
  std::vector<const typename Map::value_type*> items;
  for (const auto& item : map) items.push_back(&item);
  std::sort(items.begin(), items.end(), [](auto* a, auto* b) { return a->first < b->first; });
  nb::dict out;
  for (const auto* item : items) out[nb::str(item->first.c_str(), item->first.size())] = value(item->second);
  return out;
}

nb::object load(nb::handle file, std::optional<std::string> format, bool return_metadata, StreamOrDevice s) {
  std::optional<std::string> path = to_path(file);
  if (!path && !nb::hasattr(file, "read"))
    bad_type({"load", "file", 1}, "str, pathlib.Path or a binary file object", file);
  if (!format) format = format_of(file, path.has_value());
  if (*format == "gguf") {
    PyErr_SetString(PyExc_NotImplementedError, "[load] GGUF files are not supported in this version");
    throw nb::python_error();
  }
  const bool single = *format == "npy";
  if (!single && *format != "npz" && *format != "safetensors")
    throw std::invalid_argument("[load] got the format '" + *format +
                                "', expected 'npy', 'npz' or 'safetensors'");
  if (*format != "safetensors") {
    if (return_metadata)
      throw std::invalid_argument("[load] got return_metadata=True for the format " + *format +
                                  ", which has none");
    return single ? wrap(load_npy(file, std::move(path), s)) : load_npz(file, path, s);
  }
  const core::SafetensorsLoad loaded = load_safetensors(file, path, s);
  nb::dict arrays = sorted_dict(loaded.first, [](const array& a) { return wrap(a); });
  if (!return_metadata) return arrays;
  return nb::make_tuple(arrays, sorted_dict(loaded.second, [](const std::string& text) {
                          return nb::str(text.c_str(), text.size());
                        }));
}

}  // namespace

void init_io(nb::module_& m) {
  m.def("save", &save, "file"_a, "arr"_a,
        nb::sig("def save(file: file | str | pathlib.Path, arr: array) -> None"),
        R"(Writes an array into a file in NumPy's ``.npy`` format.

A path is written beside the file that it replaces, which stays as it was until everything is on the disk.

Args:
  file: a path, to which ``.npy`` is added where it ends otherwise, or a file object opened for writing in binary mode.
  arr: any shape and dtype. bfloat16 is stored as raw data of two bytes (``V2``), as ml_dtypes does with NumPy.
Raises:
  RuntimeError: the file cannot be written.   TypeError: ``arr`` is no array.)");

  struct Savez {
    const char* name;
    bool compressed;
    const char* text;
  };
  for (const Savez& z :
       {Savez{"savez", false, "without compression"}, Savez{"savez_compressed", true, "compressed"}}) {
    const std::string sig =
        std::string("def ") + z.name + "(file: file | str | pathlib.Path, *args, **kwargs)";
    const std::string doc =
        std::string("Writes arrays into a file in NumPy's ``.npz`` format, ") + z.text + R"(.

A path is written beside the file that it replaces, which stays as it was until everything is on the disk.

Args:
  file: a path, to which ``.npz`` is added where it ends otherwise, or a file object opened for writing in binary mode.
  *args: arrays, which are called ``arr_0``, ``arr_1`` and so on.
  **kwargs: arrays by name.
Raises:
  ValueError: a name is used twice.   TypeError: a value is no array.
  RuntimeError: the file cannot be written.)";
    m.def(
        z.name,
        [z](nb::handle file, nb::args args, nb::kwargs kwargs) {
          save_npz(z.name, file, args, kwargs, z.compressed);
        },
        "file"_a, "args"_a, "kwargs"_a, nb::sig(sig.c_str()), doc.c_str());
  }

  m.def("save_safetensors", &save_safetensors, "file"_a, "arrays"_a, "metadata"_a = nb::none(),
        nb::sig("def save_safetensors(file: file | str | pathlib.Path, arrays: dict[str, array], "
                "metadata: dict[str, str] | None = None)"),
        R"(Writes arrays into a file in ``.safetensors`` format.

A path is written beside the file that it replaces, which stays as it was until everything is on the disk.

Args:
  file: a path, to which ``.safetensors`` is added where it ends otherwise, or a file object opened for writing in binary
    mode.
  arrays: arrays of any shape and dtype by name.
  metadata: texts by name, which ``load`` gives back with ``return_metadata=True``.
Raises:
  ValueError: an array is called ``__metadata__``, or the metadata has something besides str.
  TypeError: ``arrays`` is no dict of arrays.   RuntimeError: the file cannot be written.)");

  m.def("load", &load, nb::arg(), "format"_a = nb::none(), "return_metadata"_a = false, nb::kw_only(),
        "stream"_a = nb::none(),
        nb::sig("def load(file: file | str | pathlib.Path, /, format: str | None = None, return_metadata: "
                "bool = False, *, "
                "stream: StreamOrDevice = None) -> array | dict[str, array] | tuple[dict[str, array], "
                "dict[str, Any]]"),
        R"(Reads arrays from a file in ``.npy``, ``.npz`` or ``.safetensors`` format.

The structure of the file is checked now. Elements are read when an array is evaluated; until then the file is kept open,
and replacing it by another (as the save functions do) does not change what is read. Archives, file objects and ``.npy``
files up to 1 MiB are read at once.

Args:
  file: a path or a file object opened for reading in binary mode.
  format: ``npy``, ``npz`` or ``safetensors``; ``None`` goes by the extension of the file's name.
  return_metadata: also return the metadata, which only ``safetensors`` has.
  stream: where to run; ``None`` is the default stream of the cpu.
Returns:
  An array for ``npy``, otherwise a dict of arrays by name; with ``return_metadata`` a tuple of that and a dict of str.
Raises:
  RuntimeError: the file cannot be read, or it is not what its format asks for.
  ValueError: the format is unknown, or has no metadata.   NotImplementedError: the file is in GGUF format.)");
}

}  // namespace mlx::python
