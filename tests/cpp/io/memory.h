// What the tests of files share: a file in memory, comparisons.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "mlx/mlx.h"

namespace io_test {

namespace io = mlx::core::io;

// A file in memory, written as a user of the library would.
class Memory final : public io::Reader, public io::Writer {
 public:
  std::string bytes;
  size_t at = 0;
  bool is_open() const override { return true; }
  bool good() const override { return true; }
  size_t tell() override { return at; }
  void seek(int64_t off, std::ios_base::seekdir way) override {
    at = static_cast<size_t>((way == std::ios_base::beg   ? 0
                              : way == std::ios_base::cur ? static_cast<int64_t>(at)
                                                          : static_cast<int64_t>(bytes.size())) +
                             off);
  }
  void read(char* data, size_t n) override {
    read(data, n, at);
    at += n;
  }
  void read(char* data, size_t n, size_t offset) override {
    if (offset + n > bytes.size()) throw std::runtime_error("beyond the end");
    std::memcpy(data, bytes.data() + offset, n);
  }
  void write(const char* data, size_t n) override {
    bytes.append(data, n);
    at = bytes.size();
  }
  std::string label() const override { return "memory"; }
};

inline bool same_values(const mlx::core::array& a, const mlx::core::array& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && array_equal(a, b).item<bool>();
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace io_test
