// Paths and Python's file objects as the streams that the core reads and writes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mlx/io.h"
#include "python/src/args.h"

namespace mlx::python {

// What the user calls the file, in bytes, where `h` is a str or path-like object; nothing where it is another
// object.
std::optional<std::string> to_path(nb::handle h);

// A binary file object, whose methods are called with the GIL, whatever thread reads. It keeps track of where
// the object stands, and so never seeks in one that is read from the beginning to the end.
class PyReader final : public core::io::Reader {
 public:
  explicit PyReader(nb::handle file, std::string label);
  // A stream of known size that is only ever read forwards.
  PyReader(nb::handle file, std::string label, size_t size);
  bool is_open() const override;
  bool good() const override { return is_open(); }
  size_t tell() override { return position_; }
  void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) override;
  void read(char* data, size_t n) override;
  void read(char* data, size_t n, size_t offset) override;
  std::string label() const override { return label_; }
  // Moves the object to where this reader is.
  void settle();

 private:
  void move_to(size_t offset);
  std::shared_ptr<PyObject> file_;
  std::string label_;
  std::optional<size_t> size_;
  size_t position_ = 0;  // of this reader
  size_t at_ = 0;        // of the object
};

// Writes through a binary file object's write(), with the GIL.
class PyWriter final : public core::io::Writer {
 public:
  PyWriter(nb::handle file, std::string label);
  bool is_open() const override;
  bool good() const override { return is_open(); }
  size_t tell() override;
  void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) override;
  void write(const char* data, size_t n) override;
  std::string label() const override { return label_; }

 private:
  std::shared_ptr<PyObject> file_;
  std::string label_;
};

// A str in UTF-8; UnicodeEncodeError, a ValueError, for one that has none (lone surrogates).
std::string to_utf8(nb::handle str);
// What a path or file object is called in messages: the path, the object's `name`, or its type.
std::string label_of(nb::handle file);

// What load() is given: a path, or a file object. A TypeError where it is neither.
struct Input {
  explicit Input(nb::handle given);
  std::shared_ptr<PyReader> reader() const;
  std::optional<std::string> path;
  nb::object file;    // one that can seek: a pipe or a response is read to its end first
  std::string label;  // in messages
};

// A TypeError where `h` cannot be written to.
std::shared_ptr<PyWriter> to_writer(nb::handle h, const char* function);

// NumPy's archives of several arrays.
nb::object load_npz(const Input& input, StreamOrDevice s);
void save_npz(const char* function, nb::handle file, nb::handle args, nb::handle kwargs, bool compressed);

}  // namespace mlx::python
