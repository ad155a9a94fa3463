// .npz archives: Python's zipfile is the container, the core reads and writes the arrays in it.
#include <algorithm>

#include "mlx/io/file.h"
#include "mlx/transforms.h"
#include "python/src/streams.h"

namespace mlx::python {
namespace {

using Named = std::vector<std::pair<std::string, array>>;

nb::module_ zipfile() { return nb::module_::import_("zipfile"); }

// What zipfile and the modules it uses raise about the contents of a file.
bool is_about_contents(const nb::python_error& e) {
  const nb::handle type = e.type();
  if (e.matches(PyExc_EOFError) || e.matches(PyExc_LookupError)) return true;
  // bz2's errors have no number, those of a system have one; io.UnsupportedOperation is a ValueError as well.
  if (e.matches(PyExc_OSError) && !e.matches(PyExc_ValueError) && e.value().attr("errno").is_none())
    return true;
  const std::string module = nb::cast<std::string>(type.attr("__module__"));
  return module == "zipfile" || module == "zlib" || module == "struct" || module == "_lzma";
}

std::string description(const nb::python_error& e) {
  const std::string message = nb::str(e.value()).c_str();
  return message.empty() ? nb::cast<std::string>(e.type().attr("__name__")) : message;
}

// Members up to this size are believed to be as large as the archive says; of others so much is asked for at
// once.
constexpr size_t kTrusted = size_t{1} << 20;

// What a member can be at most, from what it takes of the archive: stored ones as much, deflated ones 1032
// times that. Nothing for other methods, which have no useful bound.
size_t most_bytes(nb::handle archive, nb::handle info) {
  const nb::object file = archive.attr("fp");
  const nb::object at = file.attr("tell")();
  const auto whole = nb::cast<size_t>(file.attr("seek")(0, 2));
  file.attr("seek")(at);
  const size_t packed = std::min(nb::cast<size_t>(info.attr("compress_size")), whole);
  const auto method = nb::cast<int>(info.attr("compress_type"));
  return method == 0 ? packed : method == 8 ? packed * 1032 : 0;
}

// All of a member as a file in memory. read() without a size would ask the file for as many bytes as the
// member claims to take of it, and files allocate what they are asked for before they find out what they
// have.
nb::object in_memory(nb::handle member) {
  nb::object whole = nb::module_::import_("io").attr("BytesIO")();
  while (true) {
    const nb::object piece = member.attr("read")(kTrusted);
    if (nb::len(piece) == 0) break;
    whole.attr("write")(piece);
  }
  whole.attr("seek")(0);
  return whole;
}

// One member, computed: the archive is closed when load returns.
array load_member(nb::handle archive, nb::handle info, const std::string& label, StreamOrDevice s) {
  nb::object member = archive.attr("open")(info);
  auto size = nb::cast<size_t>(info.attr("file_size"));
  if (size > kTrusted && size > most_bytes(archive, info)) {
    // Not believed before it is there.
    member = in_memory(member);
    size = nb::len(member.attr("getbuffer")());
  }
  auto reader = std::make_shared<PyReader>(member, label, size);
  {
    nb::gil_scoped_release release;
    array a = core::load(reader, s);
    a.eval();
    // zipfile compares the checksum when the last byte is read.
    if (reader->tell() != size)
      throw std::runtime_error("[load] '" + label + "': got " + std::to_string(size) + " bytes, expected " +
                               std::to_string(reader->tell()));
    return a;
  }
}

nb::dict load_members(nb::handle archive, const std::string& label, StreamOrDevice s) {
  nb::dict out;
  for (nb::handle info : archive.attr("infolist")()) {
    std::string name = to_utf8(info.attr("filename"));
    const std::string place = label + "(" + name + ")";
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    const nb::str key(name.c_str(), name.size());
    if (out.contains(key)) throw std::runtime_error("[load] '" + place + "' is in the archive twice");
    out[key] = wrap(load_member(archive, info, place, s));
  }
  return out;
}

// Closes without an error of its own, for the way out after another one.
void close_quietly(nb::handle file) {
  try {
    file.attr("close")();
  } catch (nb::python_error&) {
  }
}

// Calls f(file) and closes the file; its error comes first.
template <class F>
void with_file(nb::handle file, F&& f) {
  try {
    f();
  } catch (...) {
    close_quietly(file);
    throw;
  }
  file.attr("close")();
}

void write_archive(nb::handle file, const Named& arrays, bool compressed) {
  const nb::module_ zip = zipfile();
  const nb::object archive =
      zip.attr("ZipFile")(file, "w", zip.attr(compressed ? "ZIP_DEFLATED" : "ZIP_STORED"), true);
  with_file(archive, [&] {
    for (const auto& [name, a] : arrays) {
      const nb::object member = archive.attr("open")(name + ".npy", "w", "force_zip64"_a = true);
      with_file(member, [&] {
        auto writer = std::make_shared<PyWriter>(member, name);
        nb::gil_scoped_release release;
        core::save(writer, a);
      });
    }
  });
}

// What zipfile asks of a file that it cannot go back in, of an object that may have write() only.
nb::object streamed(nb::handle file) {
  if (nb::hasattr(file, "tell") && nb::hasattr(file, "flush")) return nb::borrow(file);
  const std::shared_ptr<PyWriter> writer = to_writer(file, "savez");
  return nb::module_::import_("types").attr("SimpleNamespace")(
      "write"_a = nb::cpp_function([writer](const nb::bytes& data) {
        writer->write(data.c_str(), data.size());
        return data.size();
      }),
      "flush"_a = nb::cpp_function([] {}));
}

Named named_arrays(const char* function, nb::handle args, nb::handle kwargs) {
  Named out;
  const auto add = [&](std::string name, nb::handle value) {
    const array* a = as_array(value);
    if (!a) bad_type({function, name.c_str(), 0}, "array", value);
    out.emplace_back(std::move(name), *a);
  };
  for (nb::handle value : args) add("arr_" + std::to_string(out.size()), value);
  for (auto [key, value] : nb::borrow<nb::dict>(kwargs)) {
    const std::string name = to_utf8(key);
    for (size_t i = 0; i < nb::len(args); ++i)
      if (out[i].first == name)
        throw std::invalid_argument(std::string("[") + function + "] got the name " + name +
                                    ", expected another one: an array without a name has it");
    add(name, value);
  }
  return out;
}

}  // namespace

nb::object load_npz(const Input& input, StreamOrDevice s) {
  const std::optional<std::string>& path = input.path;
  // For the message about files that cannot be opened, which is that of the other formats.
  if (path) core::io::FileReader probe(*path);
  const std::string& label = input.label;
  try {
    const nb::object archive = zipfile().attr("ZipFile")(input.file);
    nb::dict out;
    with_file(archive, [&] { out = load_members(archive, label, s); });
    return out;
  } catch (nb::python_error& e) {
    // zipfile also seeks to where a file tells it to; a file object's errors are its own.
    if (!is_about_contents(e) && !(path && e.matches(PyExc_OSError))) throw;
    nb::raise_from(e, PyExc_RuntimeError, "[load] '%s' is not a sound zip archive: %s", label.c_str(),
                   description(e).c_str());
  }
}

void save_npz(const char* function, nb::handle file, nb::handle args, nb::handle kwargs, bool compressed) {
  std::optional<std::string> path = to_path(file);
  if (!path && !nb::hasattr(file, "write"))
    bad_type({function, "file", 1}, "str, pathlib.Path or a binary file object", file);
  const Named arrays = named_arrays(function, args, kwargs);
  {
    Arrays all;
    for (const auto& [name, a] : arrays) all.push_back(a);
    nb::gil_scoped_release release;
    core::eval(std::move(all));
  }
  if (!path) return write_archive(streamed(file), arrays, compressed);
  if (!path->ends_with(".npz")) *path += ".npz";
  core::io::FileWriter out(*path, function);
  const nb::module_ os = nb::module_::import_("os");
  const nb::object opened = os.attr("fdopen")(os.attr("dup")(out.descriptor()), "wb");
  try {
    // Without seek() and tell() zipfile writes from the beginning to the end, as devices and pipes need it.
    const nb::object sink = out.replaces()
                                ? opened
                                : nb::module_::import_("types").attr("SimpleNamespace")(
                                      "write"_a = opened.attr("write"), "flush"_a = opened.attr("flush"));
    with_file(opened, [&] { write_archive(sink, arrays, compressed); });
  } catch (nb::python_error& e) {
    if (!e.matches(PyExc_OSError)) throw;
    nb::raise_from(e, PyExc_RuntimeError, "[%s] cannot write '%s': %s", function, label_of(file).c_str(),
                   description(e).c_str());
  }
  nb::gil_scoped_release release;
  out.finish();
}

}  // namespace mlx::python
