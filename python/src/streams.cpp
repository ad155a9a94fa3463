#include "python/src/streams.h"

#include <algorithm>
#include <cstring>

namespace mlx::python {
namespace {

// Bytes of one call of read() or write(): the copy that passes through Python stays in the cache.
constexpr size_t kPiece = size_t{1} << 20;

bool is_closed(PyObject* file) {
  nb::gil_scoped_acquire gil;
  const nb::object closed = nb::getattr(file, "closed", nb::none());
  return closed.ptr() == Py_True;
}

// What a method of a file object returns, which may be anything.
size_t count_of(nb::handle result, const char* method) {
  const size_t value = PyLong_Check(result.ptr()) ? PyLong_AsSize_t(result.ptr()) : static_cast<size_t>(-1);
  if (value != static_cast<size_t>(-1)) return value;
  PyErr_Clear();
  throw std::runtime_error(std::string("the file object's ") + method + "() returned " +
                           nb::repr(result).c_str() + ", expected a position or a number of bytes");
}

size_t position_of(PyObject* file) { return count_of(nb::handle(file).attr("tell")(), "tell"); }

// The memory of a bytes-like object.
class View {
 public:
  explicit View(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) == 0) return;
    PyErr_Clear();
    const std::string message = std::string("[load] the file object's read() returned ") +
                                Py_TYPE(object.ptr())->tp_name +
                                ", expected bytes: open the file in binary mode";
    throw nb::type_error(message.c_str());
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() { PyBuffer_Release(&view_); }
  const void* data() const { return view_.buf; }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_;
};

}  // namespace

std::optional<std::string> to_path(nb::handle h) {
  if (!PyUnicode_Check(h.ptr()) && !nb::hasattr(h, "__fspath__")) return std::nullopt;
  PyObject* bytes = nullptr;
  if (!PyUnicode_FSConverter(h.ptr(), &bytes)) throw nb::python_error();  // ValueError for a null character
  const nb::object owner = nb::steal(bytes);
  return std::string(PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes)));
}

std::string to_utf8(nb::handle str) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(str.ptr(), &size);
  if (!text) throw nb::python_error();
  return std::string(text, static_cast<size_t>(size));
}

std::string label_of(nb::handle file) {
  nb::object name = nb::hasattr(file, "__fspath__") ? nb::str(file) : nb::getattr(file, "name", nb::none());
  if (PyUnicode_Check(file.ptr())) name = nb::borrow(file);
  if (!PyUnicode_Check(name.ptr())) return Py_TYPE(file.ptr())->tp_name;
  const nb::object bytes = nb::steal(PyUnicode_AsEncodedString(name.ptr(), "utf-8", "backslashreplace"));
  if (!bytes) throw nb::python_error();
  return PyBytes_AS_STRING(bytes.ptr());
}

PyReader::PyReader(nb::handle file, std::string label)
    : file_(keep(file)), label_(std::move(label)), position_(position_of(file.ptr())), at_(position_) {}

PyReader::PyReader(nb::handle file, std::string label, size_t size)
    : file_(keep(file)), label_(std::move(label)), size_(size) {}

bool PyReader::is_open() const { return !is_closed(file_.get()); }

void PyReader::seek(int64_t off, std::ios_base::seekdir way) {
  if (way == std::ios_base::end && !size_) {
    nb::gil_scoped_acquire gil;
    nb::handle(file_.get()).attr("seek")(0, 2);
    size_ = at_ = position_of(file_.get());
  }
  const size_t base = way == std::ios_base::beg ? 0 : way == std::ios_base::cur ? position_ : *size_;
  position_ = base + static_cast<size_t>(off);
}

void PyReader::move_to(size_t offset) {
  if (offset == at_) return;
  nb::handle(file_.get()).attr("seek")(offset);
  at_ = offset;
}

void PyReader::settle() {
  nb::gil_scoped_acquire gil;
  move_to(position_);
}

void PyReader::read(char* data, size_t n) {
  read(data, n, position_);
  position_ += n;
}

void PyReader::read(char* data, size_t n, size_t offset) {
  if (n == 0) return;
  nb::gil_scoped_acquire gil;
  move_to(offset);
  while (n > 0) {
    const size_t want = std::min(n, kPiece);
    const nb::object got = nb::handle(file_.get()).attr("read")(want);
    const View view(got);
    if (view.size() == 0 || view.size() > want)
      throw std::runtime_error("[load] the file object '" + label_ + "' gave " + std::to_string(view.size()) +
                               " bytes at byte " + std::to_string(at_) + ", expected " +
                               std::to_string(want));
    std::memcpy(data, view.data(), view.size());
    data += view.size();
    n -= view.size();
    at_ += view.size();
  }
}

PyWriter::PyWriter(nb::handle file, std::string label) : file_(keep(file)), label_(std::move(label)) {}

bool PyWriter::is_open() const { return !is_closed(file_.get()); }

size_t PyWriter::tell() {
  nb::gil_scoped_acquire gil;
  return position_of(file_.get());
}

void PyWriter::seek(int64_t off, std::ios_base::seekdir way) {
  nb::gil_scoped_acquire gil;
  nb::handle(file_.get())
      .attr("seek")(off, way == std::ios_base::beg   ? 0
                         : way == std::ios_base::cur ? 1
                                                     : 2);
}

void PyWriter::write(const char* data, size_t n) {
  nb::gil_scoped_acquire gil;
  while (n > 0) {
    // A copy: the object may keep what it is given.
    const size_t piece = std::min(n, kPiece);
    const nb::object result = nb::handle(file_.get()).attr("write")(nb::bytes(data, piece));
    // Raw files may take a part; objects that only look like files often return nothing.
    const size_t put = result.is_none() ? piece : count_of(result, "write");
    if (put == 0 || put > piece)
      throw std::runtime_error("[save] the file object '" + label_ + "' took " + std::to_string(put) +
                               " bytes, expected " + std::to_string(piece));
    data += put;
    n -= put;
  }
}

Input::Input(nb::handle given) : path(to_path(given)), file(nb::borrow(given)) {
  if (!path && !nb::hasattr(given, "read"))
    bad_type({"load", "file", 1}, "str, pathlib.Path or a binary file object", given);
  label = label_of(given);
  if (path) return;
  const nb::object can_seek = nb::getattr(given, "seekable", nb::none());
  if (nb::hasattr(given, "seek") && (can_seek.is_none() || nb::cast<bool>(can_seek()))) return;
  // Piece by piece: what only looks like a file may not know read() without a size, or give less than all.
  file = nb::module_::import_("io").attr("BytesIO")();
  while (true) {
    const nb::object piece = given.attr("read")(kPiece);
    if (View(piece).size() == 0) break;
    file.attr("write")(piece);
  }
  file.attr("seek")(0);
}

std::shared_ptr<PyReader> Input::reader() const { return std::make_shared<PyReader>(file, label); }

std::shared_ptr<PyWriter> to_writer(nb::handle h, const char* function) {
  if (!nb::hasattr(h, "write"))
    bad_type({function, "file", 1}, "str, pathlib.Path or a binary file object", h);
  return std::make_shared<PyWriter>(h, label_of(h));
}

}  // namespace mlx::python
