// Scratch memory for packed panels and partial results: taken from and given back to a list of the thread, so
// that a call in a loop allocates nothing. 64-byte aligned; large pieces ask for huge pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlx::core::cpu {

class Workspace {
 public:
  explicit Workspace(int64_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mlx::core::cpu
