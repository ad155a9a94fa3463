// What the allocator throws where there is no memory: MemoryError in Python.
#pragma once

#include <memory>
#include <new>
#include <string>

namespace mlx::core {

class OutOfMemory final : public std::bad_alloc {
 public:
  OutOfMemory(const std::string& operation, std::string message)
      : message_(std::make_shared<const std::string>(std::move(message))),
        what_(std::make_shared<const std::string>("[" + operation + "] " + *message_)) {}
  // Without the operation: who knows better which one it is names it again.
  const std::string& message() const { return *message_; }
  const char* what() const noexcept override { return what_->c_str(); }

 private:
  std::shared_ptr<const std::string> message_, what_;
};

}  // namespace mlx::core
