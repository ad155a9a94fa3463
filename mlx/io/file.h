// Files of the file system as streams.
#pragma once

#include <string>

#include "mlx/io/stream.h"

namespace mlx::core::io {

// An open file descriptor, closed on destruction.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  void reset(int fd) {
    close();
    fd_ = fd;
  }
  // The error that closing met, or 0.
  int close();

 private:
  int fd_;
};

// Reads a regular file with pread. It is not mapped: a mapped file that somebody shortens kills the process
// that reads it. The file stays open, so one that is replaced after load() and before the evaluation is still
// read as it was.
class FileReader final : public Reader {
 public:
  // `function` begins the messages of errors.
  explicit FileReader(std::string path, std::string function = "load");
  bool is_open() const override { return file_.get() >= 0; }
  bool good() const override { return is_open(); }
  size_t tell() override { return position_; }
  void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) override;
  void read(char* data, size_t n) override;
  void read(char* data, size_t n, size_t offset) override;
  std::string label() const override { return path_; }
  bool concurrent() const override { return true; }

 private:
  size_t size() const;
  std::string path_, function_;
  Descriptor file_;
  size_t position_ = 0;
};

// Writes a file beside the one it shall replace. finish() puts it into its place, with all bytes written;
// without it, an error included, nothing remains and the old file is untouched. What is no regular file (a
// device, a pipe) is written to directly.
class FileWriter final : public Writer {
 public:
  explicit FileWriter(std::string path, std::string function = "save");
  ~FileWriter() override;
  bool is_open() const override { return file_.get() >= 0; }
  bool good() const override { return is_open(); }
  size_t tell() override;
  void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) override;
  void write(const char* data, size_t n) override;
  std::string label() const override { return path_; }
  // For writers of another kind: what they write to it counts as written here.
  int descriptor() const { return file_.get(); }
  // False where the file is no regular one, whose positions mean nothing.
  bool replaces() const { return !temporary_.empty(); }
  void finish();

 private:
  [[noreturn]] void fail(const char* what, int error) const;
  std::string path_, function_;
  std::string target_;     // what is replaced: path_ with symbolic links followed
  std::string temporary_;  // empty where path_ is written to directly
  Descriptor file_;
};

}  // namespace mlx::core::io
