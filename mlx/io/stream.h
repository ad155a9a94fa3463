// Byte streams that readers and writers of files work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ios>
#include <string>

namespace mlx::core::io {

class Reader {
 public:
  virtual ~Reader() = default;
  virtual bool is_open() const = 0;
  virtual bool good() const = 0;
  virtual size_t tell() = 0;
  virtual void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) = 0;
  // Reads exactly n bytes or raises std::runtime_error.
  virtual void read(char* data, size_t n) = 0;
  virtual void read(char* data, size_t n, size_t offset) = 0;
  virtual std::string label() const = 0;
  // May several threads read at offsets at the same time? Large arrays are then read in pieces on all of
  // them.
  virtual bool concurrent() const { return false; }
};

class Writer {
 public:
  virtual ~Writer() = default;
  virtual bool is_open() const = 0;
  virtual bool good() const = 0;
  virtual size_t tell() = 0;
  virtual void seek(int64_t off, std::ios_base::seekdir way = std::ios_base::beg) = 0;
  // Writes all n bytes or raises std::runtime_error.
  virtual void write(const char* data, size_t n) = 0;
  virtual std::string label() const = 0;
};

}  // namespace mlx::core::io
