// Files: save, savez, save_safetensors, save_gguf and load.
#include <algorithm>

#include "mlx/io/file.h"
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

std::unordered_map<std::string, array> named_arrays(const char* function, nb::handle arrays) {
  if (!PyDict_Check(arrays.ptr())) bad_type({function, "arrays", 2}, "dict[str, array]", arrays);
  std::unordered_map<std::string, array> out;
  for (auto [key, value] : nb::borrow<nb::dict>(arrays)) {
    if (!PyUnicode_Check(key.ptr())) bad_type({function, "key of arrays", 0}, "str", key);
    const std::string name = to_utf8(key);
    out.emplace(name, array_argument(value, {function, name.c_str(), 0}));
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
  auto named = named_arrays("save_safetensors", arrays);
  auto text = text_map(metadata);
  if (std::optional<std::string> path = to_path(file)) {
    nb::gil_scoped_release release;
    return core::save_safetensors(std::move(*path), std::move(named), std::move(text));
  }
  std::shared_ptr<PyWriter> writer = to_writer(file, "save_safetensors");
  nb::gil_scoped_release release;
  core::save_safetensors(std::move(writer), std::move(named), std::move(text));
}

// Texts in GGUF files are UTF-8 by its rules only: other bytes become lone surrogates, and come back from
// them.
std::string to_bytes(nb::handle str) {
  const nb::object bytes = nb::steal(PyUnicode_AsEncodedString(str.ptr(), "utf-8", "surrogateescape"));
  if (!bytes) throw nb::python_error();
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}
nb::object from_bytes(const std::string& bytes) {
  nb::object out =
      nb::steal(PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape"));
  if (!out) throw nb::python_error();
  return out;
}

using GGUFMap = std::unordered_map<std::string, core::GGUFMetaData>;

GGUFMap gguf_metadata(nb::handle metadata) {
  GGUFMap out;
  if (metadata.is_none()) return out;
  constexpr const char* kWanted = "array, str or list[str]";
  if (!PyDict_Check(metadata.ptr()))
    bad_type({"save_gguf", "metadata", 3}, "dict[str, array | str | list[str]]", metadata);
  for (auto [key, value] : nb::borrow<nb::dict>(metadata)) {
    if (!PyUnicode_Check(key.ptr())) bad_type({"save_gguf", "key of metadata", 0}, "str", key);
    const std::string name = to_utf8(key);
    const Where where{"save_gguf", name.c_str(), 0};
    if (const array* a = as_array(value)) {
      out.emplace(name, *a);
    } else if (PyUnicode_Check(value.ptr())) {
      out.emplace(name, to_bytes(value));
    } else if (PyList_Check(value.ptr())) {
      std::vector<std::string> texts;
      for (nb::handle text : nb::borrow<nb::list>(value)) {
        if (!PyUnicode_Check(text.ptr())) bad_type(where, kWanted, text);
        texts.push_back(to_bytes(text));
      }
      out.emplace(name, std::move(texts));
    } else {
      bad_type(where, kWanted, value);
    }
  }
  return out;
}

void save_gguf(nb::handle file, nb::handle arrays, nb::handle metadata) {
  auto named = named_arrays("save_gguf", arrays);
  auto values = gguf_metadata(metadata);
  if (std::optional<std::string> path = to_path(file)) {
    nb::gil_scoped_release release;
    return core::save_gguf(std::move(*path), std::move(named), std::move(values));
  }
  std::shared_ptr<PyWriter> writer = to_writer(file, "save_gguf");
  nb::gil_scoped_release release;
  core::save_gguf(std::move(writer), std::move(named), std::move(values));
}

constexpr const char* kFormats = "'npy', 'npz', 'safetensors' or 'gguf'";

bool is_format(std::string_view name) {
  return name == "npy" || name == "npz" || name == "safetensors" || name == "gguf";
}

// The format whose files begin like this one; the reader stays where it is. Empty where there is none.
std::string format_of_contents(core::io::Reader& reader) {
  const size_t start = reader.tell();
  reader.seek(0, std::ios_base::end);
  const size_t size = reader.tell() - std::min(start, reader.tell());
  reader.seek(static_cast<int64_t>(start));
  std::string begin(std::min<size_t>(size, 9), '\0');
  reader.read(begin.data(), begin.size(), start);
  if (begin.starts_with("\x93NUMPY")) return "npy";
  if (begin.starts_with("PK\3\4") || begin.starts_with("PK\5\6")) return "npz";
  if (begin.starts_with("GGUF")) return "gguf";
  // A length of less than 2^32, and the JSON object that is so long.
  if (begin.size() == 9 && begin.substr(4) == std::string("\0\0\0\0{", 5)) return "safetensors";
  return "";
}

// The format by the extension of the file's name; by its contents where the name has none that is known.
std::string format_of(const Input& input, bool named) {
  std::string name = named ? input.label : "";
  name = name.substr(name.find_last_of('/') + 1);
  const size_t dot = name.find_last_of('.');
  if (dot != std::string::npos && is_format(name.substr(dot + 1))) return name.substr(dot + 1);
  std::string found;
  if (input.path) {
    core::io::FileReader reader(*input.path);
    found = format_of_contents(reader);
  } else {
    const std::shared_ptr<PyReader> reader = input.reader();
    found = format_of_contents(*reader);
    reader->settle();
  }
  if (!found.empty()) return found;
  throw std::invalid_argument("[load] got " +
                              (named ? "the file '" + name + "'" : std::string("a file object")) +
                              " without a known extension or beginning, expected one, or format=" + kFormats);
}

array load_npy(const Input& input, StreamOrDevice s) {
  if (input.path) {
    nb::gil_scoped_release release;
    return core::load(*input.path, s);
  }
  std::shared_ptr<PyReader> reader = input.reader();
  nb::gil_scoped_release release;
  array a = core::load(reader, s);
  a.eval();  // the caller may close the file object
  reader->settle();
  return a;
}

// `from` reads a path or a stream; what it gives is computed where it comes from a file object.
template <class F>
auto load_named(const Input& input, F&& from) {
  if (input.path) {
    nb::gil_scoped_release release;
    return from(*input.path);
  }
  std::shared_ptr<PyReader> reader = input.reader();
  nb::gil_scoped_release release;
  auto loaded = from(std::shared_ptr<core::io::Reader>(reader));
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

nb::object gguf_value(const core::GGUFMetaData& value) {
  if (const auto* a = std::get_if<array>(&value)) return wrap(*a);
  if (const auto* s = std::get_if<std::string>(&value)) return from_bytes(*s);
  const auto* texts = std::get_if<std::vector<std::string>>(&value);
  if (!texts) return nb::none();
  nb::list out;
  for (const std::string& s : *texts) out.append(from_bytes(s));
  return out;
}

// A dict of arrays, or a tuple of that and the metadata, whose values `convert` makes.
template <class Loaded, class F>
nb::object result_of(const Loaded& loaded, bool return_metadata, F&& convert) {
  nb::dict arrays = sorted_dict(loaded.first, [](const array& a) { return wrap(a); });
  if (!return_metadata) return arrays;
  return nb::make_tuple(arrays, sorted_dict(loaded.second, convert));
}

nb::object load(nb::handle given, std::optional<std::string> format, bool return_metadata, StreamOrDevice s) {
  const Input input(given);
  if (!format)
    format = format_of(input, input.path || PyUnicode_Check(nb::getattr(given, "name", nb::none()).ptr()));
  if (!is_format(*format))
    throw std::invalid_argument("[load] got the format '" + *format + "', expected " + kFormats);
  if (*format == "safetensors") {
    const core::SafetensorsLoad loaded =
        load_named(input, [&](auto from) { return core::load_safetensors(from, s); });
    return result_of(loaded, return_metadata,
                     [](const std::string& text) { return nb::str(text.c_str(), text.size()); });
  }
  if (*format == "gguf") {
    const core::GGUFLoad loaded = load_named(input, [&](auto from) { return core::load_gguf(from, s); });
    return result_of(loaded, return_metadata, gguf_value);
  }
  if (return_metadata)
    throw std::invalid_argument("[load] got return_metadata=True for the format " + *format +
                                ", which has none");
  return *format == "npy" ? wrap(load_npy(input, s)) : load_npz(input, s);
}

}  // namespace

void init_io(Module& m) {
  m.def("save", &save, "file"_a, "arr"_a,
        nb::sig("def save(file: file | str | pathlib.Path, arr: array) -> None"),
        R"(Writes an array into a file in NumPy's ``.npy`` format.

A path is written beside the file that it replaces, which stays as it was until everything is written.

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
    const std::string sig = std::string("def ") + z.name +
                            "(file: file | str | pathlib.Path, *args: array, **kwargs: array) -> None";
    const std::string doc =
        std::string("Writes arrays into a file in NumPy's ``.npz`` format, ") + z.text + R"(.

A path is written beside the file that it replaces, which stays as it was until everything is written.

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
                "metadata: dict[str, str] | None = None) -> None"),
        R"(Writes arrays into a file in ``.safetensors`` format.

A path is written beside the file that it replaces, which stays as it was until everything is written.

Args:
  file: a path, to which ``.safetensors`` is added where it ends otherwise, or a file object opened for writing in binary
    mode.
  arrays: arrays of any shape and dtype by name.
  metadata: texts by name, which ``load`` gives back with ``return_metadata=True``.
Raises:
  ValueError: an array is called ``__metadata__``, or the metadata has something besides str.
  TypeError: ``arrays`` is no dict of arrays.   RuntimeError: the file cannot be written.)");

  m.def("save_gguf", &save_gguf, "file"_a, "arrays"_a, "metadata"_a = nb::none(),
        nb::sig("def save_gguf(file: file | str | pathlib.Path, arrays: dict[str, array], "
                "metadata: dict[str, array | str | list[str]]) -> None"),
        R"(Writes arrays into a file in GGUF format, version 3.

A path is written beside the file that it replaces, which stays as it was until everything is written. The same contents
give the same bytes: tensors and metadata are written in the order of their names.

Args:
  file: a path, to which ``.gguf`` is added where it ends otherwise, or a file object opened for writing in binary mode.
  arrays: arrays by name, of at most 8 dimensions (other programs often read at most 4); float16, bfloat16, float32,
    float64, int8, int16, int32 or int64. Arrays are not quantized, and the format has no types for those packed already.
  metadata: values by name; none where it is left out. Arrays have at most one dimension and become numbers or lists of
    numbers: bool, integers, float32 or float64. ``general.alignment``, a uint32 power of two of at least 8, sets where
    tensors may begin; the default is 32.
Raises:
  ValueError: a dtype, a number of dimensions or a value of the metadata is none of these.
  TypeError: ``arrays`` is no dict of arrays, or a value of the metadata is no array, str or list of str.
  RuntimeError: the file cannot be written.)");

  m.def("load", &load, nb::arg(), "format"_a = nb::none(), "return_metadata"_a = false, nb::kw_only(),
        "stream"_a = nb::none(),
        nb::sig("def load(file: file | str | pathlib.Path, /, format: str | None = None, return_metadata: "
                "bool = False, *, "
                "stream: StreamOrDevice = None) -> array | dict[str, array] | tuple[dict[str, array], "
                "dict[str, Any]]"),
        R"(Reads arrays from a file in ``.npy``, ``.npz``, ``.safetensors`` or GGUF format.

The structure of the file is checked now. Elements are read when an array is evaluated, and only those of that array; until
then the file is kept open, and replacing or deleting it (as the save functions do) does not change what is read. Archives,
file objects and ``.npy`` files up to 1 MiB are read at once. Files are never mapped into memory: one that is shortened
before an array is read makes its evaluation raise, and nothing worse.

Tensors in a GGUF file of the kinds F16, BF16, F32, F64, I8, I16, I32 and I64 become arrays of those dtypes. Q4_0, Q4_1 and
Q8_0 become what ``quantized_matmul`` and ``dequantize`` take with ``group_size=32`` and 4, 4 and 8 bits: for ``x.weight``
packed codes of that name, ``x.scales`` and ``x.biases``, both float16. Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS, TQ1_0,
TQ2_0, MXFP4 and NVFP4 are expanded to float16; other kinds are refused. Versions 2 and 3 are read, and version 3 also in
big-endian order, but for quantized kinds.

Args:
  file: a path or a file object opened for reading in binary mode; one that cannot seek is read to its end.
  format: ``npy``, ``npz``, ``safetensors`` or ``gguf``; ``None`` goes by the extension of the file's name and, where that
    says nothing, by how the file begins.
  return_metadata: also return the metadata, which ``safetensors`` and ``gguf`` have.
  stream: where to run; ``None`` is the default stream of the cpu.
Returns:
  An array for ``npy``, otherwise a dict of arrays in the order of their names (of the archive for ``npz``); with
  ``return_metadata`` a tuple of that and a dict, whose values are str for ``safetensors``, and for ``gguf`` str, lists of
  str, and arrays of no dimensions or one.
Raises:
  RuntimeError: the file cannot be read, or it is not what its format asks for.
  ValueError: the format is unknown, or has no metadata.   TypeError: ``file`` is neither path nor binary file object.)");
}

}  // namespace mlx::python
